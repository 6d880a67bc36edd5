"""Server-sent events: one response class for every stream.

One task reads the source from beginning to end and sends what comes, so that what the source holds (a chat server's
connection, a time-out) is entered and left in the same place, and a client that reads slowly makes the source wait.
Beside it another one looks now and then whether anything was sent: a token passes through without a timer, a queue or
a change of tasks of its own. Until the first event is there nothing is sent, so that a request that fails at once still
gets its own status; a source that lets one wait gets its headers and a comment. When the client goes, the source is
closed, and with it whatever it was waiting for. So it is when the client stays but takes nothing for a while: it must
not hold a chat server's call for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import to_failure
from api.listening import run_while_heard
from api.responses import write_json

HEARTBEAT_S = 10.0
STALLED_S = 60.0
COMMENT = b": waiting\n\n"
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}

Told = TypeVar("Told")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """`data` is written as JSON."""

    name: str
    data: Any


def write_event(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.name.encode("ascii"), write_json(event.data))


def write_failure(error: Exception) -> bytes:
    """The `error` event of a stream that fails under way."""
    problem = to_failure(error)
    return write_event(Event(name="error", data={"code": problem.code, "detail": problem.detail}))


class EventStream(Response, Generic[Told]):
    """Sends what `source` tells, as `write` puts it, and closes it, whatever happens. Where that is nothing, nothing is
    sent; it may be several events."""

    def __init__(
        self,
        source: AsyncGenerator[Told, None],
        write: Callable[[Told], bytes],
        write_failure: Callable[[Exception], bytes] = write_failure,
        heartbeat_s: float = HEARTBEAT_S,
        stalled_s: float = STALLED_S,
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._source = source
        self._write = write
        self._write_failure = write_failure
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s
        self._started = False
        self._stalled = False
        self._sent_at = 0.0
        self._sending = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await run_while_heard(receive, self._exchange(send))

    async def _exchange(self, send: Send) -> None:
        self._sent_at = asyncio.get_running_loop().time()
        reading = asyncio.create_task(self._send_events(send))
        watching = asyncio.create_task(self._watch(send, reading))
        try:
            await reading
        except asyncio.CancelledError:
            if not self._stalled:
                raise
            log.warning("stream.stalled after_s=%g", self._stalled_s)
        finally:
            reading.cancel()
            watching.cancel()
            await asyncio.gather(reading, watching, return_exceptions=True)

    async def _send_events(self, send: Send) -> None:
        try:
            async with aclosing(self._source) as events:
                async for event in events:
                    if data := self._write(event):
                        await self._send(send, data)
        except Exception as error:  # the boundary: a stream under way can only say that it failed
            if not self._started:
                raise
            await self._send(send, self._write_failure(error))
        if not self._started:
            await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _watch(self, send: Send, reading: asyncio.Task[None]) -> None:
        """Send a comment whenever nothing was sent for a while; end the reading when what is sent is not taken."""
        now = asyncio.get_running_loop().time
        while not self._stalled:
            longest = self._stalled_s if self._sending else self._heartbeat_s
            left = self._sent_at + longest - now()
            if left > 0:
                await asyncio.sleep(min(left, self._stalled_s))
            elif self._sending:
                self._stalled = True
            else:
                try:
                    async with asyncio.timeout(self._stalled_s):
                        await self._send(send, COMMENT)
                except TimeoutError:
                    self._stalled = True
        reading.cancel()

    async def _send(self, send: Send, data: bytes) -> None:
        if not self._started:
            await self._start(send)
        self._sent_at, self._sending = asyncio.get_running_loop().time(), True
        try:
            await send({"type": "http.response.body", "body": data, "more_body": True})
        finally:
            self._sending = False

    async def _start(self, send: Send) -> None:
        self._started = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
