"""Revisions as the contract shows them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from api.schemas.text import RequestBody
from kb.types import Revision, RevisionPaths


class Restoration(RequestBody):
    """`gate`: whether the golden questions may refuse it."""

    gate: bool = True


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionAnswer:
    """`added`, `changed` and `removed` count documents. `gate` is null when no golden question was asked."""

    number: int
    kind: str
    created_at: datetime
    job_id: str | None
    added: int
    changed: int
    removed: int
    gate: Mapping[str, Any] | None
    embedding_model: str
    restorable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class PathsAnswer:
    added: Sequence[str]
    changed: Sequence[str]
    removed: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionDetail(RevisionAnswer):
    """`paths` are the first of each kind: the counts tell whether there are more. Deleted documents have none."""

    paths: PathsAnswer


def show_revision(found: Revision) -> RevisionAnswer:
    return RevisionAnswer(**_list_fields(found))


def show_revision_detail(found: Revision, paths: RevisionPaths) -> RevisionDetail:
    shown = PathsAnswer(added=paths.added, changed=paths.changed, removed=paths.removed)
    return RevisionDetail(**_list_fields(found), paths=shown)


def _list_fields(found: Revision) -> dict[str, Any]:
    return {name: getattr(found, name) for name in RevisionAnswer.__dataclass_fields__}
