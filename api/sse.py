"""Server-sent events: one response class for every stream.

One task reads the source, another waits for the client to go; the source is read by one task from beginning to end, so
that what it holds (a chat server's connection, a time-out) is entered and left in the same place. Until the first event
is there nothing is sent, so that a request that fails at once still gets its own status; a source that lets one wait
gets its headers and a comment. When the client goes, the source is closed, and with it whatever it was waiting for. So
it is when the client stays but takes nothing for a while: it must not hold a chat server's call for ever.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from api.errors import to_failure
from api.listening import run_while_heard
from api.responses import write_json

HEARTBEAT_S = 10.0
STALLED_S = 60.0
COMMENT = b": waiting\n\n"
HEADERS = {"content-type": "text/event-stream; charset=utf-8", "cache-control": "no-store", "x-accel-buffering": "no"}
WAITING_EVENTS = 64  # before a client that reads slowly makes the source wait

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Event:
    """`data` is written as JSON."""

    name: str
    data: Any


class _Stalled(Exception):
    """The client takes nothing any more."""


@dataclass(frozen=True, kw_only=True, slots=True)
class _Ended:
    """The source has ended, with `error` when it failed."""

    error: Exception | None = None


class EventStream(Response):
    """Sends the events of `source` and closes it, whatever happens."""

    def __init__(
        self, source: AsyncGenerator[Event, None], heartbeat_s: float = HEARTBEAT_S, stalled_s: float = STALLED_S
    ) -> None:
        super().__init__(headers=HEADERS)
        del self.headers["content-length"]
        self._source = source
        self._heartbeat_s = heartbeat_s
        self._stalled_s = stalled_s
        self._started = False

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope
        await run_while_heard(receive, self._exchange(send))

    def write(self, event: Event) -> bytes:
        return write_event(event)

    def write_failure(self, error: Exception) -> bytes:
        return write_event(describe_failure(error))

    async def _exchange(self, send: Send) -> None:
        queue: asyncio.Queue[Event | _Ended] = asyncio.Queue(WAITING_EVENTS)
        reading = asyncio.create_task(self._read_source(queue))
        try:
            await self._send_events(queue, send)
        except _Stalled:
            log.warning("stream.stalled after_s=%g", self._stalled_s)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _read_source(self, queue: asyncio.Queue[Event | _Ended]) -> None:
        try:
            async with aclosing(self._source) as events:
                async for event in events:
                    await queue.put(event)
        except Exception as error:  # noqa: BLE001  # the boundary: a stream under way can only say that it failed
            await queue.put(_Ended(error=error))
        else:
            await queue.put(_Ended())

    async def _send_events(self, queue: asyncio.Queue[Event | _Ended], send: Send) -> None:
        next_event = asyncio.ensure_future(queue.get())
        try:
            while True:
                if not next_event.done():
                    await asyncio.wait({next_event}, timeout=self._heartbeat_s)
                if not next_event.done():
                    await self._send(send, COMMENT)
                    continue
                event = next_event.result()
                if isinstance(event, _Ended):
                    await self._end(event, send)
                    return
                await self._send(send, self.write(event))
                next_event = asyncio.ensure_future(queue.get())
        finally:
            next_event.cancel()

    async def _end(self, ended: _Ended, send: Send) -> None:
        if ended.error is not None:
            if not self._started:
                raise ended.error
            await self._send(send, self.write_failure(ended.error))
        elif not self._started:
            await self._start(send)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _send(self, send: Send, data: bytes) -> None:
        if not self._started:
            await self._start(send)
        try:
            async with asyncio.timeout(self._stalled_s):
                await send({"type": "http.response.body", "body": data, "more_body": True})
        except TimeoutError:
            raise _Stalled from None

    async def _start(self, send: Send) -> None:
        self._started = True
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})


def write_event(event: Event) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (event.name.encode("ascii"), write_json(event.data))


def describe_failure(error: Exception) -> Event:
    """The `error` event of a stream that fails under way."""
    problem = to_failure(error)
    return Event(name="error", data={"code": problem.code, "detail": problem.detail})
