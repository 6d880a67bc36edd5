"""A pass-through to a chat server, which keeps what it is asked: the bodies that our server sends, byte for byte."""

from __future__ import annotations

import asyncio
from threading import Event, Thread
from types import TracebackType
from typing import Self

import aiohttp
import uvloop
from aiohttp import web
from server import find_port

CHAT = "/v1/chat/completions"
LONGEST = 16_000_000  # bytes of a body


class Recorder:
    """Running, in a thread with a loop of its own, while the block runs."""

    def __init__(self, root: str) -> None:
        self.bodies: list[bytes] = []
        self.port = find_port()
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self._root = root
        self._listens = Event()

    def __enter__(self) -> Self:
        self._thread = Thread(target=lambda: uvloop.run(self._serve()))
        self._thread.start()
        self._listens.wait()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join()

    async def _serve(self) -> None:
        self._loop, self._ended = asyncio.get_running_loop(), asyncio.Event()
        app = web.Application(client_max_size=LONGEST)
        app.router.add_route("*", "/{path:.*}", self._pass)
        runner = web.AppRunner(app)
        await runner.setup()
        try:
            async with aiohttp.ClientSession() as self._session:
                await web.TCPSite(runner, "127.0.0.1", self.port).start()
                self._listens.set()
                await self._ended.wait()
        finally:
            await runner.cleanup()

    async def _pass(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        if request.path == CHAT:
            self.bodies.append(body)
        headers = {name: request.headers[name] for name in ("Authorization", "Content-Type") if name in request.headers}
        url = f"{self._root}{request.path}"
        async with self._session.request(request.method, url, data=body or None, headers=headers) as told:
            answer = web.StreamResponse(status=told.status, headers={"Content-Type": told.headers["Content-Type"]})
            await answer.prepare(request)
            async for piece in told.content.iter_any():
                await answer.write(piece)
            return answer
