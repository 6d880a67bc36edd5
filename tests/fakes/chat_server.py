"""A chat server on loopback that does what its script says: for the faults a real one shows only now and then."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web

Reply = Callable[["ChatServer", web.Request], Awaitable[web.StreamResponse]]


class ChatServer:
    """Answers the n-th chat request with the n-th reply, the last one again and again.

    `reached` is set by the first call, `left` when a caller hangs up on a reply; `bodies` and
    `headers` are what the calls carried. `told` is what other paths answer, `asked` what they were asked.
    """

    def __init__(self, *replies: Reply, window: int | None = None) -> None:
        self.replies = replies
        self.window = window
        self.bodies: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.ports: list[int] = []
        self.reached = asyncio.Event()
        self.left = asyncio.Event()
        self.sent = 0
        self.url = ""
        self.told: dict[str, Any] = {}
        self.asked: list[tuple[str, Any]] = []

    async def complete(self, request: web.Request) -> web.StreamResponse:
        self.bodies.append(await request.json())
        self.headers.append(dict(request.headers))
        self.ports.append(request.transport.get_extra_info("peername")[1])
        self.reached.set()
        reply = self.replies[min(len(self.bodies), len(self.replies)) - 1]
        try:
            return await reply(self, request)
        except (asyncio.CancelledError, ConnectionError):
            self.left.set()
            raise

    async def tell(self, request: web.Request) -> web.StreamResponse:
        self.asked.append((request.path, await request.json() if request.can_read_body else None))
        if request.path not in self.told:
            raise web.HTTPNotFound
        told = self.told[request.path]
        return await told(self, request) if callable(told) else web.json_response(told)

    async def list_models(self, request: web.Request) -> web.StreamResponse:
        if "/v1/models" in self.told:
            return await self.tell(request)
        if self.window is None:
            raise web.HTTPNotFound
        models = [{"id": "other", "max_model_len": 1}, {"id": "m", "max_model_len": self.window}]
        return web.json_response({"object": "list", "data": models})


@asynccontextmanager
async def serve_chat(*replies: Reply, window: int | None = None) -> AsyncIterator[ChatServer]:
    server = ChatServer(*replies, window=window)
    app = web.Application()
    app.router.add_post("/v1/chat/completions", server.complete)
    app.router.add_get("/v1/models", server.list_models)
    app.router.add_route("*", "/{path:.*}", server.tell)
    runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    server.url = f"http://127.0.0.1:{runner.addresses[0][1]}/v1"
    try:
        yield server
    finally:
        await runner.cleanup()


def write_event(text: str | None = None, **fields: object) -> bytes:
    """One event of a chat stream: a piece of text, or an object of the given fields."""
    choice = {"index": 0, "delta": {"content": text}, "finish_reason": None}
    return b"data: " + json.dumps(fields or {"choices": [choice]}, ensure_ascii=False).encode() + b"\n\n"


FINISH = write_event(choices=[{"index": 0, "delta": {}, "finish_reason": "stop"}])
USAGE = write_event(choices=[], usage={"prompt_tokens": 12, "completion_tokens": 3, "total_tokens": 15})
DONE = b"data: [DONE]\n\n"


def send_status(status: int, body: object = None, text: str | None = None, **headers: str) -> Reply:
    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        if text is not None:
            return web.Response(text=text, status=status, headers=headers)
        return web.json_response(body if body is not None else {}, status=status, headers=headers)

    return reply


def send_stream(*chunks: bytes, stall: bool = False, cut: bool = False) -> Reply:
    """Sends the chunks one by one; then ends, or stalls until the caller leaves, or cuts the connection."""

    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        for chunk in chunks:
            await response.write(chunk)
            server.sent += 1
        if stall:
            await asyncio.Event().wait()
        if cut:
            request.transport.abort()
        return response

    return reply


def stall_silently() -> Reply:
    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError("nothing sets that event")

    return reply


def reset() -> Reply:
    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        request.transport.abort()
        return web.Response()

    return reply


def send_endlessly(chunk: bytes, pause_s: float = 0) -> Reply:
    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        response = await open_stream(request)
        while True:
            await response.write(chunk)
            server.sent += 1
            await asyncio.sleep(pause_s)

    return reply


def send_unframed(*chunks: bytes) -> Reply:
    """As an HTTP/1.0 server does: the body ends where the connection ends."""

    async def reply(server: ChatServer, request: web.Request) -> web.StreamResponse:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"
        request.transport.write(head + b"".join(chunks))
        request.transport.close()
        return web.Response()

    return reply


async def open_stream(request: web.Request) -> web.StreamResponse:
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    response.enable_chunked_encoding()
    await response.prepare(request)
    return response


def split_bytes(data: bytes, size: int) -> Sequence[bytes]:
    return [data[i : i + size] for i in range(0, len(data), size)]
