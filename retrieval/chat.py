"""The chat model: a seam, and its implementation for servers of the OpenAI protocol. The only importer of aiohttp.

One session serves all calls, so that a warm connection is at hand. An answer is an async generator; closing it closes
the connection, which is how a chat server learns that nobody reads any more. Calls are repeated only while no text has
come. Messages of errors name the server's host, its status and its error's name: its own words may repeat the prompt.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing, suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol
from urllib.parse import urlsplit

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.events import DONE, ChatPiece, EventReader, name_error, read_piece
from retrieval.prompt import ChatMessage

if TYPE_CHECKING:  # 0.2 s and 10 MB that a server without a chat model need not spend
    import aiohttp

BUSY = frozenset({429, 502, 503, 504})
REPEATED = BUSY | {500}
LONGEST_BODY = 100_000  # bytes read of an error or of the list of models
DRAIN_S = 0.2
WINDOW_PAUSE_S = 60.0


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatOptions:
    """What every server we know accepts; None leaves the choice to the server."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None


class ChatModel(Protocol):
    """Writes answers. One object serves all requests of a process."""

    @property
    def name(self) -> str: ...

    def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        """Pieces of text as they come, then the usage where the server tells it. Closing the generator ends the call
        at the server as well.

        Raises Unavailable (`llm_unavailable`, `llm_timeout`, `llm_error`), InvalidInput (`llm_rejected`).
        """
        ...

    async def find_window(self) -> int | None:
        """Tokens the model reads and writes in all, None where the server does not tell. Never raises."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatLimits:
    """Seconds. `idle_s` is between two arrivals of bytes: a slow healthy stream is cut by `total_s` alone."""

    connect_s: float = 5.0
    first_token_s: float = 30.0
    idle_s: float = 20.0
    total_s: float = 300.0
    retries: int = 2
    pause_s: float = 0.3  # before the first repetition, twice as long before the second


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatServer:
    """`base_url` ends in /v1. `window` is what is known beforehand of the model's length."""

    base_url: str
    model: str
    api_key: str | None = field(default=None, repr=False)
    profile: Literal["vllm", "openai"] = "vllm"
    window: int | None = None
    limits: ChatLimits = ChatLimits()


class _Repeatable(Exception):
    """A failure before any text: the call may be made again; `final` is the error to give up with."""

    def __init__(self, final: KbError) -> None:
        super().__init__(final.detail)
        self.final = final


class _Clock:
    """Deadlines of one call."""

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limits.total_s
        self._first_end = 0.0
        self.started = False

    def begin_attempt(self) -> None:
        """Another attempt: the time for the first token begins anew, the total does not."""
        self._first_end = self._now() + self._limits.first_token_s

    def next_limit(self) -> asyncio.Timeout:
        soon = self._now() + self._limits.idle_s if self.started else self._first_end
        return asyncio.timeout_at(min(soon, self._end))

    def explain(self, host: str) -> Unavailable:
        if self._now() >= self._end:
            fault = f"did not finish within {self._limits.total_s:g} s"
        elif self.started:
            fault = f"went silent for {self._limits.idle_s:g} s in mid-answer"
        else:
            fault = f"sent no text within {self._limits.first_token_s:g} s"
        return Unavailable("llm_timeout", f"the chat server {host} {fault}")


class OpenAIChatModel:
    """A chat server behind the OpenAI protocol. `open` before use and `close` after, both on the loop that serves."""

    def __init__(self, server: ChatServer) -> None:
        self._server = server
        self._host = urlsplit(server.base_url).hostname or "?"
        self._base = server.base_url.rstrip("/")
        self._session: aiohttp.ClientSession | None = None
        self._window = server.window
        self._ask_window_at = 0.0  # on the loop's clock

    @property
    def name(self) -> str:
        return self._server.model

    async def open(self) -> None:
        import aiohttp

        if self._session is None:
            self._session = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=0),
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self._server.limits.connect_s),
                headers=self._write_headers(),
            )

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def find_window(self) -> int | None:
        import aiohttp

        now = asyncio.get_running_loop().time()
        if self._window is None and now >= self._ask_window_at:
            self._ask_window_at = now + WINDOW_PAUSE_S  # whatever comes of it: a dead server must not cost each call
            # what is wrong with the server the call itself will say
            with suppress(TimeoutError, aiohttp.ClientError, ConnectionError, ValueError, Unavailable):
                async with asyncio.timeout(self._server.limits.connect_s):
                    self._window = await self._read_window()
        return self._window

    async def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        limits, body = self._server.limits, self._write_body(messages, options)
        clock = _Clock(limits)
        for attempt in range(limits.retries + 1):
            clock.begin_attempt()
            try:
                async with aclosing(self._call(body, clock)) as pieces:
                    async for piece in pieces:
                        yield piece
                return
            except _Repeatable as failure:
                if attempt == limits.retries:
                    raise failure.final from None
            await asyncio.sleep(limits.pause_s * 2**attempt)

    async def _call(self, body: Mapping[str, Any], clock: _Clock) -> AsyncGenerator[ChatPiece, None]:
        """One attempt. Whatever ends it, the connection goes back to the pool or, in mid-answer, is closed at once."""
        import aiohttp

        response = None
        try:
            async with clock.next_limit():
                response = await self._post(body)
                await self._check_status(response)
            async with aclosing(self._read_pieces(response, clock)) as pieces:
                async for piece in pieces:
                    yield piece
        except (aiohttp.ServerTimeoutError, aiohttp.ClientConnectorError):
            raise Unavailable("llm_unavailable", f"the chat server {self._host} cannot be reached") from None
        except TimeoutError:
            raise clock.explain(self._host) from None
        except (aiohttp.ClientError, ConnectionError) as error:
            raise self._say_broken(clock, type(error).__name__) from None
        finally:
            if response is not None:
                response.close()

    async def _post(self, body: Mapping[str, Any]) -> aiohttp.ClientResponse:
        # No redirects: they would carry the key and the documents to a place that nobody configured.
        return await self._get_session().post(f"{self._base}/chat/completions", json=body, allow_redirects=False)

    async def _check_status(self, response: aiohttp.ClientResponse) -> None:
        status = response.status
        if status == 200:
            return
        said = f"the chat server {self._host} answered {status}{_name_fault(await response.content.read(LONGEST_BODY))}"
        if status in REPEATED:
            raise _Repeatable(Unavailable("llm_unavailable" if status in BUSY else "llm_error", said))
        if status in {401, 403}:
            raise Unavailable("llm_unavailable", f"{said}: it does not take our key")
        if status == 404:
            raise Unavailable("llm_unavailable", f"{said}: no model {self.name!r} or no such path there")
        if 400 <= status < 500:
            raise InvalidInput("llm_rejected", f"{said}: it does not take this request")
        raise Unavailable("llm_error", said)

    async def _read_pieces(self, response: aiohttp.ClientResponse, clock: _Clock) -> AsyncGenerator[ChatPiece, None]:
        reader = EventReader(plain=response.content_type == "application/json")
        finished = False
        while True:
            try:
                async with clock.next_limit():
                    chunk = await response.content.readany()
            except TimeoutError:
                if finished:
                    return  # the answer is whole; this server only leaves the line open
                raise
            for data in reader.feed(chunk, last=not chunk):
                clock.started = True
                if data.strip() == DONE:
                    await _drain(response)
                    return
                piece = read_piece(data)
                finished = finished or piece.finished
                yield piece
            if not chunk:
                break
        if not finished and (not clock.started or not _is_framed(response)):
            raise self._say_broken(clock, "the stream ended early")

    def _say_broken(self, clock: _Clock, fault: str) -> KbError | _Repeatable:
        final = Unavailable("llm_error", f"the chat server {self._host} broke off: {fault}")
        return final if clock.started else _Repeatable(final)

    async def _read_window(self) -> int | None:
        async with self._get_session().get(f"{self._base}/models", allow_redirects=False) as response:
            body = json.loads(await response.content.read(LONGEST_BODY)) if response.status == 200 else None
        models = body.get("data") if isinstance(body, dict) else None
        for model in models if isinstance(models, list) else []:
            if isinstance(model, dict) and model.get("id") == self.name:
                length = model.get("max_model_len")
                return length if isinstance(length, int) and length > 0 else None
        return None

    def _get_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            raise Unavailable("llm_unavailable", "the chat model is not open")
        return self._session

    def _write_headers(self) -> dict[str, str]:
        key = self._server.api_key
        # identity: a compressed stream arrives in blocks, not token by token
        headers = {"Accept-Encoding": "identity", "Accept": "text/event-stream, application/json"}
        return headers | {"Authorization": f"Bearer {key}"} if key else headers

    def _write_body(self, messages: Sequence[ChatMessage], options: ChatOptions) -> dict[str, Any]:
        body: dict[str, Any] = {
            "model": self._server.model,
            "messages": [{"role": message.role, "content": message.content} for message in messages],
            "max_tokens": options.max_tokens,
            "temperature": options.temperature,
            "stream": True,
        }
        chosen = {"top_p": options.top_p, "stop": list(options.stop) or None, "seed": options.seed}
        body |= {name: value for name, value in chosen.items() if value is not None}
        if self._server.profile == "vllm":
            body["stream_options"] = {"include_usage": True}
        return body


def _name_fault(body: bytes) -> str:
    with suppress(ValueError):
        told = json.loads(body)
        return name_error(told) if isinstance(told, dict) else ""
    return ""


def _is_framed(response: aiohttp.ClientResponse) -> bool:
    """Whether HTTP itself says where the body ends; if not, an end may be a cut."""
    return "Content-Length" in response.headers or response.headers.get("Transfer-Encoding", "").lower() == "chunked"


async def _drain(response: aiohttp.ClientResponse) -> None:
    """Read the end of the body, which comes right behind the last event, so that the connection can be used again."""
    with suppress(TimeoutError):
        async with asyncio.timeout(DRAIN_S):
            await response.content.readany()
