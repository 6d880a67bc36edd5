import asyncio
import logging

import httpx
import pytest
from starlette.requests import ClientDisconnect

from api.boundary import Boundary

TEXT = "a secret of a document"  # by a name, so that it is not in the line that the log quotes


def exchange(app, method="GET", **parts):
    async def send():
        async with httpx.AsyncClient(transport=httpx.ASGITransport(Boundary(app)), base_url="http://server") as client:
            return await client.request(method, "/secret/path?question=secret", **parts)

    return asyncio.run(send())


async def answer(scope, receive, send):
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"ok"})


async def refuse(scope, receive, send):
    await send({"type": "http.response.start", "status": 415, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def fail(scope, receive, send):
    raise ValueError(TEXT)


def test_every_answer_has_the_headers():
    headers = exchange(answer).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["content-security-policy"] == "default-src 'none'; frame-ancestors 'none'"
    assert len(headers["x-request-id"]) == 16
    assert "access-control-allow-origin" not in headers


@pytest.mark.parametrize(
    ("hosts", "version", "status"),
    [
        ([b"kb.example:8088"], "1.1", 200),
        ([b"127.0.0.1"], "1.1", 200),
        ([b"[::1]:8088"], "1.1", 200),
        ([b""], "1.1", 200),
        ([], "1.0", 200),
        ([], "1.1", 400),
        ([b"a", b"b"], "1.1", 400),
        ([b"a", b"b"], "1.0", 400),
        ([b"x/abc?y="], "1.1", 400),
        ([b"a b"], "1.1", 400),
        (["知识".encode()], "1.1", 400),
    ],
)
def test_a_request_has_one_host(hosts, version, status):
    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"host", host) for host in hosts]
    scope = {"type": "http", "method": "GET", "path": "/", "http_version": version, "headers": headers}
    asyncio.run(Boundary(answer)(scope, None, send))
    assert sent[0]["status"] == status
    assert (b"bad_request" in sent[1]["body"]) == (status == 400)


def test_head_has_no_body_and_is_logged_as_what_it_was(caplog):
    with caplog.at_level(logging.INFO, logger="api.access"):
        found = exchange(answer, "HEAD")
    assert (found.status_code, found.content) == (200, b"")
    assert caplog.records[-1].getMessage().startswith("HEAD - 200 ")


def test_no_origin_is_allowed_to_read():
    assert "access-control-allow-origin" not in exchange(answer, headers={"origin": "https://evil.example"}).headers


def test_an_unforeseen_error_is_told_once_in_the_log_and_not_outside(caplog):
    with caplog.at_level(logging.INFO, logger="api"):
        found = exchange(fail)
    assert found.status_code == 500
    assert found.json()["code"] == "internal_error"
    assert found.headers["content-type"] == "application/problem+json"
    assert "secret" not in found.text + caplog.text
    assert "ValueError" not in found.text
    errors = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert found.headers["x-request-id"] in errors[0].getMessage()
    assert "ValueError" in errors[0].getMessage()


def test_the_log_names_no_path_and_no_query(caplog):
    with caplog.at_level(logging.INFO, logger="api.access"):
        found = exchange(answer)
    line = caplog.records[-1].getMessage()
    assert "secret" not in line
    assert line.startswith("GET - 200 ")
    assert found.headers["x-request-id"] in line


@pytest.mark.parametrize(
    ("method", "site", "status"),
    [("POST", "cross-site", 403), ("DELETE", "cross-site", 403), ("GET", "cross-site", 200)]
    + [("POST", site, 200) for site in ("same-origin", "same-site", "none")],
)
def test_a_foreign_page_changes_nothing(method, site, status):
    found = exchange(answer, method, headers={"sec-fetch-site": site})
    assert found.status_code == status
    if status == 403:
        assert found.json()["code"] == "cross_site"


def test_a_refused_request_whose_body_was_not_read_ends_the_connection():
    assert exchange(refuse, "POST", content=b"x" * 10).headers["connection"] == "close"
    assert "connection" not in exchange(refuse, "GET").headers
    assert "connection" not in exchange(answer, "POST", content=b"x").headers


def test_a_client_that_goes_is_no_fault(caplog):
    async def lose(scope, receive, send):
        raise ClientDisconnect

    async def run():
        await Boundary(lose)({"type": "http", "http_version": "1.0", "method": "POST", "headers": []}, None, None)

    with caplog.at_level(logging.INFO, logger="api"):
        asyncio.run(run())
    assert [record.levelno for record in caplog.records] == [logging.INFO]
    assert " 499 " in caplog.records[0].getMessage()
