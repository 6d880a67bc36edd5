"""Revisions as they are shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kb.types.documents import RevisionKind


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A committed state of a knowledge base. `added`, `changed` and `removed` count documents.

    `restorable` while all that answered then is kept, apart from what a user has deleted since.
    """

    number: int
    kind: RevisionKind
    created_at: datetime
    job_id: str | None
    added: int
    changed: int
    removed: int
    gate: Mapping[str, Any] | None
    embedding_model: str
    restorable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionPaths:
    """Paths of the documents that a revision added, changed and removed, in order; without those deleted since."""

    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]
