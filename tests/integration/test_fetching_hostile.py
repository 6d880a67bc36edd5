"""Servers that would take our time or our memory."""

from __future__ import annotations

import gzip
import tracemalloc
from collections.abc import Iterator

import pytest
from fakes.fetching import Fetching, Ticking
from fakes.raw_web import RawWeb, Talk, say, say_gzipped, send_forever, send_raw

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
MOST_MEMORY = 50_000_000


@pytest.fixture
def web() -> Iterator[RawWeb]:
    with RawWeb() as web:
        yield web


def fail_within_memory(fetching: Fetching, url: str) -> str:
    tracemalloc.start()
    try:
        failed = fetching.fail(url)
        assert tracemalloc.get_traced_memory()[1] < MOST_MEMORY
    finally:
        tracemalloc.stop()
    return failed.code


# -- too much -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("length", [10_000_001, 50_000_000, 10**18])
def test_a_page_that_says_it_is_too_large_is_not_read(web: RawWeb, length: int) -> None:
    def page(talk: Talk) -> None:
        talk.send(HEAD + b"Content-Length: %d\r\n\r\n" % length)
        talk.hold()  # not a byte of it comes

    web.pages = {"/": page}
    fetching = Fetching(web.port)
    assert fail_within_memory(fetching, web.url) == "fetch_too_large"


def test_50_mb_are_read_no_further_than_10(web: RawWeb) -> None:
    taken = [0]

    def page(talk: Talk) -> None:
        talk.send(HEAD + b"\r\n")
        for _ in range(500):
            if not talk.send(bytes(100_000)):
                return
            taken[0] += 100_000

    web.pages = {"/": page}
    assert fail_within_memory(Fetching(web.port), web.url) == "fetch_too_large"
    assert taken[0] < 25_000_000  # what the kernel's buffers hold beside ours


def test_a_page_of_exactly_the_limit_comes(web: RawWeb) -> None:
    web.pages = {"/": say(200, bytes(10_000_000)), "/gzip": say_gzipped(bytes(999_000))}
    assert len(Fetching(web.port).fetcher.fetch(web.url).body) == 10_000_000
    assert len(Fetching(web.port).fetcher.fetch(f"{web.url}/gzip").body) == 999_000


def test_a_gzip_bomb(web: RawWeb) -> None:
    bomb = gzip.compress(bytes(100_000_000))
    assert len(bomb) < 110_000
    web.pages = {"/": say(200, bomb, content_encoding="gzip"), "/twice": say(200, bomb, content_encoding="gzip, gzip")}
    assert fail_within_memory(Fetching(web.port), web.url) == "fetch_too_large"
    assert fail_within_memory(Fetching(web.port), f"{web.url}/twice") == "fetch_broken"


@pytest.mark.parametrize(
    "page",
    [
        send_forever(CHUNKED, b"ff\r\n" + bytes(255) + b"\r\n"),
        send_forever(CHUNKED + b"1;", b"x" * 4_096),
        send_forever(CHUNKED + b"0\r\n", b"X: y\r\n" * 100),
        send_forever(b"HTTP/1.1 200 OK\r\n", b"X-Endless: " + b"x" * 4_096 + b"\r\n"),
        send_forever(b"", b"HTTP/1.1 100 Continue\r\n\r\n" * 100),
        send_forever(HEAD + b"\r\n", bytes(65_536)),
    ],
    ids=["chunks", "a chunk's extension", "trailers", "headers", "informing", "a body"],
)
def test_what_does_not_end_is_ended(web: RawWeb, page) -> None:
    """By its size, however fast it comes."""
    web.pages = {"/": page}
    fetching = Fetching(web.port, max_bytes=1_000_000, seconds=200)  # time is not what this is about
    assert fail_within_memory(fetching, web.url) in {"fetch_too_large", "fetch_broken"}


# -- too slow -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "page",
    [
        send_forever(HEAD + b"Content-Length: 1000000\r\n\r\n", b"x"),
        send_forever(b"HTTP/1.1 200 OK\r\nX: ", b"x"),
        send_forever(CHUNKED, b"1\r\nx\r\n"),
    ],
    ids=["body", "headers", "chunks"],
)
def test_a_byte_a_second_is_not_awaited(web: RawWeb, page) -> None:
    """Each look at the clock is a second later, so that every read has cost one."""
    web.pages = {"/": page}
    failed = Fetching(web.port, clock=Ticking(), seconds=8).fail(web.url)
    assert (failed.code, failed.is_passing) == ("fetch_timeout", True)


@pytest.mark.parametrize(
    "begun",
    [b"", b"HTTP/1.1 200 OK\r\n", HEAD + b"Content-Length: 10\r\n\r\n12345", CHUNKED + b"5\r\n12345\r\n"],
    ids=["nothing", "half a head", "half a body", "one chunk"],
)
def test_a_server_that_falls_silent_is_not_awaited(web: RawWeb, begun: bytes) -> None:
    def page(talk: Talk) -> None:
        talk.send(begun)
        talk.hold()

    web.pages = {"/": page}
    failed = Fetching(web.port, seconds=0.2).fail(web.url)
    assert (failed.code, failed.is_passing) == ("fetch_timeout", True)


def test_redirects_share_the_time_of_one_answer(web: RawWeb) -> None:
    """Each of these takes two seconds, and there are five for all."""
    fetching = Fetching(web.port, seconds=5)

    def page(talk: Talk) -> None:
        fetching.time.now += 2.0
        talk.answer(302, location=f"/{int(talk.asked.target[1:]) + 1}")

    web.pages = {f"/{number}": page for number in range(6)}
    assert fetching.fail(f"{web.url}/0").code == "fetch_timeout"
    assert web.targets == ["/0", "/1", "/2"]


# -- broken -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"HTTP/1.1 200",
        b"SSH-2.0-OpenSSH_9.6\r\n",
        b"<html>no head</html>",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\ntoo little",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n12345",
        b"HTTP/1.1 200 OK\r\nContent-Length: 0x5\r\n\r\n12345",
        CHUNKED + b"zz\r\n",
        CHUNKED + b"5\r\n12345",
        CHUNKED + b"5\r\n12345\r\n",
        b"HTTP/1.1 200 OK\r\nX: a\0b\r\n\r\n<p>x</p>",
        b"HTTP/1.1 200 OK\r\n: x\r\n\r\n<p>x</p>",
        HEAD + b"Content-Encoding: gzip\r\n\r\n<p>x</p>",
        HEAD + b"Content-Encoding: br\r\n\r\n<p>x</p>",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n",
    ],
    ids=lambda raw: repr(raw[-40:]),
)
def test_what_is_no_whole_answer_is_broken(web: RawWeb, raw: bytes) -> None:
    web.pages = {"/": send_raw(raw)}
    assert Fetching(web.port).fail(web.url).code in {"fetch_broken", "fetch_http_101"}


def test_a_body_longer_than_it_said_is_cut(web: RawWeb) -> None:
    web.pages = {"/": send_raw(HEAD + b"Content-Length: 5\r\n\r\n12345 and more")}
    assert Fetching(web.port).fetcher.fetch(web.url).body == b"12345"


def test_nothing_stays_open(web: RawWeb) -> None:
    """Warnings are errors here: a socket that is not closed is a ResourceWarning."""
    web.pages = {"/": say(), "/b": send_raw(b"x"), "/c": say(500)}
    fetching = Fetching(web.port)
    for _ in range(5):
        fetching.fetcher.fetch(web.url)
        fetching.fail(f"{web.url}/b")
        fetching.fail(f"{web.url}/c")
    assert web.connections == 15
