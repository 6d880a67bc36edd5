"""Many streams at once from one process: when each began to speak, how much it said, when it ended."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import uvloop

END = b"0\r\n\r\n"


@dataclass(frozen=True, kw_only=True, slots=True)
class Target:
    """Where streams are asked for, what stands in each piece of text that comes, and lines of the request's head."""

    port: int
    path: str
    mark: bytes
    head: str = ""


@dataclass(kw_only=True, slots=True)
class Stream:
    """Times are those of `time.perf_counter`."""

    began: float
    first: float = 0.0
    ended: float = 0.0
    parts: list[bytes] = field(default_factory=list)

    @property
    def content(self) -> bytes:
        return b"".join(self.parts)


class _Reader(asyncio.Protocol):
    def __init__(self, stream: Stream, request: bytes, mark: bytes, done: asyncio.Future[None]) -> None:
        self._stream, self._request, self._mark, self._done = stream, request, mark, done

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport: asyncio.Transport = transport  # type: ignore[assignment]  # uvloop's is none by class
        self._stream.began = time.perf_counter()
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        stream = self._stream
        stream.parts.append(data)
        if not stream.first and self._mark in data:
            stream.first = time.perf_counter()
        if data.endswith(END):
            stream.ended = time.perf_counter()
            self._transport.close()

    def connection_lost(self, error: Exception | None) -> None:
        del error
        if not self._done.done():
            self._done.set_result(None)


def run_streams(target: Target, bodies: Sequence[object]) -> list[Stream]:
    """One stream a body, all at once. Raises SystemExit when one broke off or said nothing."""
    return uvloop.run(read_all(target, bodies))


async def read_all(target: Target, bodies: Sequence[object]) -> list[Stream]:
    streams = await asyncio.gather(*[_read_one(target, json.dumps(body).encode()) for body in bodies])
    for stream in streams:
        if not stream.first or not stream.ended:
            raise SystemExit(f"a stream broke off: {stream.content[:300]!r} … {stream.content[-300:]!r}")
    return streams


async def _read_one(target: Target, body: bytes) -> Stream:
    loop = asyncio.get_running_loop()
    head = f"POST {target.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n{target.head}"
    request = head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(body), body)
    stream, done = Stream(began=0.0), loop.create_future()
    await loop.create_connection(lambda: _Reader(stream, request, target.mark, done), "127.0.0.1", target.port)
    await done
    return stream
