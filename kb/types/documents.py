"""Knowledge bases, documents and what a worker stages of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from kb.types.gate import SafetyLimits
from kb.types.parsed import PageVerdict, TextChunk
from kb.types.refusal import RefusalRule

Metadata = Mapping[str, Any]


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


class RevisionKind(StrEnum):
    """What made a revision."""

    UPLOAD = "upload"
    DELETE = "delete"
    SYNC = "sync"
    REINDEX = "reindex"
    RESTORE = "restore"


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBase:
    id: str
    name: str
    description: str
    language: str  # "auto", "zh" or "en"
    embedding_model: str
    dimension: int
    chunk_tokens: int  # what the chunks that answer aim at
    wanted_chunk_tokens: int  # and those of the next full re-index
    revision: int
    documents: int
    chunks: int
    limits: SafetyLimits
    refusal: RefusalRule | None
    prompt: Mapping[str, str]  # texts of its own by language, "zh" and "en"
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentError:
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceState:
    """That the page of a document did not come when its source was last synced, and why; for so many `nights` by now
    it was not there any more."""

    code: str
    nights: int

    @property
    def is_gone(self) -> bool:
        return self.code in ("fetch_http_404", "fetch_http_410")


@dataclass(frozen=True, kw_only=True, slots=True)
class Document:
    """Status, sha256, version, pages and error describe the newest attempt; `live_version` is what answers now.

    `verdicts` counts its pages by what became of them; of none that was not looked at.
    """

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
    verdicts: Mapping[PageVerdict, int]
    error: DocumentError | None
    version: int
    live_version: int | None
    metadata: Metadata
    source_id: str | None
    source_state: SourceState | None
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


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedVersion:
    """One version that waits to be indexed."""

    version_id: int
    document_id: str
    path: str
    sha256: str
    media_type: str
    metadata: Metadata = field(default_factory=dict)
    password: str | None = field(default=None, repr=False)  # of an encrypted PDF


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkToStage:
    """A chunk with `input_sha`, the SHA-256 of the exact string embedded: one text, one embedding."""

    chunk: TextChunk
    input_sha: str
