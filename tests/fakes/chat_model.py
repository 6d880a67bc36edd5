"""A ChatModel in memory: answers with what it was told to, and remembers what it was asked."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from retrieval.chat import ChatOptions
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage


class ScriptedChatModel:
    """Yields `pieces` one by one, then the usage; an exception among them is raised there. `endless` repeats them."""

    def __init__(self, *pieces: str | Exception, window: int | None = None, endless: bool = False) -> None:
        self.name = "scripted"
        self.pieces = pieces
        self.window = window
        self.endless = endless
        self.asked: list[tuple[Sequence[ChatMessage], ChatOptions]] = []
        self.given = 0
        self.closed = 0

    async def find_window(self) -> int | None:
        return self.window

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
