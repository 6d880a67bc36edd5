"""A ChatModel in memory that answers each call with the next reply, whole or as an error."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence

from fakes.chat_model import ScriptedChatModel

from retrieval.chat.model import ChatOptions
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage


class ReplyingChatModel(ScriptedChatModel):
    """`spent` are the completion tokens that it tells of each call."""

    def __init__(self, *replies: str | Exception, window: int | None = None, spent: int = 5) -> None:
        super().__init__(window=window)
        self.replies = list(replies)
        self.spent = spent

    async def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        self.asked.append((messages, options))
        reply = self.replies[len(self.asked) - 1]
        if isinstance(reply, Exception):
            raise reply
        middle = len(reply) // 2
        yield ChatPiece(text=reply[:middle])
        yield ChatPiece(text=reply[middle:])
        yield ChatPiece(usage=Usage(prompt_tokens=7, completion_tokens=self.spent), finished=True)
