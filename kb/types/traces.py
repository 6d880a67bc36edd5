"""What the catalog knows of one document at one revision: why a search may see it there, or cannot."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from kb.types.documents import Document, Metadata
from kb.types.parsed import PageVerdict


@dataclass(frozen=True, kw_only=True, slots=True)
class AnsweringVersion:
    """The version of a document that answers at a revision, with its chunks in one space, in order."""

    number: int
    title: str | None
    language: str | None
    metadata: Metadata
    verdicts: Mapping[PageVerdict, int]
    chunk_ids: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentTrace:
    """`newest` is None of a document that is deleted or that a sync or a restore took away (`removed_revision`)."""

    id: str
    path: str
    deleted_at: datetime | None = None
    removed_revision: int | None = None
    removed_at: datetime | None = None
    newest: Document | None = None
    answering: AnsweringVersion | None = None
