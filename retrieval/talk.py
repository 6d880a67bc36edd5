"""What an agent and its model have said so far: the rounds, the passages shown, and the room that is left for more."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import inf

from kb.errors import InvalidInput, Unavailable
from kb.tokens import estimate_tokens
from retrieval.chat.model import ChatModel
from retrieval.chat_writer import FITTINGS
from retrieval.events import ChatPiece, Usage
from retrieval.passages import Passage
from retrieval.prompt import (
    MESSAGE_TOKENS,
    SPENT,
    Budget,
    ChatMessage,
    Prompt,
    bound_prompt,
    estimate_prompt,
    fit_passages,
)
from retrieval.research import Research
from retrieval.search_tool import BadCall, read_query, sort_out, write_reply, write_result
from retrieval.tool_calls import ToolCall
from retrieval.writing import MOST_CHARACTERS, PassagesEvent, TokenEvent, WriterEvent, WritingTask

HELD = 200  # characters: longer text is the answer, whatever comes behind it
LEAST_ROOM = 64  # tokens: with less left for passages there is nothing to search for


@dataclass(kw_only=True, slots=True)
class Round:
    """One call of the model. `held` is text of which nobody knows yet what it is; `text` is the answer's. Where
    `holds`, all of it is held. `cut` is for one that stopped at `max_tokens`."""

    number: int
    offers: bool
    holds: bool = False
    text: str = ""
    held: str = ""
    calls: Sequence[ToolCall] = ()
    usage: Usage | None = None
    cut: bool = False

    def take(self, piece: ChatPiece) -> str:
        """What of the answer may be shown now."""
        self.usage = piece.usage or self.usage
        self.calls = piece.calls or self.calls
        self.cut = self.cut or piece.cut
        if self.offers and not self.text:
            self.held += piece.text
            return self.release() if len(self.held.strip()) >= HELD and not self.holds else ""
        return self._show(piece.text)

    def release(self) -> str:
        """What was held is the answer."""
        held, self.held = self.held, ""
        return self._show(held)

    @property
    def calls_on(self) -> bool:
        """The model wants to search, and has not begun to answer."""
        return self.offers and bool(self.calls) and not self.text

    @property
    def is_full(self) -> bool:
        return len(self.text) + len(self.held) >= MOST_CHARACTERS

    def _show(self, text: str) -> str:
        text = text[: MOST_CHARACTERS - len(self.text)]
        self.text += text
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class Result:
    """What came of a call; `content` goes back to the model."""

    query: str
    content: str
    found: int = 0
    error: str | None = None


@dataclass(kw_only=True, slots=True)
class Talk:
    """`passages[0]` is the model's [1]. `budget` is that of the whole talk."""

    model: ChatModel
    task: WritingTask
    research: Research
    budget: Budget
    messages: list[ChatMessage]
    passages: list[Passage]
    usage: Usage | None = None
    _asked: set[str] = field(init=False)
    _told: bool = False

    def __post_init__(self) -> None:
        self._asked = {fold_query(self.task.question)}

    def tell(self, text: str) -> Sequence[WriterEvent]:
        """The events that show a stretch of the answer; the first one tells the passages before it."""
        if not text:
            return ()
        told, self._told = self._told, True
        token = TokenEvent(text=text)
        return [token] if told else [PassagesEvent(passages=tuple(self.passages)), token]

    @property
    def is_full(self) -> bool:
        return min(self._find_context(), self._find_room()) < LEAST_ROOM

    async def make_call(self, call: ToolCall) -> Result:
        """Search, and add what is new to the passages. Whatever is wrong with a call, the model is told and may do
        better; raises NotFound when a knowledge base is gone."""
        query, language = "", self.task.language
        try:
            query = read_query(call)
            if fold_query(query) in self._asked:
                raise BadCall("repeated_query")
            found = await self.research.search(query)
        except (BadCall, InvalidInput, Unavailable) as fault:
            return Result(query=query, content=write_reply(fault.code, language), error=fault.code)
        self._asked.add(fold_query(query))
        new, seen = sort_out(found, self.passages)
        shown, content = await self._fit_result(new, seen)
        self.passages += shown
        error = "no_room" if new and not shown else None
        return Result(query=query, content=content, found=len(shown), error=error)

    async def _fit_result(self, new: Sequence[Passage], seen: Sequence[int]) -> tuple[Sequence[Passage], str]:
        """As many of the new passages as there is room for, and what the model is told of them."""
        context, room, language = max(0, int(self._find_context())), self._find_room(), self.task.language
        for _ in range(FITTINGS):
            shown = await asyncio.to_thread(fit_passages, new, context, room, language)
            if new and not shown:
                break
            content = write_result(shown, len(self.passages) + 1, seen, language)
            if await self._fits(content):
                return shown, content
            room = min(room, estimate_tokens(content)) / 2
        return (), write_reply("no_room", language)

    async def _fits(self, content: str) -> bool:
        """Whether all fits the window with this behind it: beyond doubt, or by the server's count."""
        if self.budget.window is None:
            return True
        messages = [*self.messages, ChatMessage(role="tool", content=content, call_id="call00000")]
        most = self.budget.window - self.budget.answer
        if bound_prompt(Prompt(messages=messages, passages=())) <= most:
            return True
        count = await self.model.count_tokens(messages)
        return count is None or count <= most

    def _find_context(self) -> float:
        """Tokens of `max_context_tokens` that are left."""
        return self.task.max_context_tokens - sum(estimate_tokens(passage.text) for passage in self.passages)

    def _find_room(self) -> float:
        """Tokens of the window that are left."""
        if self.budget.window is None:
            return inf
        spent = estimate_prompt(Prompt(messages=self.messages, passages=()))
        return SPENT * self.budget.window - self.budget.answer - spent - MESSAGE_TOKENS


def fold_query(query: str) -> str:
    """Queries that differ in this alone are the same one."""
    return " ".join(query.casefold().split()).strip(" ?？。.!！")
