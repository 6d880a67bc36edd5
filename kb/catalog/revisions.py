"""The one writer of revisions: it closes publications, opens others and logs the chunks that came and went.

Every caller holds the write transaction and has asked for what it must ask for: the fence, the deletions, the order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TypeVar

from sqlalchemy import Connection, insert, literal, select, update

from kb.catalog import tables as t
from kb.types import RevisionKind, VersionState

IDS_A_STATEMENT = 500
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class Opening:
    """A version that becomes visible."""

    version_id: int
    document_id: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RevisionDraft:
    """What is to become one revision. `closed` are versions that are visible now and will not be."""

    kb_id: str
    space_id: int  # the live space from this revision on
    kind: RevisionKind
    job_id: str | None = None
    opened: Sequence[Opening] = ()
    closed: Mapping[int, str] = field(default_factory=dict)  # version id → document id
    gate: Mapping[str, Any] | None = None


def write_revision(connection: Connection, draft: RevisionDraft) -> int:
    """The number of the new head. The row of the knowledge base is taken first, so that revisions commit in order on
    every database."""
    head = t.knowledge_base.c
    number: int = connection.execute(
        update(t.knowledge_base)
        .where(head.id == draft.kb_id)
        .values(head_revision=head.head_revision + 1)
        .returning(head.head_revision)
    ).scalar_one()
    opened = [opening.version_id for opening in draft.opened]
    log_chunks(connection, draft.kb_id, number, "-", list(draft.closed))
    log_chunks(connection, draft.kb_id, number, "+", opened)
    _close_publications(connection, list(draft.closed), number)
    _open_publications(connection, draft.opened, number)
    _hide_documents(connection, draft, number)
    connection.execute(insert(t.revision).values(**_describe(draft), number=number))
    return number


def _hide_documents(connection: Connection, draft: RevisionDraft, number: int) -> None:
    """A document that closes without opening is hidden from here on; one that opens is hidden no longer."""
    came = {opening.document_id for opening in draft.opened}
    went = set(draft.closed.values()) - came
    for documents, mark in ((came, None), (went, number)):
        for batch in _in_batches(sorted(documents)):
            chosen = (t.document.c.id.in_(batch), t.document.c.removed_revision.is_distinct_from(mark))
            connection.execute(update(t.document).where(*chosen).values(removed_revision=mark))


def log_chunks(connection: Connection, kb_id: str, revision: int, op: str, version_ids: Sequence[int]) -> None:
    """A line of the change log for each chunk of the versions, in every space that has them."""
    columns = ["kb_id", "revision", "space_id", "op", "chunk_id"]
    for batch in _in_batches(version_ids):
        rows = (
            select(literal(kb_id), literal(revision), t.chunk.c.space_id, literal(op), t.chunk.c.id)
            .where(t.chunk.c.version_id.in_(batch))
            .order_by(t.chunk.c.id)
        )
        connection.execute(insert(t.change_log).from_select(columns, rows))


def _close_publications(connection: Connection, version_ids: Sequence[int], number: int) -> None:
    for batch in _in_batches(version_ids):
        closing = (t.publication.c.version_id.in_(batch), t.publication.c.until_revision.is_(None))
        connection.execute(update(t.publication).where(*closing).values(until_revision=number))
        _set_state(connection, batch, VersionState.SUPERSEDED)


def _open_publications(connection: Connection, openings: Sequence[Opening], number: int) -> None:
    if not openings:
        return
    connection.execute(
        insert(t.publication),
        [{"version_id": o.version_id, "document_id": o.document_id, "since_revision": number} for o in openings],
    )
    for batch in _in_batches([opening.version_id for opening in openings]):
        _set_state(connection, batch, VersionState.PUBLISHED)


def _set_state(connection: Connection, version_ids: Sequence[int], state: VersionState) -> None:
    values = {"state": state, "secret": None, "updated_at": datetime.now(UTC)}
    connection.execute(update(t.version).where(t.version.c.id.in_(version_ids)).values(values))


def _describe(draft: RevisionDraft) -> dict[str, Any]:
    came = {opening.document_id for opening in draft.opened}
    went = set(draft.closed.values())
    return {
        "kb_id": draft.kb_id,
        "space_id": draft.space_id,
        "kind": draft.kind,
        "created_at": datetime.now(UTC),
        "job_id": draft.job_id,
        "added": len(came - went),
        "changed": len(came & went),
        "removed": len(went - came),
        "gate": None if draft.gate is None else dict(draft.gate),
    }


def _in_batches(ids: Sequence[T]) -> list[Sequence[T]]:
    return [ids[first : first + IDS_A_STATEMENT] for first in range(0, len(ids), IDS_A_STATEMENT)]
