from __future__ import annotations

from collections.abc import Callable, Iterator

import httpx
import pytest

from api.cli.client import Client, count_pause, is_loopback, kb_path
from api.cli.failures import CallFailed, ExitCode

Reply = httpx.Response | httpx.TransportError


class Script(httpx.BaseTransport):
    """Answers the n-th request with the n-th reply and keeps what was sent."""

    def __init__(self, *replies: Reply) -> None:
        self.replies = iter(replies)
        self.bodies: list[bytes] = []
        self.requests: list[httpx.Request] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self.bodies.append(request.read())
        self.requests.append(request)
        reply = next(self.replies)
        if isinstance(reply, httpx.TransportError):
            raise reply
        return reply


class Pauses(list[float]):
    def __call__(self, seconds: float) -> None:
        self.append(seconds)


def make_client(script: Script, pauses: Callable[[float], None] = Pauses(), key: str | None = None) -> Client:  # noqa: B008
    return Client("http://kb.test/base/", api_key=key, transport=script, sleep=pauses)


def make_problem(status: int, **fields: object) -> httpx.Response:
    return httpx.Response(status, json={"status": status, **fields})


def test_a_name_is_one_part_of_the_path() -> None:
    script = Script(httpx.Response(200, json={}))
    make_client(script, key="kb_secret").get(kb_path("制度/2024 a?b", "documents"), {"status": None, "limit": 2})
    sent = script.requests[0]
    assert sent.url.raw_path == (b"/base/api/v1/knowledge-bases/%E5%88%B6%E5%BA%A6%2F2024%20a%3Fb/documents?limit=2")
    assert sent.headers["authorization"] == "Bearer kb_secret"


def test_pages_follow_the_cursor() -> None:
    script = Script(
        httpx.Response(200, json={"items": [{"n": 1}, {"n": 2}], "next_cursor": "c"}),
        httpx.Response(200, json={"items": [{"n": 3}], "next_cursor": None}),
    )
    assert [one["n"] for one in make_client(script).list_items("/jobs", {"state": "failed"})] == [1, 2, 3]
    assert [dict(one.url.params) for one in script.requests] == [
        {"state": "failed", "limit": "200"},
        {"state": "failed", "limit": "200", "cursor": "c"},
    ]


@pytest.mark.parametrize(
    ("reply", "code", "exit_code"),
    [
        (make_problem(404, code="job_not_found", detail="no job x"), "job_not_found", 4),
        (make_problem(429, code="too_many", detail="slow down"), "too_many", 4),
        (make_problem(503, code="embedding_unavailable", detail="gone"), "embedding_unavailable", 5),
        (httpx.Response(502, text="<html>bad gateway"), "http_502", 5),
        (httpx.Response(403, json={"code": 7}), "http_403", 4),
        (httpx.Response(307, headers={"location": "http://elsewhere.test"}), "http_307", 5),
        (httpx.Response(200, text="<html>login"), "bad_answer", 5),
        (httpx.Response(200, json=[1]), "bad_answer", 5),
        (httpx.ConnectError("refused"), "unreachable", 3),
        (httpx.ReadTimeout("slow"), "unreachable", 3),
    ],
)
def test_every_fault_has_its_exit_code(reply: Reply, code: str, exit_code: int) -> None:
    pauses = Pauses()
    with pytest.raises(CallFailed) as caught:
        make_client(Script(reply), pauses).get("/jobs/x")
    assert (caught.value.code, caught.value.exit_code) == (code, ExitCode(exit_code))
    assert pauses == []


def test_an_upload_is_sent_again_with_the_same_key_and_a_new_body() -> None:
    script = Script(
        httpx.ReadError("reset"),
        httpx.Response(503),
        httpx.Response(429, headers={"retry-after": "7"}),
        httpx.Response(202, json={"job_id": "j"}),
    )
    pauses = Pauses()

    def open_body() -> Iterator[bytes]:
        yield b"one"
        yield b"two"

    answer = make_client(script, pauses).upload("/x", open_body, {"Idempotency-Key": "k"})
    assert answer == {"job_id": "j"}
    assert script.bodies == [b"onetwo"] * 4
    assert {one.headers["idempotency-key"] for one in script.requests} == {"k"}
    assert pauses == [0.3, 0.6, 7.0]


def test_an_upload_gives_up_after_five_attempts() -> None:
    script = Script(*[httpx.ReadError("reset")] * 5)
    with pytest.raises(CallFailed, match=r"unreachable: http://kb\.test/base does not answer: reset"):
        make_client(script).upload("/x", lambda: iter([b"x"]), {})
    assert len(script.requests) == 5


def test_a_refused_stream_gives_the_servers_code() -> None:
    script = Script(make_problem(422, code="question_too_long", detail="9,000 characters"))
    with pytest.raises(CallFailed, match="question_too_long"), make_client(script).stream("/ask", {}):
        pass


@pytest.mark.parametrize(
    ("attempt", "retry_after", "pause"),
    [(1, None, 0.3), (4, None, 2.4), (20, None, 30.0), (1, "0", 0.0), (1, "3600", 30.0), (2, "Wed, 21 Oct", 0.6)],
)
def test_pauses(attempt: int, retry_after: str | None, pause: float) -> None:
    assert count_pause(attempt, retry_after) == pytest.approx(pause)


@pytest.mark.parametrize(
    ("url", "loopback"),
    [
        ("http://127.0.0.1:8088", True),
        ("http://127.8.9.1", True),
        ("http://[::1]:8088", True),
        ("http://localhost:1", True),
        ("http://10.0.0.1", False),
        ("https://kb.example.org", False),
    ],
)
def test_loopback_is_never_asked_through_a_proxy(url: str, *, loopback: bool) -> None:
    assert is_loopback(url) is loopback
