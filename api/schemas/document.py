"""Documents, their chunks and texts, and the answer to an upload."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from pydantic import Field

from api.schemas.text import PathPrefix, RequestBody
from kb.types import Document, Page, SourceState, StoredChunk


class DocumentDeletion(RequestBody):
    ids: list[str] = Field(default_factory=list, max_length=10_000)
    path_prefix: PathPrefix | None = Field(None, min_length=1, max_length=1024)


@dataclass(frozen=True, kw_only=True, slots=True)
class Deletion:
    deleted: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceStateAnswer:
    """`gone`: the page is not there any more, for so many `nights`; `failing`: it does not come for now."""

    state: Literal["gone", "failing"]
    nights: int
    code: str


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentAnswer:
    """Status, sha256, version, pages and error describe the newest attempt; `live_version` is what answers now.

    `verdicts` counts its pages by what became of them, as `{"indexed": 11, "scanned": 1}`.
    """

    id: str
    path: str
    title: str | None
    media_type: str
    size: int
    sha256: str
    status: str
    language: str | None
    encoding: str | None
    pages: int | None
    chunks: int
    coverage: float | None
    verdicts: Mapping[str, int]
    error: Failure | None
    version: int
    live_version: int | None
    metadata: Mapping[str, Any]
    source_id: str | None
    source_state: SourceStateAnswer | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkAnswer:
    id: int
    ordinal: int
    text: str
    start: int
    end: int
    page_start: int
    page_end: int
    heading: str | None
    tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class PageAnswer:
    """A line of the ledger: the page's text is `start:end` of the document's, nothing where both are equal."""

    page: int
    verdict: str
    start: int
    end: int


@dataclass(frozen=True, kw_only=True, slots=True)
class TextAnswer:
    """`pages` are `[start, end]` of each page in `text`."""

    version: int
    text: str
    pages: Sequence[tuple[int, int]]


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedDocument:
    id: str
    path: str
    sha256: str
    status: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RejectedFile:
    path: str
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadAnswer:
    job_id: str
    documents: Sequence[RecordedDocument]
    rejected: Sequence[RejectedFile]


@dataclass(frozen=True, kw_only=True, slots=True)
class StartedJob:
    job_id: str


def show_document(found: Document) -> DocumentAnswer:
    return DocumentAnswer(
        id=found.id,
        path=found.path,
        title=found.title,
        media_type=found.media_type,
        size=found.size,
        sha256=found.sha256,
        status=found.status,
        language=found.language,
        encoding=found.encoding,
        pages=found.pages,
        chunks=found.chunks,
        coverage=found.coverage,
        verdicts={verdict.value: count for verdict, count in found.verdicts.items()},
        error=None if found.error is None else Failure(code=found.error.code, detail=found.error.detail),
        version=found.version,
        live_version=found.live_version,
        metadata=found.metadata,
        source_id=found.source_id,
        source_state=None if found.source_state is None else show_source_state(found.source_state),
        created_at=found.created_at,
        updated_at=found.updated_at,
    )


def show_source_state(found: SourceState) -> SourceStateAnswer:
    return SourceStateAnswer(state="gone" if found.is_gone else "failing", nights=found.nights, code=found.code)


def show_page(page: Page) -> PageAnswer:
    return PageAnswer(page=page.number, verdict=page.verdict, start=page.start, end=page.end)


def show_chunk(chunk: StoredChunk, text: str) -> ChunkAnswer:
    """`text` is the whole extracted text."""
    return ChunkAnswer(
        id=chunk.id,
        ordinal=chunk.ordinal,
        text=text[chunk.start : chunk.end],
        start=chunk.start,
        end=chunk.end,
        page_start=chunk.page_start,
        page_end=chunk.page_end,
        heading=chunk.heading,
        tokens=chunk.tokens,
    )
