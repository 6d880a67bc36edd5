"""From a question to a cited answer: complete it → search → write the prompt within the budget → stream → cite.

Two writers do the middle: one asks the chat model, one quotes. Which one serves is decided where the server is put
together. When a search finds nothing, or nothing that bears on the question by the rule of the knowledge base, neither
is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from time import perf_counter
from typing import Literal, Protocol

from kb.errors import InvalidInput
from kb.types import Filter
from retrieval.citations import Citation, PageSource, place_on_pages
from retrieval.events import Usage
from retrieval.follow_up import Rewriter, RuleRewriter
from retrieval.passages import Passage
from retrieval.prompt import ChatMessage
from retrieval.question import Language, check_question, choose_language
from retrieval.search import SearchRequest, SearchResult
from retrieval.sentences import Span

NOTHING_FOUND: dict[Language, str] = {
    "zh": "知识库中没有找到与这个问题相关的内容。",
    "en": "Nothing in the knowledge base bears on this question.",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class AskRequest:
    """`max_context_tokens` bounds the passages, `max_tokens` what the chat model writes."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class WritingTask:
    """What a writer answers from; `passages` come best first, `judged` when a rule has found that they bear on it."""

    question: str
    language: Language
    passages: Sequence[Passage]
    history: Sequence[ChatMessage]
    max_context_tokens: int
    max_tokens: int
    temperature: float
    judged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """What a writer made: the checked text and its citations. `dropped` counts markers that named no passage,
    `unsupported` are the places in `text` of the sentences that no cited passage bears out."""

    text: str
    refused: bool = False
    citations: Sequence[Citation] = ()
    dropped: int = 0
    unsupported: Sequence[Span] = ()
    usage: Usage | None = None


class AnswerWriter(Protocol):
    """Writes an answer from passages."""

    @property
    def name(self) -> str:
        """The `model` of the answer."""
        ...

    async def choose_passages(self, task: WritingTask) -> Sequence[Passage]:
        """Those of the task's passages that the answer will be written from.

        Raises InvalidInput (`bad_role`, `question_too_long`).
        """
        ...

    def write(self, task: WritingTask) -> AsyncGenerator[str | Draft, None]:
        """Stretches of text as they come and, last, one Draft. Closing the generator stops the writing at once.

        `task.passages` is what `choose_passages` gave. Raises what the chat model raises.
        """
        ...


class PassageSource(Protocol):
    """A search, or several of them as one. Blocks; called in a thread."""

    def search(self, request: SearchRequest) -> SearchResult: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class AnswerLimits:
    question_characters: int = 8_000
    answer_tokens: int = 8_192  # the most a request may ask for
    context_tokens: int = 100_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """`citations` are numbered as the `[n]` in `answer`; `query` is what was searched for; `dropped` counts removed
    markers."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class PassagesEvent:
    """Comes once, before the first token: what the answer will be written from, best first."""

    passages: Sequence[Passage]


@dataclass(frozen=True, kw_only=True, slots=True)
class TokenEvent:
    text: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DoneEvent:
    """Comes last. `answer.answer` replaces the tokens: markers in it are checked and renumbered."""

    answer: Answer


AnswerEvent = PassagesEvent | TokenEvent | DoneEvent


@dataclass(kw_only=True, slots=True)
class _Clock:
    """Milliseconds since the request came, by step."""

    began: float = field(default_factory=perf_counter)
    timings: dict[str, float] = field(default_factory=dict)

    def note(self, name: str) -> None:
        self.timings.setdefault(name, round(1000 * (perf_counter() - self.began), 3))


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
        """PassagesEvent, TokenEvents, DoneEvent. Close the generator when nobody reads any more: that ends the chat
        model's call.

        Raises InvalidInput (`question_empty`, `question_too_long`, `bad_role`, `bad_top_k`, `bad_max_tokens`,
        `bad_max_context_tokens`, `bad_temperature`, `llm_rejected`), NotFound (`knowledge_base_not_found`), Unavailable
        (`index_unavailable`, `llm_unavailable`, `llm_timeout`, `llm_error`).
        """
        clock = _Clock()
        question = self._check_request(request)
        language = choose_language(question, request.language)
        if request.history:
            question = await self._rewriter.rewrite(question, request.history, [request.kb_id, *request.also])
            clock.note("rewrite")
        search = _write_search(request, question)
        found = await asyncio.to_thread(self._source.search, search)
        clock.note("search")
        task = _write_task(request, question, language, found.passages)
        if found.passages and not found.refused:
            task = replace(task, judged=found.refused is not None)
            task = replace(task, passages=await self._writer.choose_passages(task))
        yield PassagesEvent(passages=task.passages)
        draft = Draft(text=NOTHING_FOUND[task.language], refused=True)
        if task.passages and not found.refused:
            async with aclosing(self._writer.write(task)) as pieces:
                async for piece in pieces:
                    if isinstance(piece, Draft):
                        draft = piece
                    else:
                        clock.note("first_token")
                        yield TokenEvent(text=piece)
        else:
            yield TokenEvent(text=draft.text)
        if self._pages is not None and draft.citations:
            citations = await asyncio.to_thread(place_on_pages, draft.citations, self._pages)
            draft = replace(draft, citations=citations)
        clock.note("total")
        yield DoneEvent(answer=self._sign(draft, task, found, request, clock))

    def _check_request(self, request: AskRequest) -> str:
        limits = self._limits
        _check_range("max_tokens", request.max_tokens, 1, limits.answer_tokens)
        _check_range("max_context_tokens", request.max_context_tokens, 1, limits.context_tokens)
        _check_range("temperature", request.temperature, 0, 2)
        for message in request.history:
            if message.role not in ("user", "assistant"):
                raise InvalidInput("bad_role", f"role in history is {message.role!r}, it must be user or assistant")
        return check_question(request.question, limits.question_characters)

    def _sign(self, draft: Draft, task: WritingTask, found: SearchResult, request: AskRequest, clock: _Clock) -> Answer:
        return Answer(
            answer=draft.text,
            refused=draft.refused,
            citations=tuple(draft.citations),
            passages=tuple(task.passages),
            query=task.question,
            model=self._writer.name,
            usage=draft.usage,
            revision=found.revision,
            conversation_id=request.conversation_id,
            timings_ms=clock.timings,
            degraded=tuple(found.degraded),
            dropped=draft.dropped,
            unsupported=tuple(draft.unsupported),
            revisions=dict(found.revisions),
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
        max_tokens=request.max_context_tokens,
        only=request.only,
    )


def _write_task(request: AskRequest, question: str, language: Language, passages: Sequence[Passage]) -> WritingTask:
    return WritingTask(
        question=question,
        language=language,
        passages=passages,
        history=request.history,
        max_context_tokens=request.max_context_tokens,
        max_tokens=request.max_tokens,
        temperature=request.temperature,
    )
