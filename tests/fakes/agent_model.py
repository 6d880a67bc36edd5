"""A ChatModel in memory that calls tools as it was told to, and a search that finds by query."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping, Sequence

from fakes.chat_model import ScriptedChatModel

from kb.errors import KbError
from retrieval.chat.model import ChatOptions
from retrieval.events import ChatPiece, Usage
from retrieval.passages import Passage
from retrieval.prompt import ChatMessage
from retrieval.search import SearchRequest, SearchResult
from retrieval.tool_calls import ToolCall

Written = str | ToolCall | Exception


def call_search(query: object, name: str = "search") -> ToolCall:
    return ToolCall(name=name, arguments=json.dumps({"query": query}, ensure_ascii=False))


class CallingChatModel(ScriptedChatModel):
    """Answers its n-th call with `rounds[n]`, the last one again and again: text piece by piece, then the calls.
    `tokens` is what a figure costs where it counts; any other character costs a quarter. What it writes is as long as
    `max_tokens` where it `cuts`."""

    def __init__(
        self, *rounds: Sequence[Written], window: int | None = None, tokens: float | None = None, cuts: bool = False
    ) -> None:
        super().__init__(window=window, tokens=tokens)
        self.rounds = rounds
        self.cuts = cuts

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        self.counted += 1
        return None if self.tokens is None else round(sum(self.count_message(message) for message in messages))

    def count_message(self, message: ChatMessage) -> float:
        written = message.content + "".join(call.name + call.arguments for call in message.calls)
        figures = sum(character.isdigit() for character in written)
        return figures * (self.tokens or 0) + (len(written) - figures) / 4

    async def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        written = self.rounds[min(len(self.asked), len(self.rounds) - 1)]
        self.asked.append((list(messages), options))
        try:
            for piece in written:
                if isinstance(piece, Exception):
                    raise piece
                if isinstance(piece, str):
                    self.given += 1
                    yield ChatPiece(text=piece)
            calls = [piece for piece in written if isinstance(piece, ToolCall)]
            yield ChatPiece(usage=Usage(prompt_tokens=7, completion_tokens=len(written)), finished=True, cut=self.cuts)
            if options.tools or any(message.calls for message in messages):
                yield ChatPiece(calls=calls)
        finally:
            self.closed += 1

    def read_results(self, at: int) -> list[str]:
        """What the tool had answered when the model was asked for the `at`-th time."""
        return [message.content for message in self.asked[at][0] if message.role == "tool"]


class QuerySource:
    """A PassageSource that finds what it was told to for each query; nothing for others. An error is raised."""

    def __init__(self, found: Mapping[str, Sequence[Passage] | KbError], refused: Sequence[str] = ()) -> None:
        self.found = found
        self.refused = refused
        self.asked: list[SearchRequest] = []

    def search(self, request: SearchRequest) -> SearchResult:
        self.asked.append(request)
        found = self.found.get(request.query, ())
        if isinstance(found, KbError):
            raise found
        return SearchResult(
            passages=found,
            revision=10 + len(self.asked),
            revisions={"kb1": 10 + len(self.asked)},
            degraded=("dense",) if len(self.asked) == 2 else (),
            timings_ms={"total": 1.0},
            refused=request.query in self.refused if self.refused else None,
        )
