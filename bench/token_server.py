"""A chat server of the OpenAI protocol that writes tokens at a set pace, as vLLM writes them: in steps, one token for
every answer under way at each. It is no model; what it sends costs it next to nothing, so that what is measured is
whoever asks it.

`PUT /script` with `{"tokens": 100, "step_s": 0.05}` says what the next answers are like; a step of 0 means as fast as
they are taken. Run as a process of its own: `python bench/token_server.py PORT`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from dataclasses import dataclass

import uvloop

MODEL = "tokens"
WINDOW = 32_768
WORD = "潮汐"
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream; charset=utf-8\r\nTransfer-Encoding: chunked\r\n\r\n"


def write_chunk(data: object) -> bytes:
    text = data if isinstance(data, str) else json.dumps(data, ensure_ascii=False, separators=(",", ":"))
    event = f"data: {text}\n\n".encode()
    return b"%x\r\n%b\r\n" % (len(event), event)


def write_part(delta: dict[str, str], finish: str | None = None, usage: dict[str, int] | None = None) -> bytes:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish, "token_ids": None}
    part = {"id": "chatcmpl-7d3b1c8e3f0a4c0c8e0f9f9d4f2a6b11", "object": "chat.completion.chunk", "created": 1764200000,
            "model": MODEL, "choices": [choice], "usage": usage}  # fmt: skip
    return write_chunk(part)


FIRST = write_part({"role": "assistant", "content": ""})
TOKEN = write_part({"content": WORD})
LAST = write_part({"content": "[1]。"})
END = write_part({}, finish="stop") + write_chunk("[DONE]") + b"0\r\n\r\n"


@dataclass(kw_only=True, slots=True)
class Script:
    tokens: int = 100
    step_s: float = 0.0


class TokenServer:
    """The answers under way, and the step that serves them all."""

    def __init__(self) -> None:
        self.script = Script()
        self.left: dict[Connection, int] = {}  # tokens that each still gets
        self._stepping: asyncio.Task[None] | None = None

    def begin(self, connection: Connection) -> None:
        self.left[connection] = self.script.tokens
        connection.transport.write(HEAD + FIRST)
        if self._stepping is None:
            self._stepping = asyncio.ensure_future(self._step())

    async def _step(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self.left:
            for connection in list(self.left):
                self._serve(connection)
            due = max(loop.time(), due + self.script.step_s)
            await asyncio.sleep(due - loop.time())
        self._stepping = None

    def _serve(self, connection: Connection) -> None:
        if connection.is_full:
            return
        left = self.left[connection] = self.left[connection] - 1
        connection.transport.write(TOKEN if left > 0 else LAST + END)
        if left <= 0:
            del self.left[connection]


class Connection(asyncio.Protocol):
    transport: asyncio.Transport

    def __init__(self, server: TokenServer) -> None:
        self._server = server
        self._read = b""
        self.is_full = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport  # type: ignore[assignment]  # uvloop's is none by class

    def connection_lost(self, error: Exception | None) -> None:
        del error
        self._server.left.pop(self, None)

    def pause_writing(self) -> None:
        self.is_full = True

    def resume_writing(self) -> None:
        self.is_full = False

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, mark, body = self._read.partition(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].partition(b":")[2]) if lengths else 0
        if mark and len(body) >= length:
            self._read = body[length:]
            self._answer(head.split(b" ")[1], body[:length])

    def _answer(self, path: bytes, body: bytes) -> None:
        if path == b"/v1/chat/completions":
            self._server.begin(self)
        elif path == b"/v1/models":
            self._send(200, {"object": "list", "data": [{"id": MODEL, "object": "model", "max_model_len": WINDOW}]})
        elif path == b"/script":
            self._server.script = Script(**json.loads(body))
            self._send(200, {})
        else:
            self._send(404, {"error": {"type": "not_found"}})

    def _send(self, status: int, answer: object) -> None:
        body = json.dumps(answer).encode()
        head = f"HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self.transport.write(head.encode() + body)


async def serve(port: int) -> None:
    state = TokenServer()
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(state), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1])))
