"""Domain types: frozen, keyword-only, free of any framework. They are what crosses package borders.

Offsets are Unicode code points into a version's extracted text, `[start, end)`. Pages count from 1.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

Vectors = NDArray[np.float32]  # shape (n, dimension), unit length, C-contiguous
Metadata = Mapping[str, Any]


class PageVerdict(StrEnum):
    """What became of one page. Coverage is the share of pages that are `indexed`."""

    INDEXED = "indexed"
    SCANNED = "scanned"
    ENCRYPTED = "encrypted"
    GARBLED = "garbled"
    EMPTY = "empty"


class DocumentStatus(StrEnum):
    PENDING = "pending"
    INDEXING = "indexing"
    READY = "ready"
    FAILED = "failed"


class VersionState(StrEnum):
    STAGED = "staged"
    PUBLISHED = "published"
    SUPERSEDED = "superseded"
    FAILED = "failed"


class SpaceState(StrEnum):
    BUILDING = "building"
    LIVE = "live"
    RETIRED = "retired"


class JobKind(StrEnum):
    UPLOAD = "upload"
    PURGE = "purge"
    SEAL = "seal"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Lane(StrEnum):
    """Workers take every interactive job before the first bulk one."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


# -- what a loader and the splitter hand on ---------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page and the stretch of the extracted text it gave. A text file or web page is one page."""

    number: int
    start: int
    end: int
    verdict: PageVerdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading as it stands in the text at `[start, end)`; level 1 is the highest."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedDocument:
    """What a loader made of a file: text without NUL or lone surrogates, lines ending in `\\n`."""

    text: str
    pages: Sequence[Page]
    headings: Sequence[Heading] = ()
    title: str | None = None
    language: str | None = None  # "zh" or "en", the script most of the text is in; None for neither
    encoding: str | None = None  # of text files: what the bytes were decoded with

    @property
    def coverage(self) -> float:
        """Share of pages with text, 0 to 1."""
        if not self.pages:
            return 0.0
        return sum(page.verdict is PageVerdict.INDEXED for page in self.pages) / len(self.pages)


@dataclass(frozen=True, kw_only=True, slots=True)
class TextChunk:
    """What the splitter cuts: `text[start:end]`, with the path of headings it stands under (" > " between them)."""

    ordinal: int
    start: int
    end: int
    tokens: int
    page_start: int
    page_end: int
    heading: str | None = None


# -- knowledge bases and documents ------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBase:
    id: str
    name: str
    description: str
    language: str  # "auto", "zh" or "en"
    embedding_model: str
    dimension: int
    revision: int
    documents: int
    chunks: int
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentError:
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """Status, sha256, version and error describe the newest attempt; `live_version` is what answers now."""

    id: str
    kb_id: str
    path: str
    title: str | None
    media_type: str
    size: int
    sha256: str
    status: DocumentStatus
    language: str | None
    encoding: str | None
    pages: int | None
    chunks: int
    coverage: float | None
    error: DocumentError | None
    version: int
    live_version: int | None
    metadata: Metadata
    source_id: str | None
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredChunk:
    """A chunk as the catalog keeps it. `id` is the SQL key and the id in every index, and is never reused."""

    id: int
    ordinal: int
    start: int
    end: int
    page_start: int
    page_end: int
    heading: str | None
    tokens: int


# -- what a worker stages ---------------------------------------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedVersion:
    """One version that waits to be indexed."""

    version_id: int
    document_id: str
    path: str
    sha256: str
    media_type: str
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkToStage:
    """A chunk with `input_sha`, the SHA-256 of the exact string embedded: one text, one embedding."""

    chunk: TextChunk
    input_sha: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    id: str
    kind: JobKind
    lane: Lane
    kb_id: str | None
    state: JobState
    stage: str
    done: int
    total: int
    failed: int
    message: str
    attempts: int
    fence: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None


# -- what an index is fed with, and what a search joins back ------------------------------------------------------


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Where a knowledge base stands: everything up to `revision` is committed, `space_id` is the live space."""

    revision: int
    space_id: int
    dimension: int


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """One chunk as both indexes take it. `vector` is float16, shape (dimension,)."""

    chunk_id: int
    text: str
    title: str
    path: str
    heading: str
    vector: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeSet:
    """Net effect of a range of revisions on one space: chunk ids that came and chunk ids that went."""

    added: Sequence[int]
    removed: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """What a search is limited to; None or empty means no limit. Metadata fields must all be equal."""

    path_prefix: str | None = None
    language: str | None = None
    metadata: Metadata = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What an index returns. Higher score is nearer."""

    chunk_id: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VisibleChunk:
    """A chunk that is visible at the asked revision, joined with its document. `text_sha` names the extracted text."""

    id: int
    version_id: int
    version: int
    text_sha: str
    ordinal: int
    start: int
    end: int
    page_start: int
    page_end: int
    heading: str | None
    tokens: int
    document_id: str
    path: str
    title: str | None
