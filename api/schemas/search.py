"""Searches and passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import Field

from api.schemas.text import PathPrefix, RequestBody, check_metadata
from kb.catalog.knowledge_bases import KnowledgeBaseKey
from kb.types import Filter
from retrieval.passages import Passage
from retrieval.relevance import Relevance
from retrieval.search import TOP_K_LIMIT, SearchRequest, SearchResult

MOST_TOKENS = 100_000
MOST_KNOWLEDGE_BASES = 16  # in one question: each is searched in turn

KnowledgeBaseNames = Annotated[list[str], Field(min_length=1, max_length=MOST_KNOWLEDGE_BASES)]


class SearchFilter(RequestBody):
    path_prefix: PathPrefix | None = Field(None, max_length=1024)
    language: str | None = Field(None, max_length=16)
    metadata: dict[str, Any] = Field(default_factory=dict)


class SearchBody(RequestBody):
    query: str
    top_k: int = Field(8, ge=1, le=TOP_K_LIMIT)
    mode: Literal["hybrid", "dense", "lexical"] = "hybrid"
    rerank: bool | None = None
    merge: bool = True
    max_tokens: int = Field(2048, ge=1, le=MOST_TOKENS)
    relevance: bool = False
    filter: SearchFilter | None = None


class JointSearchBody(SearchBody):
    """A search of several knowledge bases, by name or id; one that is named twice is asked once."""

    knowledge_bases: KnowledgeBaseNames


@dataclass(frozen=True, kw_only=True, slots=True)
class PassageScores:
    dense: float | None
    lexical: float | None
    fused: float | None
    rerank: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentName:
    id: str
    path: str
    title: str | None


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBaseName:
    id: str
    name: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DuplicateAnswer:
    """Another document that holds the same text."""

    id: str
    path: str
    title: str | None
    knowledge_base: KnowledgeBaseName


@dataclass(frozen=True, kw_only=True, slots=True)
class PassageAnswer:
    """`text` is exactly the characters `[start, end)` of the document's extracted text of that `version`. `date` is the
    document's own, of its metadata; `added_at` is when that version came in."""

    text: str
    score: float
    scores: PassageScores
    document: DocumentName
    version: int
    chunk_ids: Sequence[int]
    page_start: int
    page_end: int
    start: int
    end: int
    heading: str | None
    knowledge_base: KnowledgeBaseName
    date: str | None
    added_at: datetime
    duplicates: Sequence[DuplicateAnswer]


@dataclass(frozen=True, kw_only=True, slots=True)
class RelevanceAnswer:
    """How much the passages together bear on the query, 0 to 1, and by what: what a rule of refusal is held against."""

    value: float
    measure: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    """Of several knowledge bases `revision` is the highest; `revisions` has that of each, by id. `relevance` is null
    unless it was asked for and something was found."""

    passages: Sequence[PassageAnswer]
    revision: int
    revisions: Mapping[str, int]
    degraded: Sequence[str]
    timings_ms: Mapping[str, float]
    relevance: RelevanceAnswer | None


Names = Mapping[str, KnowledgeBaseName]  # by id


def read_filter(body: SearchFilter | None) -> Filter | None:
    """Raises InvalidInput (`metadata_too_large`)."""
    if body is None:
        return None
    check_metadata(body.metadata)
    return Filter(path_prefix=body.path_prefix or None, language=body.language or None, metadata=body.metadata)


def read_request(body: SearchBody, kb_ids: Sequence[str], query: str) -> SearchRequest:
    """`query` is the body's, checked. Raises InvalidInput (`metadata_too_large`)."""
    return SearchRequest(
        query=query,
        kb_id=kb_ids[0],
        also=kb_ids[1:],
        top_k=body.top_k,
        mode=body.mode,
        rerank=body.rerank,
        merge=body.merge,
        max_tokens=body.max_tokens,
        only=read_filter(body.filter),
    )


def name_all(found: Sequence[KnowledgeBaseKey]) -> Names:
    return {one.id: KnowledgeBaseName(id=one.id, name=one.name) for one in found}


def show_passage(found: Passage, names: Names) -> PassageAnswer:
    scores = found.scores
    return PassageAnswer(
        text=found.text,
        score=found.score,
        scores=PassageScores(dense=scores.dense, lexical=scores.lexical, fused=scores.fused, rerank=scores.rerank),
        document=DocumentName(id=found.document_id, path=found.path, title=found.title),
        version=found.version,
        chunk_ids=found.chunk_ids,
        page_start=found.page_start,
        page_end=found.page_end,
        start=found.start,
        end=found.end,
        heading=found.heading,
        knowledge_base=names[found.kb_id],
        date=found.date,
        added_at=found.added_at,
        duplicates=[
            DuplicateAnswer(id=one.document_id, path=one.path, title=one.title, knowledge_base=names[one.kb_id])
            for one in found.duplicates
        ],
    )


def show_result(found: SearchResult, names: Names, relevance: Relevance | None) -> SearchAnswer:
    return SearchAnswer(
        passages=[show_passage(passage, names) for passage in found.passages],
        revision=found.revision,
        revisions=found.revisions,
        degraded=found.degraded,
        timings_ms=found.timings_ms,
        relevance=RelevanceAnswer(value=relevance.value, measure=relevance.measure.value) if relevance else None,
    )
