"""From a question to a cited answer: complete it → search → write the prompt within the budget → stream → cite.

Writers do the middle: one asks the chat model, one lets it search on, one quotes. Which one serves is decided where the
server is put together. When a search finds nothing, or nothing that bears on the question by the rule of the knowledge
base, none is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Any, Literal

from kb.errors import InvalidInput
from kb.types import Filter
from retrieval.citations import Citation, PageSource, place_on_pages
from retrieval.events import Usage
from retrieval.follow_up import Rewriter, RuleRewriter
from retrieval.json_answer.validator import ResponseSchema
from retrieval.passages import Passage
from retrieval.prompt import ChatMessage
from retrieval.question import Language, check_question, choose_language
from retrieval.relevance import PassageSource
from retrieval.research import SHARES, Research
from retrieval.search import SearchRequest, SearchResult
from retrieval.sentences import Span
from retrieval.writing import (
    AnswerWriter,
    Draft,
    PassagesEvent,
    StepEvent,
    TokenEvent,
    WriterEvent,
    WritingTask,
)

NOTHING_FOUND: dict[Language, str] = {
    "zh": "知识库中没有找到与这个问题相关的内容。",
    "en": "Nothing in the knowledge base bears on this question.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AskRequest:
    """`max_context_tokens` bounds the passages, `max_tokens` what the chat model writes. With `response_schema`, a JSON
    Schema, the answer is JSON."""

    question: str
    kb_id: str
    also: Sequence[str] = ()  # knowledge bases that are asked with it
    history: Sequence[ChatMessage] = ()
    top_k: int = 8
    max_context_tokens: int = 2_048
    max_tokens: int = 1_024
    temperature: float = 0.0
    language: Literal["auto", "zh", "en"] = "auto"
    only: Filter | None = None
    conversation_id: str | None = None
    keep: bool = False  # begins a conversation when it names none
    agent: bool = False  # the chat model may search on, in `max_rounds` rounds
    max_rounds: int = 3
    response_schema: Mapping[str, Any] | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerLimits:
    question_characters: int = 8_000
    answer_tokens: int = 8_192  # the most a request may ask for
    context_tokens: int = 100_000
    rounds: int = 6


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`citations` are numbered as the `[n]` in `answer`; `query` is what was searched for; `dropped` counts removed
    markers; `data` is the value of an answer in JSON; `cut` is for one that stopped at `max_tokens`."""

    answer: str
    refused: bool
    citations: Sequence[Citation]
    passages: Sequence[Passage]
    query: str
    model: str
    usage: Usage | None
    revision: int
    conversation_id: str | None
    timings_ms: Mapping[str, float]
    degraded: Sequence[str] = ()
    dropped: int = 0
    unsupported: Sequence[Span] = ()
    revisions: Mapping[str, int] = field(default_factory=dict)  # by knowledge base
    steps: Sequence[StepEvent] = ()
    data: Any = None
    only_quotes: bool = False  # of its citations
    cut: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneEvent:
    """Comes last. `answer.answer` replaces the tokens: markers in it are checked and renumbered."""

    answer: Answer


AnswerEvent = StepEvent | PassagesEvent | TokenEvent | DoneEvent


@dataclass(kw_only=True, slots=True)
class _Record:
    """What an answer tells beside its text; times are milliseconds since the request came."""

    began: float = field(default_factory=perf_counter)
    timings: dict[str, float] = field(default_factory=dict)
    steps: list[StepEvent] = field(default_factory=list)
    passages: Sequence[Passage] = ()

    def note(self, name: str) -> None:
        if name not in self.timings:  # asked at every token
            self.timings[name] = round(1000 * (perf_counter() - self.began), 3)

    def keep(self, event: StepEvent | PassagesEvent | TokenEvent) -> None:
        if isinstance(event, TokenEvent):
            self.note("first_token")
        elif isinstance(event, PassagesEvent):
            self.passages = event.passages
        else:
            self.steps.append(event)


async def take_answer(stream: AsyncGenerator[AnswerEvent, None]) -> Answer:
    """What a stream of events ends with; the stream is closed."""
    async with aclosing(stream) as events:
        async for event in events:
            if isinstance(event, DoneEvent):
                return event.answer
    raise AssertionError("a stream of events ends with DoneEvent")


class Answerer:
    """Answers questions. One object serves all requests of a process, on the loop that serves."""

    def __init__(
        self,
        source: PassageSource,
        writer: AnswerWriter,
        limits: AnswerLimits | None = None,
        pages: PageSource | None = None,
        rewriter: Rewriter | None = None,
    ) -> None:
        """Without `pages` a citation says the pages of its whole passage; without a rewriter follow-ups are completed
        by rule."""
        self._source = source
        self._pages = pages
        self._writer = writer
        self._limits = limits or AnswerLimits()
        self._rewriter = rewriter or RuleRewriter()

    async def answer(self, request: AskRequest) -> Answer:
        """The whole answer. Raises what `stream` raises."""
        return await take_answer(self.stream(request))

    async def stream(self, request: AskRequest) -> AsyncGenerator[AnswerEvent, None]:
        """StepEvents, PassagesEvent, TokenEvents, DoneEvent. Close the generator when nobody reads any more: that ends
        the chat model's call.

        Raises InvalidInput (`question_empty`, `question_too_long`, `bad_role`, `bad_top_k`, `bad_max_tokens`,
        `bad_max_context_tokens`, `bad_max_rounds`, `bad_temperature`, `agent_needs_chat_model`, `bad_response_schema`,
        `schema_needs_chat_model`, `llm_rejected`), NotFound (`knowledge_base_not_found`), Unavailable
        (`index_unavailable`, `llm_unavailable`, `llm_timeout`, `llm_error`, `llm_bad_json`).
        """
        record = _Record()
        question = self._check_request(request)
        schema = await self._read_schema(request)
        language = choose_language(question, request.language)
        if request.history:
            question = await self._rewriter.rewrite(question, request.history, [request.kb_id, *request.also])
            record.note("rewrite")
        research = self._plan_research(request, question)
        found = await research.begin()
        record.note("search")
        task = replace(_write_task(request, question, language, found), schema=schema)
        task = replace(task, research=research) if request.agent else task
        writing = refuse(task) if found.refused or not found.passages else self._writer.write(task)
        draft = Draft(text="")
        async with aclosing(writing) as events:
            async for event in events:
                if isinstance(event, Draft):
                    draft = event
                else:
                    record.keep(event)
                    yield event
        if self._pages is not None and draft.citations:
            citations = await asyncio.to_thread(place_on_pages, draft.citations, self._pages)
            draft = replace(draft, citations=citations)
        record.note("total")
        yield DoneEvent(answer=self._sign(draft, research, request, record))

    def _check_request(self, request: AskRequest) -> str:
        limits = self._limits
        _check_range("max_tokens", request.max_tokens, 1, limits.answer_tokens)
        _check_range("max_context_tokens", request.max_context_tokens, 1, limits.context_tokens)
        _check_range("temperature", request.temperature, 0, 2)
        _check_range("max_rounds", request.max_rounds, 1, limits.rounds)
        if request.agent and not self._writer.searches:
            reason = "agent lets the chat model search on, and none is set: set KB_LLM_BASE_URL, or ask without it"
            raise InvalidInput("agent_needs_chat_model", reason)
        for message in request.history:
            if message.role not in ("user", "assistant"):
                raise InvalidInput("bad_role", f"role in history is {message.role!r}, it must be user or assistant")
        return check_question(request.question, limits.question_characters)

    async def _read_schema(self, request: AskRequest) -> ResponseSchema | None:
        if request.response_schema is None:
            return None
        if not self._writer.takes_schemas:
            reason = "response_schema needs a chat model and none is set: set KB_LLM_BASE_URL, or ask without it"
            raise InvalidInput("schema_needs_chat_model", reason)
        return await asyncio.to_thread(ResponseSchema, request.response_schema)

    def _plan_research(self, request: AskRequest, question: str) -> Research:
        rounds = request.max_rounds if request.agent else 0
        search = _write_search(request, question)
        return Research(self._source, search, rounds=rounds, longest=self._limits.question_characters)

    def _sign(self, draft: Draft, research: Research, request: AskRequest, record: _Record) -> Answer:
        found = research.sum_up()
        return Answer(
            answer=draft.text,
            refused=draft.refused,
            citations=tuple(draft.citations),
            passages=tuple(record.passages),
            query=research.question,
            model=self._writer.name,
            usage=draft.usage,
            revision=found.revision,
            conversation_id=request.conversation_id,
            timings_ms=record.timings,
            degraded=tuple(found.degraded),
            dropped=draft.dropped,
            unsupported=tuple(draft.unsupported),
            only_quotes=draft.only_quotes,
            cut=draft.cut,
            revisions=dict(found.revisions),
            steps=tuple(record.steps),
            data=draft.data,
        )


def _check_range(name: str, value: float, least: float, most: float) -> None:
    if not least <= value <= most:  # written so that NaN fails
        raise InvalidInput(f"bad_{name}", f"{name} is {value:g}, it must be between {least:g} and {most:g}")


def _write_search(request: AskRequest, question: str) -> SearchRequest:
    return SearchRequest(
        query=question,
        kb_id=request.kb_id,
        also=request.also,
        top_k=request.top_k,
        max_tokens=max(1, request.max_context_tokens // SHARES) if request.agent else request.max_context_tokens,
        only=request.only,
    )


def _write_task(request: AskRequest, question: str, language: Language, found: SearchResult) -> WritingTask:
    return WritingTask(
        question=question,
        language=language,
        passages=found.passages,
        history=request.history,
        max_context_tokens=request.max_context_tokens,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
        judged=found.refused is not None,
        kb_ids=[request.kb_id, *request.also],
    )


async def refuse(task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
    """As a writer would, without one: nothing that was found bears on the question."""
    sentence = NOTHING_FOUND[task.language]
    yield PassagesEvent(passages=task.passages)
    yield TokenEvent(text=sentence)
    yield Draft(text=sentence, refused=True)
