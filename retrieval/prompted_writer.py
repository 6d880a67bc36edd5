"""A writer that is told what the knowledge bases asked have to say to the chat model in place of our own words."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import replace
from typing import Protocol

from retrieval.instructions import choose_own
from retrieval.writing import AnswerWriter, WriterEvent, WritingTask


class PromptSource(Protocol):
    """The prompts that knowledge bases have of their own. Blocks; called in a thread."""

    def get_prompt(self, kb_id: str) -> Mapping[str, str]:
        """By language; empty where there is none."""
        ...


class PromptedWriter:
    """An AnswerWriter in front of another one."""

    def __init__(self, writer: AnswerWriter, prompts: PromptSource) -> None:
        self._writer = writer
        self._prompts = prompts

    @property
    def name(self) -> str:
        return self._writer.name

    @property
    def searches(self) -> bool:
        return self._writer.searches

    @property
    def takes_schemas(self) -> bool:
        return self._writer.takes_schemas

    async def write(self, task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
        own = await asyncio.to_thread(self._find_own, task)
        async with aclosing(self._writer.write(replace(task, own=own))) as events:
            async for event in events:
                yield event

    def _find_own(self, task: WritingTask) -> str | None:
        return choose_own([self._prompts.get_prompt(kb_id) for kb_id in dict.fromkeys(task.kb_ids)], task.language)
