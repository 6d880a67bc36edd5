"""The seam: what an answer needs of a chat model."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from retrieval.events import ChatPiece
from retrieval.prompt import ChatMessage
from retrieval.tool_calls import Tool


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatOptions:
    """What a caller may choose; None leaves the choice to the server. `schema` is the JSON Schema of what is to be
    written: a server that knows none does not get it, so that whoever asks checks what comes."""

    max_tokens: int
    temperature: float = 0.0
    top_p: float | None = None
    stop: Sequence[str] = ()
    seed: int | None = None
    tools: Sequence[Tool] = ()
    schema: Mapping[str, Any] | None = None


class ChatModel(Protocol):
    """Writes answers. One object serves all requests of a process."""

    @property
    def name(self) -> str: ...

    def check_room(self) -> None:
        """Raises Unavailable (`too_busy`) when a call that came now would not even find a place to wait in."""
        ...

    def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        """Pieces of text as they come, then the usage where the server tells it. With tools in the options or calls in
        the messages the last piece has the calls that the model makes, none of them in the text. Closing the generator
        ends the call at the server as well.

        Raises Unavailable (`too_busy`, `llm_unavailable`, `llm_key_refused`, `llm_model_unknown`, `llm_timeout`,
        `llm_error`), InvalidInput (`llm_rejected`, `llm_prompt_too_long`).
        """
        ...

    async def find_window(self) -> int | None:
        """Tokens the model reads and writes in all, None where nobody knows. Never raises."""
        ...

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        """Tokens of these messages as the model will read them, its template included; None where the server does not
        count. Never raises."""
        ...


class ServedChatModel(ChatModel, Protocol):
    """One that the application keeps open while it serves, on its loop."""

    async def open(self) -> None: ...

    async def close(self) -> None: ...

    async def check(self) -> None:
        """What can be seen without making it write. Raises Unavailable when it could not answer now."""
        ...
