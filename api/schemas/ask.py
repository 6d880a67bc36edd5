"""Questions and cited answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import orjson
from pydantic import Field

from api.schemas.search import (
    DocumentName,
    KnowledgeBaseName,
    KnowledgeBaseNames,
    Names,
    PassageAnswer,
    SearchFilter,
    read_filter,
    show_passage,
)
from api.schemas.text import Language, RequestBody
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from retrieval.answer import Answer, AskRequest
from retrieval.citations import Citation
from retrieval.events import Usage
from retrieval.prompt import ChatMessage
from retrieval.research import SHARES
from retrieval.search import TOP_K_LIMIT
from retrieval.writing import StepEvent

MOST_TURNS = 2_000  # messages; the answer is written from the newest of them
LONGEST_ID = 64


class Turn(RequestBody):
    role: Literal["user", "assistant"]
    content: str


class AskBody(RequestBody):
    """The bounds of `max_context_tokens`, `max_tokens`, `max_rounds` and `temperature` are the answerer's.

    Without `conversation_id` and `history` a question begins a conversation; with `history`, were it empty, the caller
    keeps it. `response_schema` is the JSON Schema of an answer that is to be JSON.
    """

    question: str
    history: list[Turn] = Field(default_factory=list, max_length=MOST_TURNS)
    conversation_id: str | None = Field(None, max_length=LONGEST_ID)
    stream: bool = False
    top_k: int = Field(8, ge=1, le=TOP_K_LIMIT)
    max_context_tokens: int = 2_048
    max_tokens: int = 1_024
    temperature: float = 0.0
    language: Language = "auto"
    filter: SearchFilter | None = None
    agent: bool = False
    max_rounds: int = 3
    response_schema: dict[str, Any] | None = None


class JointAskBody(AskBody):
    """A question to several knowledge bases, by name or id; one that is named twice is asked once."""

    knowledge_bases: KnowledgeBaseNames


@dataclass(frozen=True, kw_only=True, slots=True)
class CitationAnswer:
    """`quote` is the characters `[start, end)` of that version's extracted text."""

    number: int
    document: DocumentName
    version: int
    page_start: int
    page_end: int
    start: int
    end: int
    quote: str
    knowledge_base: KnowledgeBaseName


@dataclass(frozen=True, kw_only=True, slots=True)
class UsageAnswer:
    prompt_tokens: int
    completion_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Unsupported:
    """The characters `[start, end)` of the answer: a sentence that no cited passage bears out."""

    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class StepAnswer:
    """One call of a tool by the chat model: `found` passages came of it that it had not been shown."""

    round: int
    tool: str
    query: str
    found: int
    error: str | None
    took_ms: float


@dataclass(frozen=True, kw_only=True, slots=True)
class AskAnswer:
    """`unsupported_count` of the answer's sentences no cited passage bears out, as far as words tell. `data` is the
    value of an answer to a `response_schema`, whose text `answer` is. `cut_off`: it stopped at `max_tokens`."""

    answer: str
    refused: bool
    citations: Sequence[CitationAnswer]
    passages: Sequence[PassageAnswer]
    query: str
    model: str
    usage: UsageAnswer | None
    revision: int
    revisions: Mapping[str, int]
    conversation_id: str | None
    timings_ms: Mapping[str, float]
    degraded: Sequence[str]
    dropped: int
    unsupported: Sequence[Unsupported]
    unsupported_count: int
    steps: Sequence[StepAnswer]
    data: Any
    cut_off: bool


def read_question(body: AskBody, found: Sequence[KnowledgeBaseKey]) -> AskRequest:
    """The question as the answerer takes it. Raises InvalidInput (`metadata_too_large`)."""
    return AskRequest(
        question=body.question,
        kb_id=found[0].id,
        also=[one.id for one in found[1:]],
        history=[ChatMessage(role=turn.role, content=turn.content) for turn in body.history],
        top_k=body.top_k,
        max_context_tokens=choose_context(body),
        max_tokens=body.max_tokens,
        temperature=body.temperature,
        language=body.language,
        only=read_filter(body.filter),
        conversation_id=body.conversation_id,
        keep="history" not in body.model_fields_set,
        agent=body.agent,
        max_rounds=body.max_rounds,
        response_schema=body.response_schema,
    )


def choose_context(body: AskBody) -> int:
    """What is asked for; else, where the model may search on, as much again for what it finds."""
    chosen = body.agent and "max_context_tokens" not in body.model_fields_set
    return SHARES * body.max_context_tokens if chosen else body.max_context_tokens


def show_answer(found: Answer, names: Names) -> AskAnswer:
    usage = found.usage
    return AskAnswer(
        answer=found.answer,
        refused=found.refused,
        citations=[_show_citation(citation, names) for citation in found.citations],
        passages=[show_passage(passage, names) for passage in found.passages],
        query=found.query,
        model=found.model,
        usage=None if usage is None else _show_usage(usage),
        revision=found.revision,
        revisions=found.revisions,
        conversation_id=found.conversation_id,
        timings_ms=found.timings_ms,
        degraded=found.degraded,
        dropped=found.dropped,
        unsupported=[Unsupported(start=span.start, end=span.end) for span in found.unsupported],
        unsupported_count=len(found.unsupported),
        steps=[show_step(step) for step in found.steps],
        data=None if found.data is None else orjson.Fragment(found.answer),  # it may hold what orjson cannot write
        cut_off=found.cut,
    )


def show_step(done: StepEvent) -> StepAnswer:
    return StepAnswer(
        round=done.round, tool=done.tool, query=done.query, found=done.found, error=done.error, took_ms=done.took_ms
    )


def _show_usage(usage: Usage) -> UsageAnswer:
    return UsageAnswer(prompt_tokens=usage.prompt_tokens, completion_tokens=usage.completion_tokens)


def _show_citation(found: Citation, names: Names) -> CitationAnswer:
    return CitationAnswer(
        number=found.number,
        document=DocumentName(id=found.document_id, path=found.path, title=found.title),
        version=found.version,
        page_start=found.page_start,
        page_end=found.page_end,
        start=found.start,
        end=found.end,
        quote=found.quote,
        knowledge_base=names[found.kb_id],
    )
