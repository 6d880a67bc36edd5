"""A ChatModel in memory: answers with what it was told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from kb.errors import Unavailable
from retrieval.chat.model import ChatOptions
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage


class ScriptedChatModel:
    """Yields `pieces` one by one, then the usage; an exception among them is raised there. `endless` repeats them.
    `tokens` is what a character costs, where it counts; `counted` how often it did; `full` turns callers away."""

    def __init__(
        self, *pieces: str | Exception, window: int | None = None, endless: bool = False, tokens: float | None = None
    ) -> None:
        self.name = "scripted"
        self.pieces = pieces
        self.window = window
        self.endless = endless
        self.asked: list[tuple[Sequence[ChatMessage], ChatOptions]] = []
        self.given = 0
        self.closed = 0
        self.tokens = tokens
        self.counted = 0
        self.full = False

    def check_room(self) -> None:
        if self.full:
            raise Unavailable("too_busy", "every place is taken")

    async def find_window(self) -> int | None:
        return self.window

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        self.counted += 1
        if self.tokens is None:
            return None
        return round(self.tokens * sum(len(message.content) for message in messages))

    async def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        self.asked.append((messages, options))
        try:
            while True:
                for piece in self.pieces:
                    if isinstance(piece, Exception):
                        raise piece
                    self.given += 1
                    yield ChatPiece(text=piece)
                if not self.endless:
                    break
            yield ChatPiece(usage=Usage(prompt_tokens=7, completion_tokens=len(self.pieces)), finished=True)
        finally:
            self.closed += 1
