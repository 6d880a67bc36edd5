"""Pages over real HTTP: what is sent, what comes of each answer, redirects and retries."""

from __future__ import annotations

import gzip
import socket
import zlib
from collections.abc import Iterator
from contextlib import suppress

import pytest
from fakes.fetching import Fetching
from fakes.raw_web import Page, RawWeb, Talk, redirect, say, say_gzipped, send_raw

from ingest.web.fetcher import WebFetcher
from ingest.web.page import Fetched, Fetcher, Validators
from ingest.web.robots import read_robots_tag
from kb.errors import FetchFailed

PAGE = "<p>知识库 knowledge base</p>".encode()


@pytest.fixture
def web() -> Iterator[RawWeb]:
    with RawWeb() as web:
        yield web


@pytest.fixture
def fetching(web: RawWeb) -> Fetching:
    return Fetching(web.port, max_bytes=100_000)


def test_a_page_comes_as_it_was_sent(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {
        "/%E9%A1%B5?q=1": say(
            200,
            PAGE,
            content_type="text/html; charset=GBK",
            etag='W/"é1"',
            last_modified="yesterday",
            x_robots_tag="nofollow",
        )
    }
    fetcher: Fetcher = fetching.fetcher
    assert fetcher.fetch(f"{web.url}/页?q=1#part") == Fetched(
        url=f"{web.url}/%E9%A1%B5?q=1",
        is_unchanged=False,
        body=PAGE,
        content_type="text/html; charset=GBK",
        validators=Validators(etag='W/"Ã©1"', last_modified="yesterday"),
        robots="nofollow",
    )


def test_what_is_said_to_the_server_and_nothing_else(
    web: RawWeb, fetching: Fetching, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the environment: no proxy is asked, no password of ~/.netrc sent."""
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    web.pages = {"/": say()}
    fetching.fetcher.fetch(web.url)
    assert web.asked[0].raw.decode().split("\r\n") == [
        "GET / HTTP/1.1",
        f"Host: 127.0.0.1:{web.port}",
        "User-Agent: kb-test",
        "Accept: text/html,application/xhtml+xml,text/plain;q=0.9,application/pdf;q=0.9,*/*;q=0.5",
        "Accept-Encoding: gzip, deflate",
        "Connection: close",
        "",
        "",
    ]


def test_the_host_that_is_asked_for_is_the_name_not_its_address(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/": say()}
    fetching.names.answers = {"xn--fsqu00a.test": [["127.0.0.1"]]}
    fetched = fetching.fetcher.fetch(f"http://例子.test:{web.port}/")
    assert fetched.url == f"http://xn--fsqu00a.test:{web.port}/"
    assert web.asked[0].headers["host"] == f"xn--fsqu00a.test:{web.port}"


def test_the_second_address_is_tried_when_the_first_does_not_answer(web: RawWeb) -> None:
    web.pages = {"/": say()}
    fetching = Fetching(web.port)
    fetching.names.answers = {"two.test": [["::1", "127.0.0.2", "127.0.0.1"]]}  # nobody listens at the first two
    assert fetching.fetcher.fetch(f"http://two.test:{web.port}/").body == b"<p>x</p>"


@pytest.mark.parametrize("coding", ["gzip", "deflate"])
def test_coded_pages(web: RawWeb, fetching: Fetching, coding: str) -> None:
    packed = gzip.compress(PAGE) if coding == "gzip" else zlib.compress(PAGE)
    web.pages = {"/": say(200, packed, content_encoding=coding)}
    assert fetching.fetcher.fetch(web.url).body == PAGE


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\n\r\n" + PAGE,
        b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n%x;a=b\r\n" % len(PAGE)
        + PAGE
        + b"\r\n0\r\nX: y\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\n\r\nHTTP/1.1 200 OK\r\n\r\n" + PAGE,
        b"HTTP/1.1 203 OK\r\n\r\n" + PAGE,
        b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE) + PAGE + b"HTTP/1.1 200 OK\r\n\r\n<p>junk</p>",
    ],
    ids=["to the end", "1.0", "chunked", "informed first", "203", "pipelined junk"],
)
def test_ways_to_send_a_page(web: RawWeb, fetching: Fetching, raw: bytes) -> None:
    web.pages = {"/": send_raw(raw)}
    assert fetching.fetcher.fetch(web.url).body == PAGE


def test_a_server_that_hears_no_more_and_still_answers(web: RawWeb, fetching: Fetching) -> None:
    def half_closed(talk: Talk) -> None:
        talk.connection.shutdown(socket.SHUT_RD)
        talk.answer(200, PAGE)

    web.pages = {"/": half_closed}
    assert fetching.fetcher.fetch(web.url).body == PAGE


# -- conditions ---------------------------------------------------------------------------------------------------


def test_an_unchanged_page_costs_no_body(web: RawWeb, fetching: Fetching) -> None:
    def page(talk: Talk) -> None:
        if talk.asked.headers.get("if-none-match") == 'W/"1"':
            talk.answer(304)
        else:
            talk.answer(200, PAGE, etag='W/"1"', last_modified="Sun, 01 Mar 2026 00:00:00 GMT")

    web.pages = {"/": page, "/old": redirect("/")}
    first = fetching.fetcher.fetch(web.url)
    again = fetching.fetcher.fetch(f"{web.url}/old", first.validators)
    assert (again.is_unchanged, again.body, again.url) == (True, b"", f"{web.url}/")
    assert again.validators == first.validators
    assert web.asked[-1].headers["if-modified-since"] == "Sun, 01 Mar 2026 00:00:00 GMT"
    assert fetching.fetcher.fetch(web.url, Validators(etag='"2"')).body == PAGE


def test_a_304_that_nobody_asked_for_is_a_failure(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/": say(304, b"")}
    assert fetching.fail(web.url).code == "fetch_http_304"


def test_headers_that_are_too_long_are_not_kept(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/": say(200, PAGE, etag="e" * 1_001, content_type="t" * 1_000)}
    fetched = fetching.fetcher.fetch(web.url)
    assert (fetched.validators.etag, fetched.content_type) == (None, "t" * 1_000)


def test_what_one_header_says_of_a_robot_does_not_reach_into_the_next(web: RawWeb, fetching: Fetching) -> None:
    tags = b"X-Robots-Tag: otherbot: nofollow\r\nX-Robots-Tag: noindex\r\n"
    web.pages = {
        "/": send_raw(b"HTTP/1.1 200 X\r\n" + tags + b"Content-Length: 1\r\n\r\nx"),
        "/304": send_raw(b"HTTP/1.1 304 X\r\n" + tags + b"\r\n"),
    }
    assert read_robots_tag(fetching.fetcher.fetch(web.url).robots) == {"noindex"}
    unchanged = fetching.fetcher.fetch(f"{web.url}/304", Validators(etag="1"))
    assert (unchanged.is_unchanged, read_robots_tag(unchanged.robots)) == (True, {"noindex"})


def test_a_sitemap_may_be_larger_than_a_page_but_no_larger_than_is_said(web: RawWeb) -> None:
    fetching, body = Fetching(web.port, max_bytes=1_000), b"x" * 5_000
    web.pages = {"/plain": say(200, body), "/packed": say_gzipped(body), "/more": say(200, b"x" * 5_001)}
    web.pages["/no-less"] = say(200, body[:1_000])
    roomy = fetching.fetcher.with_room(5_000)
    for path in ("/plain", "/packed"):
        assert fetching.fail(web.url + path).code == "fetch_too_large"
        assert roomy.fetch(web.url + path).body == body
    with pytest.raises(FetchFailed, match="5,000 bytes"):
        roomy.fetch(f"{web.url}/more")
    assert fetching.fetcher.with_room(10).fetch(f"{web.url}/no-less").body == body[:1_000]


# -- redirects ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/b?c", "b?c", "//127.0.0.1:{port}/b?c", "http://127.0.0.1:{port}/b?c#d", "?c"])
def test_a_redirect_is_followed(web: RawWeb, fetching: Fetching, status: int, location: str) -> None:
    web.pages = {"/a": redirect(location.format(port=web.port), status), "/b?c": say(200, PAGE), "/a?c": say(200, PAGE)}
    fetched = fetching.fetcher.fetch(f"{web.url}/a")
    assert (fetched.url, fetched.body) == (f"{web.url}/{'a' if location == '?c' else 'b'}?c", PAGE)


def test_a_redirect_to_a_chinese_path(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {
        "/": send_raw("HTTP/1.1 302 X\r\nLocation: /中文\r\n\r\n".encode()),
        "/%E4%B8%AD%E6%96%87": say(200, PAGE),
    }
    assert fetching.fetcher.fetch(web.url).url == f"{web.url}/%E4%B8%AD%E6%96%87"


@pytest.mark.parametrize(
    ("sent", "target"),
    [
        ("/年 报?a b".encode(), "/%E5%B9%B4%20%E6%8A%A5?a%20b"),
        ("/年报".encode("gbk"), "/%C4%EA%B1%A8"),
        (b"/a%20b ", "/a%20b"),
    ],
)
def test_a_redirect_that_a_server_forgot_to_encode(web: RawWeb, fetching: Fetching, sent: bytes, target: str) -> None:
    web.pages = {"/": send_raw(b"HTTP/1.1 302 X\r\nLocation: " + sent + b"\r\n\r\n"), target: say(200, PAGE)}
    assert fetching.fetcher.fetch(web.url).url == web.url + target


def test_five_redirects_are_followed_and_a_sixth_is_not(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {f"/{number}": redirect(f"/{number + 1}") for number in range(6)} | {"/6": say(200, PAGE)}
    assert fetching.fetcher.fetch(f"{web.url}/1").body == PAGE
    web.asked.clear()
    failed = fetching.fail(f"{web.url}/0")
    assert (failed.code, failed.is_passing) == ("too_many_redirects", False)
    assert web.targets == [f"/{number}" for number in range(6)]


def test_a_loop_ends(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/a": redirect("/b"), "/b": redirect("/a")}
    assert fetching.fail(f"{web.url}/a").code == "too_many_redirects"
    assert len(web.asked) == 6


def test_a_redirect_that_leads_nowhere_is_a_failure(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/": say(302, b""), "/300": say(300, b"", location="/")}
    assert fetching.fail(web.url).code == "fetch_http_302"
    assert fetching.fail(f"{web.url}/300").code == "fetch_http_300"


def test_cookies_are_not_kept(web: RawWeb, fetching: Fetching) -> None:
    cookie = {"set_cookie": "session=secret; Path=/"}
    web.pages = {"/": redirect("/b", **cookie), "/b": say(200, PAGE, **cookie)}
    for _ in range(2):
        fetching.fetcher.fetch(web.url)
    assert [asked.headers.get("cookie") for asked in web.asked] == [None] * 4


# -- answers that are no page -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "passing", "gone"),
    [
        (204, False, False),
        (206, False, False),
        (400, False, False),
        (401, False, False),
        (403, False, False),
        (404, False, True),
        (410, False, True),
        (418, False, False),
        (429, True, False),
        (500, True, False),
        (503, True, False),
        (599, True, False),
    ],
)
def test_a_status_is_told(web: RawWeb, fetching: Fetching, status: int, passing: object, gone: object) -> None:
    web.pages = {"/?key=secret": say(status, b"" if status == 204 else PAGE)}
    failed = fetching.fail(f"{web.url}/?key=secret")
    assert (failed.code, failed.status) == (f"fetch_http_{status}", status)
    assert (failed.is_passing, failed.is_gone) == (passing, gone)
    assert failed.detail == f"{web.url}/ answers {status}"


def test_an_empty_page_is_a_failure(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {"/": say(200, b""), "/gzip": say_gzipped(b"")}
    failed = fetching.fail(web.url)
    assert (failed.code, failed.is_passing) == ("fetch_empty", False)
    assert fetching.fail(f"{web.url}/gzip").code == "fetch_empty"


def test_nobody_there() -> None:
    fetching = Fetching(9)
    failed = fetching.fail("http://127.0.0.1:9/")
    assert (failed.code, failed.is_passing) == ("fetch_unreachable", True)
    failed = fetching.fail("http://no-such-name.test/")
    assert (failed.code, failed.is_passing) == ("fetch_dns", True)


# -- retries ------------------------------------------------------------------------------------------------------


def answer_in_turn(*pages) -> dict:
    left = list(pages)
    return {"/": lambda talk: left.pop(0)(talk)}


def test_a_failure_that_may_pass_is_tried_again(web: RawWeb) -> None:
    fetching = Fetching(web.port, retries=3)
    reset = send_raw()
    web.pages = answer_in_turn(say(500), reset, say(503, retry_after="7"), say(200, PAGE))
    assert fetching.fetcher.fetch(web.url).body == PAGE
    assert fetching.time.slept == [1.0, 2.0, 7.0]


def test_it_is_not_tried_without_end(web: RawWeb) -> None:
    fetching = Fetching(web.port, retries=2)
    web.pages = {"/": say(502)}
    assert fetching.fail(web.url).code == "fetch_http_502"
    assert (len(web.asked), fetching.time.slept) == (3, [1.0, 2.0])


@pytest.mark.parametrize("status", [400, 401, 403, 404, 410])
def test_a_failure_that_stays_is_not_tried_again(web: RawWeb, status: int) -> None:
    fetching = Fetching(web.port, retries=2)
    web.pages = {"/": say(status)}
    fetching.fail(web.url)
    assert len(web.asked) == 1


@pytest.mark.parametrize(
    "header",
    [
        "-5",
        "nonsense",
        "٣",
        "99999999999",
        "Sun, 01 Mar 2026 11:00:00 GMT",
        "Sun, 01 Mar 2026 12:00:00 +99999999999999",
        "Sun, 01 Mar 2026 99999999999999999999:00:00 GMT",
        "Sun, 01 Mar 99999 12:00:00 GMT",
    ],
)
def test_a_server_that_says_nothing_of_use_is_asked_again_all_the_same(web: RawWeb, header: str) -> None:
    fetching = Fetching(web.port, retries=1)
    told = b"HTTP/1.1 503 X\r\nRetry-After: " + header.encode() + b"\r\nContent-Length: 0\r\n\r\n"
    web.pages = answer_in_turn(send_raw(told), say(200, PAGE))
    assert fetching.fetcher.fetch(web.url).body == PAGE
    assert sum(fetching.time.slept) in (0.0, 1.0)


@pytest.mark.parametrize("header", ["3600", "Sun, 01 Mar 2026 13:00:00 GMT"])
def test_a_server_that_wants_to_be_left_alone_is(web: RawWeb, header: str) -> None:
    fetching = Fetching(web.port, retries=2)
    web.pages = {"/": say(429, retry_after=header)}
    failed = fetching.fail(web.url)
    assert (failed.code, failed.retry_after_s, failed.is_passing) == ("fetch_http_429", 3600.0, True)
    assert (len(web.asked), fetching.time.slept) == (1, [])


# -- politeness ---------------------------------------------------------------------------------------------------


class Robots:
    """Denies what lies below /private, and wants half a minute between questions."""

    def __init__(self) -> None:
        self.checked: list[str] = []

    def check(self, url: str) -> None:
        self.checked.append(url)
        if "/private" in url:
            raise FetchFailed("robots_denied", f"{url} is not for us", passing=False)

    def find_delay(self, url: str) -> float:
        return 30.0


def find_pause_behind(web: RawWeb, page: Page, **limits) -> list[float]:
    """What is slept between a page and the next one, of a clock on which answers take no time."""
    fetching = Fetching(web.port, pause_s=20.0, **limits)
    web.pages = {"/": page, "/next": say(200, PAGE)}
    with suppress(FetchFailed):
        fetching.fetcher.fetch(f"{web.url}/")
    fetching.fetcher.fetch(f"{web.url}/next")
    return fetching.time.slept


@pytest.mark.parametrize("page", [say(429), say(500), say(503, retry_after="1"), send_raw(), lambda talk: talk.hold()])
def test_a_host_in_trouble_is_left_alone_for_the_whole_pause(web: RawWeb, page: Page) -> None:
    assert find_pause_behind(web, page, seconds=0.3) == [20.0]


@pytest.mark.parametrize("page", [say(200, PAGE), say(404), redirect("/next"), say(403)])
def test_one_that_answers_at_once_may_be_asked_again_at_once(web: RawWeb, page: Page) -> None:
    assert find_pause_behind(web, page) == []


def test_a_host_that_takes_a_time_to_answer_is_given_ten_times_as_much() -> None:
    with RawWeb() as web:
        fetching = Fetching(web.port, pause_s=20.0)

        def take_time(talk: Talk) -> None:
            fetching.time.now += 0.25
            talk.answer(200, PAGE)

        web.pages = {"/": take_time}
        for _ in range(3):
            fetching.fetcher.fetch(web.url)
        assert fetching.time.slept == [2.5, 2.5]


def test_what_a_site_asks_for_is_done_at_each_redirect(web: RawWeb, fetching: Fetching) -> None:
    robots = Robots()
    polite = fetching.fetcher.with_politeness(robots)
    assert isinstance(polite, WebFetcher)
    web.pages = {"/": redirect("/b"), "/b": say(200, PAGE), "/c": redirect("/private/x")}
    assert polite.fetch(web.url).body == PAGE
    assert fetching.time.slept == [30.0]
    with pytest.raises(FetchFailed, match="robots_denied"):
        polite.fetch(f"{web.url}/c")
    assert web.targets == ["/", "/b", "/c"]
    assert robots.checked == [f"{web.url}{path}" for path in ("/", "/b", "/c", "/private/x")]


def test_a_robots_txt_that_does_not_come_is_not_asked_for_again_and_again(web: RawWeb) -> None:
    class Closed(Robots):
        def check(self, url: str) -> None:
            super().check(url)
            raise FetchFailed("fetch_http_503", "the site's robots.txt does not come", status=503, passing=True)

    fetching, closed = Fetching(web.port, retries=2), Closed()
    with pytest.raises(FetchFailed) as failed:
        fetching.fetcher.with_politeness(closed).fetch(web.url)
    assert (failed.value.code, failed.value.is_passing) == ("fetch_http_503", True)
    assert (closed.checked, fetching.time.slept, web.asked) == ([f"{web.url}/"], [], [])


def test_waiting_for_turns_does_not_count_against_the_answer(web: RawWeb, fetching: Fetching) -> None:
    web.pages = {f"/{number}": redirect(f"/{number + 1}") for number in range(5)} | {"/5": say(200, PAGE)}
    assert fetching.fetcher.with_politeness(Robots()).fetch(f"{web.url}/0").body == PAGE
    assert fetching.time.slept == [30.0] * 5  # 150 s of an allowance of 30
