"""The writer that asks the chat model: write the prompt within the budget → stream → cite."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace

from kb.errors import Unavailable
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.citations import resolve_citations, strip_markers
from retrieval.claims import find_unsupported
from retrieval.events import Usage
from retrieval.instructions import MISSING, Wording, word_answer, word_json
from retrieval.json_writer import JsonTask, write_json
from retrieval.passages import Passage
from retrieval.prompt import Budget, Prompt, bound_prompt, estimate_prompt, neutralise, write_prompt
from retrieval.writing import MOST_CHARACTERS, Draft, PassagesEvent, TokenEvent, WriterEvent, WritingTask

FITTINGS = 4  # times that a prompt which is counted too long is written shorter
SPARE = 0.97


class ChatWriter:
    """An AnswerWriter over a chat model."""

    searches = False
    takes_schemas = True

    def __init__(self, model: ChatModel, most_characters: int = MOST_CHARACTERS) -> None:
        self._model = model
        self._most_characters = most_characters

    @property
    def name(self) -> str:
        return self._model.name

    async def write(self, task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
        self._model.check_room()  # before anything is sent, so that the answer can still be a 429
        budget = plan_budget(task, await self._model.find_window())
        prompt = await fit_prompt(self._model, task, budget)
        yield PassagesEvent(passages=prompt.passages)
        options = ChatOptions(max_tokens=budget.answer, temperature=task.temperature)
        if task.schema is None:
            writing = self._write_text(task, prompt, options)
        else:
            asked = JsonTask(task=task, schema=task.schema, prompt=prompt, options=options, window=budget.window)
            writing = write_json(self._model, asked)
        async with aclosing(writing) as events:
            async for event in events:
                yield event

    async def _write_text(
        self, task: WritingTask, prompt: Prompt, options: ChatOptions
    ) -> AsyncGenerator[WriterEvent, None]:
        pieces: list[str] = []
        left, usage, cut = self._most_characters, None, False
        async with aclosing(self._model.stream(prompt.messages, options)) as stream:
            async for piece in stream:
                usage, cut = piece.usage or usage, cut or piece.cut
                text = piece.text[:left]
                if text:
                    pieces.append(text)
                    left -= len(text)
                    yield TokenEvent(text=text)
                if left == 0:
                    break
        draft = await cite_answer("".join(pieces), prompt.passages, task, usage)
        if not draft.text:
            raise say_empty(self._model)
        yield replace(draft, cut=cut or left == 0)


def plan_budget(task: WritingTask, window: int | None) -> Budget:
    """For the answer never more than a third of the window, or there is none for what it is about."""
    answer = task.max_tokens if window is None else max(1, min(task.max_tokens, window // 3))
    return Budget(passages=task.max_context_tokens, answer=answer, window=window)


async def fit_prompt(model: ChatModel, task: WritingTask, budget: Budget) -> Prompt:
    """Fitted by the estimate first; where that leaves a doubt and the server counts, by the server's count."""
    prompt = await _write_prompt(task, budget)
    if budget.window is None:
        return prompt
    for _ in range(FITTINGS):
        if bound_prompt(prompt) + budget.answer <= budget.window:  # beyond doubt, and a round trip is spared
            break
        count = await model.count_tokens(prompt.messages)
        if count is None or count + budget.answer <= budget.window:
            break
        shorter = SPARE * estimate_prompt(prompt) * (budget.window - budget.answer) / count
        prompt = await _write_prompt(task, replace(budget, prompt=shorter))
    return prompt


async def _write_prompt(task: WritingTask, budget: Budget) -> Prompt:
    wording = word_task(task)
    try:
        return await asyncio.to_thread(write_prompt, task.question, task.passages, task.history, wording, budget)
    except Unavailable as error:
        if error.code == "llm_window_too_small" and task.schema is not None:
            task.schema.check_size(budget.window)
        raise


def word_task(task: WritingTask) -> Wording:
    if task.schema is None:
        return word_answer(task.language, task.own)
    return word_json(task.language, neutralise(task.schema.text), task.own)


async def cite_answer(text: str, passages: Sequence[Passage], task: WritingTask, usage: Usage | None) -> Draft:
    """What a model wrote, checked; without text where nothing is left of it."""
    cited = await asyncio.to_thread(resolve_citations, text, passages, task.question)
    refused = _tells_missing(cited.text, task)
    unsupported = [] if refused else await asyncio.to_thread(find_unsupported, cited.text, cited.passages)
    return Draft(
        text=cited.text,
        refused=refused,
        citations=cited.citations,
        dropped=cited.dropped,
        unsupported=unsupported,
        usage=usage,
    )


def say_empty(model: ChatModel) -> Unavailable:
    return Unavailable("llm_error", f"the chat model {model.name} ended its answer without any text")


def _tells_missing(text: str, task: WritingTask) -> bool:
    """Whether the model used the sentence that it was told to use when the passages do not hold the answer."""
    return strip_markers(text).strip(" \n。.") == MISSING[task.language].strip("。.")
