"""Searches and passages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import Field

from api.schemas.text import PathPrefix, RequestBody, check_metadata
from kb.types import Filter
from retrieval.search import TOP_K_LIMIT, Passage, SearchRequest, SearchResult

MOST_TOKENS = 100_000


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
    filter: SearchFilter | None = None


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
class PassageAnswer:
    """`text` is exactly the characters `[start, end)` of the document's extracted text of that `version`."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchAnswer:
    passages: Sequence[PassageAnswer]
    revision: int
    degraded: Sequence[str]
    timings_ms: Mapping[str, float]


def read_filter(body: SearchFilter | None) -> Filter | None:
    if body is None:
        return None
    return Filter(path_prefix=body.path_prefix or None, language=body.language or None, metadata=body.metadata)


def read_request(body: SearchBody, kb_id: str, query: str) -> SearchRequest:
    """`query` is the body's, checked. Raises InvalidInput (`metadata_too_large`)."""
    if body.filter is not None:
        check_metadata(body.filter.metadata)
    return SearchRequest(
        query=query,
        kb_id=kb_id,
        top_k=body.top_k,
        mode=body.mode,
        rerank=body.rerank,
        merge=body.merge,
        max_tokens=body.max_tokens,
        only=read_filter(body.filter),
    )


def show_passage(found: Passage) -> PassageAnswer:
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
    )


def show_result(found: SearchResult) -> SearchAnswer:
    return SearchAnswer(
        passages=[show_passage(passage) for passage in found.passages],
        revision=found.revision,
        degraded=found.degraded,
        timings_ms=found.timings_ms,
    )
