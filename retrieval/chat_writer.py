"""The writer that asks the chat model: write the prompt within the budget → stream → cite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from kb.errors import Unavailable
from retrieval.answer import Draft, WritingTask
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.citations import resolve_citations, strip_markers
from retrieval.claims import find_unsupported
from retrieval.passages import Passage
from retrieval.prompt import MISSING, Budget, Prompt, bound_prompt, estimate_prompt, write_prompt

MOST_CHARACTERS = 40_000  # of one answer: against a model that does not stop
FITTINGS = 4  # times that a prompt which is counted too long is written shorter
SPARE = 0.97


class ChatWriter:
    """An AnswerWriter over a chat model."""

    def __init__(self, model: ChatModel, most_characters: int = MOST_CHARACTERS) -> None:
        self._model = model
        self._most_characters = most_characters

    @property
    def name(self) -> str:
        return self._model.name

    async def choose_passages(self, task: WritingTask) -> Sequence[Passage]:
        self._model.check_room()  # before anything is sent, so that the answer can still be a 429
        return (await self._write_prompt(task)).passages

    async def write(self, task: WritingTask) -> AsyncGenerator[str | Draft, None]:
        prompt = await self._write_prompt(task)
        most = _bound_answer(task, await self._model.find_window())
        options = ChatOptions(max_tokens=most, temperature=task.temperature)
        pieces: list[str] = []
        left, usage = self._most_characters, None
        async with aclosing(self._model.stream(prompt.messages, options)) as stream:
            async for piece in stream:
                usage = piece.usage or usage
                text = piece.text[:left]
                if text:
                    pieces.append(text)
                    left -= len(text)
                    yield text
                if left == 0:
                    break
        cited = await asyncio.to_thread(resolve_citations, "".join(pieces), prompt.passages, task.question)
        if not cited.text:
            raise Unavailable("llm_error", f"the chat model {self.name} ended its answer without any text")
        refused = _tells_missing(cited.text, task)
        unsupported = [] if refused else await asyncio.to_thread(find_unsupported, cited.text, cited.passages)
        yield Draft(
            text=cited.text,
            refused=refused,
            citations=cited.citations,
            dropped=cited.dropped,
            unsupported=unsupported,
            usage=usage,
        )

    async def _write_prompt(self, task: WritingTask) -> Prompt:
        """Fitted by the estimate first; where that leaves a doubt and the server counts, by the server's count."""
        window = await self._model.find_window()
        answer = _bound_answer(task, window)
        budget = Budget(passages=task.max_context_tokens, answer=answer, window=window)
        prompt = await self._fit_prompt(task, budget)
        if window is None:
            return prompt
        for _ in range(FITTINGS):
            if bound_prompt(prompt) + answer <= window:  # beyond doubt, and a round trip is spared
                break
            count = await self._model.count_tokens(prompt.messages)
            if count is None or count + answer <= window:
                break
            budget = replace(budget, prompt=SPARE * estimate_prompt(prompt) * (window - answer) / count)
            prompt = await self._fit_prompt(task, budget)
        return prompt

    async def _fit_prompt(self, task: WritingTask, budget: Budget) -> Prompt:
        return await asyncio.to_thread(write_prompt, task.question, task.passages, task.history, task.language, budget)


def _bound_answer(task: WritingTask, window: int | None) -> int:
    """Tokens left for the answer: never more than a third of the window, or there is none for what it is about."""
    return task.max_tokens if window is None else max(1, min(task.max_tokens, window // 3))


def _tells_missing(text: str, task: WritingTask) -> bool:
    """Whether the model used the sentence that it was told to use when the passages do not hold the answer."""
    return strip_markers(text).strip(" \n。.") == MISSING[task.language].strip("。.")
