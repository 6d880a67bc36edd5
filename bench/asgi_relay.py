"""The relay of what the server is built on, uvicorn and aiohttp: bytes that have come go on, nothing is read. What a
token costs here is what is left when all of our own work is taken away: `python bench/asgi_relay.py PORT CHAT_PORT`."""

from __future__ import annotations

import sys
from typing import Any

import aiohttp
import uvicorn


class Relay:
    def __init__(self, chat_port: int) -> None:
        self._url = f"http://127.0.0.1:{chat_port}"
        self._session: aiohttp.ClientSession | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:  # noqa: ANN401
        if self._session is None:
            connector, timeout = aiohttp.TCPConnector(limit=0), aiohttp.ClientTimeout(total=None)
            self._session = aiohttp.ClientSession(connector=connector, timeout=timeout)
        body = await read_body(receive)
        async with self._session.post(self._url + scope["path"], data=body) as told:
            await send({"type": "http.response.start", "status": told.status})
            while piece := await told.content.readany():
                await send({"type": "http.response.body", "body": piece, "more_body": True})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def read_body(receive: Any) -> bytes:  # noqa: ANN401
    parts, more = [], True
    while more:
        message = await receive()
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


if __name__ == "__main__":
    relay = Relay(int(sys.argv[2]))
    uvicorn.run(
        relay, port=int(sys.argv[1]), loop="uvloop", http="httptools", lifespan="off", access_log=False, log_config=None
    )
