"""Any LangChain chat model as ours. The only importer of LangChain here; what it raises becomes our errors.

What such a model is asked with beside messages and stop words is its maker's choice: no option is common to all of
them. So the length of an answer is bounded from outside, by the estimate of `kb.tokens`.
"""

from __future__ import annotations

import importlib
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any

from kb.errors import StartRefused, Unavailable
from kb.tokens import estimate_tokens
from retrieval.chat.deadlines import Deadlines
from retrieval.chat.hermes import read_calls, write_as_text
from retrieval.chat.model import ChatOptions
from retrieval.chat.places import Places
from retrieval.chat.server import ChatLimits
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage

if TYPE_CHECKING:  # half a second that nobody else need spend
    from langchain_core.language_models import BaseChatModel
    from langchain_core.messages import BaseMessage, BaseMessageChunk


class LangChainChatModel:
    """`ServedChatModel`. Calls are not repeated: these models have retries of their own."""

    def __init__(self, model: BaseChatModel, *, window: int | None = None, limits: ChatLimits | None = None) -> None:
        self._model = model
        self._window = window
        self._limits = limits or ChatLimits()
        self._places = Places(self._limits)

    @property
    def name(self) -> str:
        """What it calls itself; every maker has another field for that."""
        named = (getattr(self._model, field, None) for field in ("model_name", "model"))
        return next((name for name in named if isinstance(name, str) and name), type(self._model).__name__)

    async def open(self) -> None:
        """There is nothing to open."""

    async def close(self) -> None:
        """It was handed in."""

    async def check(self) -> None:
        """Whether it answers, only a question shows."""

    def check_room(self) -> None:
        self._places.check_room()

    async def find_window(self) -> int | None:
        return self._window

    async def count_tokens(self, messages: Sequence[ChatMessage]) -> int | None:
        """Not by LangChain: where a model cannot count, it fetches a tokenizer of another one."""
        del messages
        return None

    def stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        """Tools are written as text: not every model's maker has them, and one form serves all."""
        if options.tools or any(message.calls for message in messages):
            return read_calls(self._stream(write_as_text(messages, options.tools), options))
        return self._stream(messages, options)

    async def _stream(self, messages: Sequence[ChatMessage], options: ChatOptions) -> AsyncGenerator[ChatPiece, None]:
        written = _write_messages(messages)
        left = float(options.max_tokens)
        async with self._places.take(), aclosing(self._read_chunks(written, options)) as chunks:
            async for chunk in chunks:
                piece = ChatPiece(text=str(chunk.text), usage=_read_usage(chunk))
                left -= estimate_tokens(piece.text)
                yield piece
                if left <= 0:
                    break
        yield ChatPiece(finished=True, cut=left <= 0)

    async def _read_chunks(
        self, messages: Sequence[BaseMessage], options: ChatOptions
    ) -> AsyncGenerator[BaseMessageChunk, None]:
        deadlines = Deadlines(self._limits)
        deadlines.begin_attempt()
        chunks: Any = self._model.astream(list(messages), stop=list(options.stop) or None)
        try:
            while True:
                async with deadlines.next_limit() as limit:
                    chunk = await anext(chunks, None)
                if chunk is None:
                    return
                deadlines.started = deadlines.started or bool(chunk.text)
                yield chunk
        except TimeoutError as error:
            if limit.expired():
                raise deadlines.explain(f"the LangChain chat model {self.name}") from None
            raise self._say_failed(error) from None
        except Exception as error:  # noqa: BLE001  # there is no telling what a stranger's model raises
            raise self._say_failed(error) from None
        finally:
            await chunks.aclose()

    def _say_failed(self, error: Exception) -> Unavailable:
        """Without its words, which may repeat the prompt or name a key."""
        return Unavailable("llm_error", f"the LangChain chat model {self.name} raised {type(error).__name__}")


def load_langchain(named: str) -> BaseChatModel:
    """What `module:name` is, or what it makes when it is called. Raises StartRefused (`bad_setting`)."""
    from langchain_core.language_models import BaseChatModel

    module, _, attribute = named.partition(":")
    try:
        found = getattr(importlib.import_module(module), attribute)
        made = found if isinstance(found, BaseChatModel) else found()
    except Exception as error:  # noqa: BLE001  # likewise; only these two kinds surely hold no key
        words = f": {error}" if isinstance(error, ImportError | AttributeError) else ""
        raise StartRefused("bad_setting", f"KB_LLM_LANGCHAIN: {named} raised {type(error).__name__}{words}") from None
    if not isinstance(made, BaseChatModel):
        raise StartRefused(
            "bad_setting", f"KB_LLM_LANGCHAIN: {named} is a {type(made).__name__}, no LangChain chat model"
        )
    return made


def _write_messages(messages: Sequence[ChatMessage]) -> list[BaseMessage]:
    from langchain_core.messages import AIMessage, HumanMessage, SystemMessage

    kinds = {"system": SystemMessage, "user": HumanMessage, "assistant": AIMessage}
    return [kinds[message.role](content=message.content) for message in messages]


def _read_usage(chunk: BaseMessageChunk) -> Usage | None:
    told = getattr(chunk, "usage_metadata", None)
    if not told:
        return None
    return Usage(prompt_tokens=told["input_tokens"], completion_tokens=told["output_tokens"])
