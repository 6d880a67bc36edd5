"""LangChain chat models that do what they are told to, for KB_LLM_LANGCHAIN."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from langchain_core.callbacks import AsyncCallbackManagerForLLMRun
from langchain_core.language_models import BaseChatModel
from langchain_core.messages import AIMessage, AIMessageChunk, BaseMessage
from langchain_core.outputs import ChatGeneration, ChatGenerationChunk, ChatResult
from pydantic import Field

STALL = "stall"
RAISE = "raise"


class ScriptedModel(BaseChatModel):
    """Streams `pieces`; `stall` and `raise` among them are done. `asked` is what came, `left` counts ended calls."""

    model_name: str = "scripted-langchain"
    pieces: Sequence[str] = ("你好，", "world")
    asked: list[Sequence[BaseMessage]] = Field(default_factory=list)
    stops: list[Any] = Field(default_factory=list)
    left: int = 0

    @property
    def _llm_type(self) -> str:
        return "scripted"

    def _generate(self, messages: list[BaseMessage], *rest: Any, **more: Any) -> ChatResult:
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content="".join(self.pieces)))])

    async def _astream(
        self,
        messages: list[BaseMessage],
        stop: list[str] | None = None,
        run_manager: AsyncCallbackManagerForLLMRun | None = None,
        **more: Any,
    ) -> AsyncIterator[ChatGenerationChunk]:
        self.asked.append(messages)
        self.stops.append(stop)
        try:
            for piece in self.pieces:
                if piece == STALL:
                    await asyncio.Event().wait()
                if piece == RAISE:
                    raise ValueError("a document's text that nobody may see")
                yield ChatGenerationChunk(message=AIMessageChunk(content=piece))
            usage = {"input_tokens": 12, "output_tokens": 3, "total_tokens": 15}
            yield ChatGenerationChunk(message=AIMessageChunk(content="", usage_metadata=usage))
        finally:
            self.left += 1


def make_model() -> ScriptedModel:
    return ScriptedModel(pieces=("成人票一百", "六十元[1]。"))


def fail() -> ScriptedModel:
    raise RuntimeError("a key that nobody may see")


NO_MODEL = 3
