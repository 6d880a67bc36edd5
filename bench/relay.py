"""A bare relay: bytes from one socket to another, nothing read, on the loop that the server runs on. What a token costs
here no server in this language goes below: `python bench/relay.py PORT CHAT_PORT`, a process of its own."""

from __future__ import annotations

import asyncio
import sys

import uvloop


class Upstream(asyncio.Protocol):
    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)


class Downstream(asyncio.Protocol):
    def __init__(self, chat_port: int) -> None:
        self._chat_port = chat_port
        self._upstream: asyncio.BaseTransport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none by class

    def data_received(self, data: bytes) -> None:
        self._relaying = asyncio.ensure_future(self._relay(data))  # a request comes in one piece

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if self._upstream is not None:
            self._upstream.close()

    async def _relay(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        upstream, _ = await loop.create_connection(lambda: Upstream(self._transport), "127.0.0.1", self._chat_port)
        self._upstream = upstream
        upstream.write(request)


async def serve(port: int, chat_port: int) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Downstream(chat_port), "127.0.0.1", port, backlog=1024)
    await server.serve_forever()


if __name__ == "__main__":
    uvloop.run(serve(int(sys.argv[1]), int(sys.argv[2])))
