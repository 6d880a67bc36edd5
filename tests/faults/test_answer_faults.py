"""A chat server that fails in every way there is, and clients that leave in the midst of anything (F8 and F9).

Over real sockets, in one loop that is looked into afterwards: whatever went wrong, no task, no database connection, no
temporary file and no call of the chat model is left. The chat client's own faults are tested more closely in
`tests/integration/test_chat.py`, the stream to the client in `tests/unit/api/test_sse.py`.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import socket
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web
from fakes.chat_server import (
    DONE,
    FINISH,
    USAGE,
    ChatServer,
    Reply,
    open_stream,
    reset,
    send_endlessly,
    send_status,
    send_stream,
    send_unframed,
    stall_silently,
    write_event,
)
from fakes.http_client import wait_until
from fakes.live_server import LiveServer, settle
from fakes.local_server import KB, LocalServer

pytestmark = pytest.mark.faults
FILES = {"价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode()}
QUESTION = "开放夜的成人票多少钱？"
SECRET, KEY = "what-the-chat-server-says-is-never-told-on", "key-of-the-chat-server"
HASTY = {
    "llm_connect_seconds": 2,
    "llm_first_token_seconds": 2.5,
    "llm_idle_seconds": 2,
    "llm_total_seconds": 6,
    "llm_retries": 1,
    "llm_api_key": KEY,
}
PATIENT = {"llm_first_token_seconds": 120, "llm_idle_seconds": 120, "llm_total_seconds": 300, "llm_api_key": KEY}
HALF = write_event("成人票")
WHOLE = (write_event("成人票一百六十元[1]。"), FINISH, USAGE, DONE)
TEXT = "成人票一百六十元[1]。"
LEAVING_S = 20.0  # far less than PATIENT: what ends a call within it is that its reader has left


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("faults") / "store"
    local = LocalServer(root)
    local.create("k")
    local.upload("k", FILES)
    local.work()
    local.close()
    return root


@pytest.fixture(scope="module")
def server(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    store = shutil.copytree(root, tmp_path_factory.mktemp("live") / "store")
    with LiveServer(store, **HASTY) as live:
        live.script(send_stream(*WHOLE))
        ask(live)  # connections that stay open are there from now on
        yield live


@pytest.fixture(scope="module")
def patient(root: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    """One that no time limit helps when a client leaves."""
    store = shutil.copytree(root, tmp_path_factory.mktemp("patient") / "store")
    with LiveServer(store, **PATIENT) as live:
        live.script(send_stream(*WHOLE))
        ask(live)
        yield live


# -- two doors ------------------------------------------------------------------------------------------------------


def ask(server: LiveServer) -> tuple[int, str | None, str | None]:
    """Status, text and code of an answer that comes whole."""
    told = server.http.post(f"{KB}/k/ask", json={"question": QUESTION, "history": []})
    body = told.json()
    assert SECRET not in told.text
    assert KEY not in told.text
    return told.status_code, body.get("answer"), body.get("code")


def ask_streamed(server: LiveServer) -> tuple[list[str], str, str | None]:
    """Names of the events, the tokens together, and the code of the last one where it is an error."""
    told = server.http.post(f"{KB}/k/ask", json={"question": QUESTION, "history": [], "stream": True})
    assert told.status_code == 200  # the passages went first
    assert SECRET not in told.text
    blocks = [block for block in told.text.split("\n\n") if block and not block.startswith(":")]
    events = [
        (block.split("\n")[0].removeprefix("event: "), json.loads(block.split("data: ", 1)[1])) for block in blocks
    ]
    tokens = "".join(data["text"] for name, data in events if name == "token")
    names = list(dict.fromkeys(name for name, _ in events))
    return names, tokens, events[-1][1].get("code")


def complete(server: LiveServer) -> tuple[str, str | None]:
    """The streamed text of OpenAI's door, and the code of the error that stands in place of `[DONE]`."""
    body = {"model": "k", "messages": [{"role": "user", "content": QUESTION}], "stream": True}
    told = server.http.post("/v1/chat/completions", json=body)
    assert SECRET not in told.text
    *chunks, last = [block.removeprefix("data: ") for block in told.text.split("\n\n") if block.startswith("data: ")]
    text = "".join(json.loads(chunk)["choices"][0]["delta"].get("content", "") for chunk in chunks)
    return text, None if last == "[DONE]" else json.loads(last)["error"]["code"]


# -- F8: the chat server fails --------------------------------------------------------------------------------------


def send_packed(body: bytes, encoding: str = "gzip") -> Reply:
    """A whole stream at once, under an encoding that we did not ask for."""

    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        headers = {"Content-Type": "text/event-stream", "Content-Encoding": encoding}
        return web.Response(body=body, headers=headers)

    return reply


def send_then(first: bytes, pause_s: float, *rest: bytes) -> Reply:
    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        await response.write(first)
        await asyncio.sleep(pause_s)
        for chunk in rest:
            await response.write(chunk)
        return response

    return reply


PING = b": ping\n\n"
ROLE = write_event(choices=[{"delta": {"role": "assistant", "content": ""}}])
ERROR = {"error": {"message": SECRET, "type": "InternalServerError"}}
BOMB = gzip.compress(b"data: " + b"x" * 50_000_000)

# Replies, the code (None: answered), and what had come before it.
FAULTS: dict[str, tuple[Reply, str | None, str]] = {
    "F8-500": (send_status(500, ERROR), "llm_error", ""),
    "F8-500-html": (send_status(500, text=f"<html>{SECRET}</html>"), "llm_error", ""),
    "F8-502": (send_status(502, ERROR), "llm_unavailable", ""),
    "F8-429": (send_status(429, ERROR), "llm_unavailable", ""),
    "F8-401": (send_status(401, ERROR), "llm_key_refused", ""),
    "F8-redirect": (send_status(307, ERROR, Location="http://127.0.0.1:1/v1"), "llm_unavailable", ""),
    "F8-slow-first-token": (send_then(PING, 0.6, *WHOLE), None, TEXT),
    "F8-too-slow-first-token": (stall_silently(), "llm_timeout", ""),
    "F8-headers-alone": (send_stream(stall=True), "llm_timeout", ""),
    "F8-comments-alone": (send_endlessly(PING), "llm_timeout", ""),
    "F8-empty-pieces-alone": (send_endlessly(ROLE), "llm_timeout", ""),
    "F8-stall": (send_stream(HALF, stall=True), "llm_timeout", "成人票"),
    "F8-slow-but-alive": (send_then(HALF, 0.4, *WHOLE), None, "成人票" + TEXT),
    "F8-half-line": (send_stream(HALF, write_event("never")[:20]), "llm_error", "成人票"),
    "F8-half-line-and-stall": (send_stream(HALF, write_event("never")[:20], stall=True), "llm_timeout", "成人票"),
    "F8-no-DONE": (send_stream(*WHOLE[:-1]), None, TEXT),
    "F8-no-DONE-no-reason": (send_stream(WHOLE[0]), None, TEXT),
    "F8-invalid-json": (send_stream(HALF, b"data: {'a': 1}\n\n"), "llm_error", "成人票"),
    "F8-html-in-stream": (send_stream(HALF, f"data: <html>{SECRET}\n\n".encode()), "llm_error", "成人票"),
    "F8-200-and-error": (send_status(200, ERROR), "llm_error", ""),
    "F8-200-and-detail": (send_status(200, {"detail": SECRET}), "llm_error", ""),
    "F8-200-and-html": (send_status(200, text=f"<html>{SECRET}</html>"), "llm_error", ""),
    "F8-200-and-nothing": (send_status(200, text=""), "llm_error", ""),
    "F8-error-in-stream": (send_stream(HALF, write_event(**ERROR)), "llm_error", "成人票"),
    # at a pace at which the time is over before an answer is too long
    "F8-endless-words": (send_endlessly(write_event("词"), pause_s=0.005), "llm_timeout", "词"),
    "F8-endless-line": (send_endlessly(b"data: " + b"x" * 60_000), "llm_error", ""),
    "F8-gzip": (send_packed(gzip.compress(b"".join(WHOLE))), None, TEXT),
    "F8-gzip-torn": (send_packed(gzip.compress(b"".join(WHOLE))[:25]), "llm_error", ""),
    "F8-gzip-that-is-none": (send_packed(b"".join(WHOLE)), "llm_error", ""),
    "F8-gzip-bomb": (send_packed(BOMB), "llm_error", ""),
    "F8-unknown-encoding": (send_packed(b"".join(WHOLE), "x-none"), None, TEXT),
    "F8-closes-at-once": (reset(), "llm_error", ""),
    "F8-closes-early": (send_stream(HALF, cut=True), "llm_error", "成人票"),
    "F8-closes-early-unframed": (send_unframed(HALF), "llm_error", "成人票"),
    "F8-nothing-but-DONE": (send_stream(DONE), "llm_error", ""),
}


@pytest.mark.parametrize(("reply", "code", "before"), FAULTS.values(), ids=FAULTS)
def test_a_chat_server_that_fails(server: LiveServer, reply: Reply, code: str | None, before: str) -> None:
    tasks = server.count_tasks()
    server.script(reply)
    names, tokens, told = ask_streamed(server)
    assert told == code
    assert names == ["passages", *(["token"] if before else []), "error" if code else "done"]
    if "词" in before:
        assert set(tokens) == set(before)  # as many as came in time
    else:
        assert tokens == before
    settle(server, tasks)

    status, answer, told = ask(server)
    assert told == code
    assert (status, answer) == ((503, None) if code else (200, before))
    settle(server, tasks)

    text, told = complete(server)
    assert told == code
    assert text == tokens or set(text) <= set("词")
    settle(server, tasks)
    server.script(send_stream(*WHOLE))
    assert ask(server) == (200, TEXT, None)


def test_no_chat_server_at_all(root: Path, tmp_path: Path) -> None:
    """F8-down: nobody listens. A search goes on without it."""
    store = shutil.copytree(root, tmp_path / "store")
    with LiveServer(store, **HASTY, llm_base_url="http://127.0.0.1:1/v1") as server:
        assert ask(server) == (503, None, "llm_unavailable")
        assert ask_streamed(server) == (["passages", "error"], "", "llm_unavailable")
        assert complete(server) == ("", "llm_unavailable")
        found = server.http.post(f"{KB}/k/search", json={"query": QUESTION}).json()
        assert found["passages"][0]["document"]["path"] == "价目.md"


# -- F9: the client leaves ------------------------------------------------------------------------------------------

PATHS = {
    "upload": f"{KB}/k/documents",
    "ask": f"{KB}/k/ask",
    "joint": "/api/v1/ask",
    "v1": "/v1/chat/completions",
    "search": f"{KB}/k/search",
}
TURNS = [{"role": "user", "content": QUESTION}, {"role": "assistant", "content": TEXT}]


def write_body(path: str, **more: Any) -> bytes:
    fields: dict[str, Any] = {"question": QUESTION}
    if path == "v1":
        fields = {"model": "k", "messages": [*more.pop("history", []), {"role": "user", "content": QUESTION}]}
    elif path == "search":
        fields = {"query": QUESTION}
    elif path == "joint":
        fields["knowledge_bases"] = ["k"]
    return json.dumps(fields | more, ensure_ascii=False).encode()


def begin(server: LiveServer, path: str, body: bytes, sent: int, kind: str = "application/json") -> socket.socket:
    """A request of which `sent` bytes of the body are on their way."""
    head = f"POST {PATHS[path]} HTTP/1.1\r\nHost: h\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    connection = server.connect()
    connection.sendall(head.encode() + body[:sent])
    return connection


def leave(connection: socket.socket, how: str) -> None:
    if how == "reset":
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def read_until(connection: socket.socket, mark: bytes) -> bytes:
    seen = b""
    while mark not in seen:
        piece = connection.recv(65_536)
        assert piece, f"the server closed after {seen!r}"
        seen += piece
    return seen


def check_nothing_is_left(server: LiveServer, tasks: int) -> None:
    settle(server, tasks, LEAVING_S)
    server.script(send_stream(*WHOLE))
    assert ask(server) == (200, TEXT, None)
    assert server.http.get("/api/v1/conversations").json()["items"] == []  # no half of an answer is kept
    assert [one["path"] for one in server.http.get(f"{KB}/k/documents").json()["items"]] == list(FILES)


HOW = pytest.mark.parametrize("how", ["closed", "reset"])
FORM = "multipart/form-data; boundary=xyz"
FILE = b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n' + b"word " * 400_000
ARCHIVE = b'--xyz\r\nContent-Disposition: form-data; name="archive"; filename="a.zip"\r\n\r\nPK' + b"\0" * 2_000_000
UPLOADS = {"F9-mid-file": FILE, "F9-mid-archive": ARCHIVE}


@HOW
@pytest.mark.parametrize("body", UPLOADS.values(), ids=UPLOADS)
def test_a_client_leaves_in_mid_upload(patient: LiveServer, body: bytes, how: str) -> None:
    tasks, files = patient.count_tasks(), patient.count_open_files()
    connection = begin(patient, "upload", body + b"\r\n--xyz--\r\n", len(body) // 2, FORM)
    wait_until(lambda: patient.count_open_files() > files or None, "the upload has begun")
    leave(connection, how)
    wait_until(lambda: patient.count_open_files() <= files or None, "the files are closed", LEAVING_S)
    check_nothing_is_left(patient, tasks)


@HOW
@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("sent", [0, 9], ids=["F9-before-the-body", "F9-mid-body"])
def test_a_client_leaves_before_it_has_asked(patient: LiveServer, path: str, sent: int, how: str) -> None:
    tasks = patient.count_tasks()
    chat = patient.script(stall_silently())
    body, kind = (FILE, FORM) if path == "upload" else (write_body(path), "application/json")
    connection = begin(patient, path, body, sent, kind)
    wait_until(lambda: patient.count_tasks() > tasks or None, "the request has come")
    leave(connection, how)
    settle(patient, tasks, LEAVING_S)
    assert chat.bodies == []
    check_nothing_is_left(patient, tasks)


# What of the request, what the chat server does, and what the client has seen before it leaves.
PHASES: dict[str, tuple[dict[str, Any], Reply, bytes | None]] = {
    "F9-before-the-first-byte": ({}, stall_silently(), None),
    "F9-before-the-first-token": ({"stream": True}, stall_silently(), b"HTTP/1.1 200"),
    "F9-mid-SSE": ({"stream": True}, send_stream(HALF, stall=True), "成人票".encode()),
    "F9-mid-SSE-of-a-flood": ({"stream": True}, send_endlessly(write_event("成人票")), "成人票".encode()),
    "F9-mid-answer": ({}, send_stream(HALF, stall=True), None),
    "F9-mid-rewriting": ({"history": TURNS}, stall_silently(), None),
    "F9-mid-rewriting-of-a-stream": ({"history": TURNS, "stream": True}, stall_silently(), None),
}


@HOW
@pytest.mark.parametrize("path", ["ask", "joint", "v1"])
@pytest.mark.parametrize(("more", "reply", "seen"), PHASES.values(), ids=PHASES)
def test_a_client_leaves_while_it_is_answered(
    patient: LiveServer, path: str, more: dict[str, Any], reply: Reply, seen: bytes | None, how: str
) -> None:
    tasks = patient.count_tasks()
    chat = patient.script(reply)
    body = write_body(path, **more)
    connection = begin(patient, path, body, len(body))
    wait_until(lambda: chat.reached.is_set() or None, "the chat server was asked")
    if seen is not None:
        read_until(connection, seen)
    assert patient.count_connections() == 0  # none is held while the chat model writes
    assert not chat.left.is_set()
    leave(connection, how)
    wait_until(lambda: chat.left.is_set() or None, "the call of the chat model is ended", LEAVING_S)
    settle(patient, tasks, LEAVING_S)
    assert len(chat.bodies) == 1  # it was not repeated for nobody
    check_nothing_is_left(patient, tasks)
