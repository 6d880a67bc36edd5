"""Certificates are checked, against the name in the URL, whatever its address."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import trustme
from fakes.fetching import Fetching
from fakes.raw_web import TLS, RawWeb, say, send_raw

HOST = "site.test"
DAY = timedelta(days=1)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture(scope="module")
def trust(authority: trustme.CA) -> ssl.SSLContext:
    context = ssl.create_default_context()
    authority.configure_trust(context)
    return context


@contextmanager
def serve(certificate: trustme.LeafCert, newest: ssl.TLSVersion | None = None) -> Iterator[RawWeb]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    if newest is not None:
        context.maximum_version = newest
    certificate.configure_cert(context)
    with RawWeb({"/": say(200, b"<p>safe</p>")}, tls=context) as web:
        yield web


def make_fetching(web: RawWeb, trust: ssl.SSLContext | None, **limits) -> Fetching:
    fetching = Fetching(web.port, trust=trust, **limits)
    fetching.names.answers = {HOST: [["127.0.0.1"]]}
    return fetching


def test_a_good_certificate(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    with serve(authority.issue_cert(HOST)) as web:
        fetched = make_fetching(web, trust).fetcher.fetch(f"https://{HOST}:{web.port}/")
    assert (fetched.body, web.asked[0].headers["host"]) == (b"<p>safe</p>", f"{HOST}:{web.port}")


def test_a_certificate_of_an_address(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    with serve(authority.issue_cert("127.0.0.1")) as web:
        assert make_fetching(web, trust).fetcher.fetch(f"https://127.0.0.1:{web.port}/").body == b"<p>safe</p>"


def test_an_expired_certificate(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    now = datetime.now(UTC)
    with serve(authority.issue_cert(HOST, not_before=now - 2 * DAY, not_after=now - DAY)) as web:
        check_refused(web, trust, "expired")


def test_one_that_is_not_valid_yet(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    now = datetime.now(UTC)
    with serve(authority.issue_cert(HOST, not_before=now + DAY, not_after=now + 2 * DAY)) as web:
        check_refused(web, trust, "not yet valid")


def test_one_of_another_host(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    """Also when that host is the address that is connected to."""
    with serve(authority.issue_cert("other.test", "127.0.0.1")) as web:
        check_refused(web, trust, "site.test")


def test_one_that_nobody_signed(trust: ssl.SSLContext) -> None:
    with serve(trustme.CA().issue_cert(HOST)) as web:
        check_refused(web, trust, "certificate")


def test_by_default_nobody_but_the_authorities_is_trusted(authority: trustme.CA) -> None:
    with serve(authority.issue_cert(HOST)) as web:
        check_refused(web, None, "certificate")


def test_a_server_of_old_versions_alone(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    with (
        pytest.warns(DeprecationWarning, match="TLSv1_1"),
        serve(authority.issue_cert(HOST), ssl.TLSVersion.TLSv1_1) as web,
    ):
        check_refused(web, trust, "no TLS with it")


def test_a_server_without_tls(trust: ssl.SSLContext) -> None:
    with RawWeb({TLS: send_raw(b"HTTP/1.1 400 Bad Request\r\n\r\n")}) as web:
        check_refused(web, trust, "no TLS with it")


def test_a_handshake_that_never_ends(trust: ssl.SSLContext) -> None:
    with RawWeb({TLS: lambda talk: talk.hold()}) as web:
        failed = make_fetching(web, trust, seconds=0.2).fail(f"https://{HOST}:{web.port}/")
    assert (failed.code, failed.is_passing) == ("fetch_timeout", True)


def test_an_answer_that_ends_without_a_word_is_cut_short(authority: trustme.CA, trust: ssl.SSLContext) -> None:
    with serve(authority.issue_cert(HOST)) as web:
        web.pages = {"/": send_raw(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")}
        assert make_fetching(web, trust).fail(f"https://{HOST}:{web.port}/").code == "fetch_broken"


def check_refused(web: RawWeb, trust: ssl.SSLContext | None, word: str) -> None:
    failed = make_fetching(web, trust, retries=2).fail(f"https://{HOST}:{web.port}/")
    assert (failed.code, failed.is_passing) == ("fetch_tls", False)
    assert word in failed.detail
    assert web.asked == []
