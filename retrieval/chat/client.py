"""A chat model behind a server of the OpenAI protocol.

An answer is an async generator; closing it closes the connection, which is how a chat server learns that nobody reads
any more. The connection is read only as fast as its answer is taken. Calls are repeated only while no text has come.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import aclosing, asynccontextmanager, suppress
from dataclasses import replace
from typing import Any

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.chat.deadlines import Deadlines
from retrieval.chat.facts import ServerFacts
from retrieval.chat.faults import REPEATED, Repeatable, explain_refusal
from retrieval.chat.hermes import read_calls, write_as_text
from retrieval.chat.model import ChatOptions
from retrieval.chat.places import Places
from retrieval.chat.profiles import write_body
from retrieval.chat.server import ChatServer
from retrieval.chat.session import BrokenOff, ChatSession, NotReached, Reply
from retrieval.events import DONE, ChatPiece, EventReader, parse_json, read_piece
from retrieval.prompt import ChatMessage

log = logging.getLogger(__name__)


class OpenAIChatModel:
    """`ServedChatModel`. `open` before use and `close` after, both on the loop that serves."""

    def __init__(self, server: ChatServer) -> None:
        self.server = server
        self._session = ChatSession(server)
        self.facts = ServerFacts(server, self._session)
        self._places = Places(server.limits)
        self._takes_tools = server.kind.tools

    @property
    def name(self) -> str:
        return self.server.model

    async def open(self) -> None:
        await self._session.open()

    async def close(self) -> None:
        await self._session.close()

    async def check(self) -> None:
        await self.facts.check_model()

    def check_room(self) -> None:
        self._places.check_room()

    async def find_window(self) -> int | None:
        return await self.facts.find_window()

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        return await self.facts.count_tokens(messages)

    async def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        speaking = self._speak_of_tools if options.tools or any(one.calls for one in messages) else self._speak
        async with self._places.take(), aclosing(speaking(messages, options)) as pieces:
            async for piece in pieces:
                yield piece

    def _speak(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        return self._call_patiently(write_body(self.name, self.server.kind, messages, options))

    async def _speak_of_tools(
        self, messages: Sequence[ChatMessage], options: ChatOptions
    ) -> AsyncGenerator[ChatPiece, None]:
        """In the fields of the protocol; in text, from then on, to a server that refuses them and takes the text."""
        if self._takes_tools:
            try:
                async with aclosing(read_calls(self._speak(messages, options))) as pieces:
                    async for piece in pieces:
                        yield piece
            except InvalidInput as error:
                if error.code != "llm_rejected" or not options.tools:
                    raise
            else:
                return
        plain = self._speak(write_as_text(messages, options.tools), replace(options, tools=()))
        async with aclosing(read_calls(plain)) as pieces:
            async for piece in pieces:
                if self._takes_tools:
                    self._takes_tools = False
                    log.warning("llm.tools_as_text host=%s", self.server.host)
                yield piece

    async def _call_patiently(self, body: Mapping[str, Any]) -> AsyncGenerator[ChatPiece, None]:
        limits = self.server.limits
        deadlines = Deadlines(limits)
        for attempt in range(limits.retries + 1):
            deadlines.begin_attempt()
            try:
                async with (
                    self._call(body, deadlines) as reply,
                    aclosing(self._read_pieces(reply, deadlines)) as pieces,
                ):
                    async for piece in pieces:
                        yield piece
                return
            except Repeatable as failure:
                if attempt == limits.retries:
                    raise failure.final from None
                pause_s = limits.pause_s * 2**attempt if failure.pause_s is None else failure.pause_s
            await asyncio.sleep(min(pause_s, limits.longest_pause_s))

    @asynccontextmanager
    async def _call(self, body: Mapping[str, Any], deadlines: Deadlines) -> AsyncIterator[Reply]:
        """One attempt. Whatever ends it, the connection goes back to the pool or, in mid-answer, is closed at once."""
        reply = None
        try:
            async with deadlines.next_limit():
                reply = await self._session.send("POST", f"{self.server.base}/chat/completions", body)
                await self._check_status(reply)
            yield reply
        except NotReached:
            raise Unavailable("llm_unavailable", f"the chat server {self.server.host} cannot be reached") from None
        except TimeoutError:
            raise deadlines.explain(f"the chat server {self.server.host}") from None
        except BrokenOff as fault:
            raise self._say_broken(deadlines, str(fault)) from None
        finally:
            if reply is not None:
                reply.close()

    async def _check_status(self, reply: Reply) -> None:
        if reply.status == 200:
            return
        error = explain_refusal(self.server, reply.status, parse_json(await reply.read_body()))
        if error.code == "llm_prompt_too_long":
            self.facts.forget_window()
        if reply.status in REPEATED:
            raise Repeatable(error, _read_pause(reply.retry_after))
        raise error

    async def _read_pieces(self, reply: Reply, deadlines: Deadlines) -> AsyncGenerator[ChatPiece, None]:
        """What has come together goes on together: one piece a read."""
        reader = EventReader(plain=reply.is_plain)
        finished = False
        with deadlines.watch(reply.give_up):
            while True:
                deadlines.begin_wait()
                try:
                    chunk = await reply.read_some()
                except TimeoutError:
                    if finished:
                        return  # the answer is whole; this server only leaves the line open
                    raise
                deadlines.end_wait()
                piece, is_last, fault = _join_events(reader.feed(chunk, last=not chunk))
                deadlines.started = deadlines.started or bool(piece.text or piece.parts)
                finished = finished or piece.finished
                if piece.text or piece.parts or piece.usage is not None or piece.cut:
                    yield piece
                if fault is not None:
                    raise fault
                if is_last:
                    await reply.drain()
                    return
                if not chunk:
                    break
        if not finished and not (deadlines.started and reply.is_framed):
            raise self._say_broken(deadlines, "the stream ended early")

    def _say_broken(self, deadlines: Deadlines, fault: str) -> KbError | Repeatable:
        final = Unavailable("llm_error", f"the chat server {self.server.host} broke off: {fault}")
        return final if deadlines.started else Repeatable(final)


def _join_events(events: Sequence[bytes]) -> tuple[ChatPiece, bool, KbError | None]:
    """The events of one read as one piece, whether the stream says that it ends with them, and the fault that ends
    them: what came before it is not lost."""
    pieces: list[ChatPiece] = []
    is_last, fault = False, None
    try:
        for data in events:
            if data.strip() == DONE:
                is_last = True
                break
            pieces.append(read_piece(data))
    except KbError as error:
        fault = error
    return pieces[0] if len(pieces) == 1 else _join_pieces(pieces), is_last, fault


def _join_pieces(pieces: Sequence[ChatPiece]) -> ChatPiece:
    return ChatPiece(
        text="".join(piece.text for piece in pieces),
        usage=next((piece.usage for piece in reversed(pieces) if piece.usage is not None), None),
        finished=any(piece.finished for piece in pieces),
        cut=any(piece.cut for piece in pieces),
        parts=[part for piece in pieces for part in piece.parts],
    )


def _read_pause(retry_after: str | None) -> float | None:
    """Seconds that the server asks for; a date, which none of them sends, counts as nothing said."""
    with suppress(ValueError):
        return max(0.0, float(retry_after)) if retry_after is not None else None
    return None
