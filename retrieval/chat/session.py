"""The connections to a chat server. The only importer of aiohttp: bytes and statuses come out, and three errors.

One session serves all calls of a process, so that a warm connection is at hand.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import cache
from typing import TYPE_CHECKING, Any

from kb.errors import Unavailable
from retrieval.chat.server import ChatServer
from retrieval.events import parse_json

if TYPE_CHECKING:  # 0.2 s and 10 MB that a server without a chat model need not spend
    import aiohttp

LONGEST_BODY = 4_000_000  # bytes read of what is no stream: /tokenize gives a number for each token of a long prompt
DRAIN_S = 0.2


class NotReached(Exception):
    """No connection came about."""


class BrokenOff(Exception):
    """The connection was there and is gone."""


class Reply:
    """The answer to one request; its body comes as it is read. `close` in mid-body closes the connection."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self.status = response.status
        self.retry_after = response.headers.get("Retry-After")

    @property
    def is_plain(self) -> bool:
        """One JSON document, not a stream of events."""
        return self._response.content_type == "application/json"

    @property
    def is_framed(self) -> bool:
        """Whether HTTP itself says where the body ends; if not, an end may be a cut."""
        headers = self._response.headers
        return "Content-Length" in headers or headers.get("Transfer-Encoding", "").lower() == "chunked"

    async def read_some(self) -> bytes:
        """What has come, at least a byte; nothing at the end. Raises BrokenOff; TimeoutError after `give_up`."""
        try:
            return await self._response.content.readany()
        except _list_faults() as error:
            raise _say_plainly(error) from None

    def give_up(self) -> None:
        """The read under way raises TimeoutError."""
        self._response.content.set_exception(TimeoutError())

    async def read_body(self) -> bytes:
        """All that is left, up to LONGEST_BODY. Raises BrokenOff."""
        parts, size = [], 0
        while size < LONGEST_BODY and (part := await self.read_some()):
            parts.append(part)
            size += len(part)
        return b"".join(parts)

    async def drain(self) -> None:
        """Read the end, which comes right behind the last event, so that the connection can be used again."""
        with suppress(TimeoutError, BrokenOff):
            async with asyncio.timeout(DRAIN_S):
                await self.read_some()

    def close(self) -> None:
        self._response.close()


class ChatSession:
    """`open` before use and `close` after, both on the loop that serves."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._session: aiohttp.ClientSession | None = None

    async def open(self) -> None:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, connect=self._server.limits.connect_s),
                headers=self._write_headers(),
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def send(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> Reply:
        """The caller closes the reply. Raises NotReached, BrokenOff; Unavailable (`llm_unavailable`) when not open."""
        if self._session is None:
            raise Unavailable("llm_unavailable", "the chat model is not open")
        with _said_plainly():
            # No redirects: they would carry the key and the documents to a place that nobody configured.
            return Reply(await self._session.request(method, url, json=body, allow_redirects=False))

    async def ask(self, method: str, url: str, body: Mapping[str, Any] | None = None) -> tuple[int, object]:
        """Status and JSON, None where it is none, of what is answered at once. Raises what `send` raises."""
        reply = await self.send(method, url, body)
        try:
            content = await reply.read_body()
        finally:
            reply.close()
        return reply.status, parse_json(content)

    def _write_headers(self) -> dict[str, str]:
        key = self._server.api_key
        # identity: a compressed stream arrives in blocks, not token by token
        headers = {"Accept-Encoding": "identity", "Accept": "text/event-stream, application/json"}
        return headers | {"Authorization": f"Bearer {key}"} if key else headers


@contextmanager
def _said_plainly() -> Iterator[None]:
    """aiohttp's errors as ours. TimeoutError is the caller's own, from its deadline."""
    try:
        yield
    except _list_faults() as error:
        raise _say_plainly(error) from None


@cache
def _list_faults() -> tuple[type[Exception], ...]:
    import aiohttp

    return aiohttp.ClientError, ConnectionError


def _say_plainly(error: Exception) -> NotReached | BrokenOff:
    import aiohttp

    unreached = aiohttp.ServerTimeoutError, aiohttp.ClientConnectorError, aiohttp.InvalidURL
    return NotReached(type(error).__name__) if isinstance(error, unreached) else BrokenOff(type(error).__name__)
