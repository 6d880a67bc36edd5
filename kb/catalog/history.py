"""The revisions of a knowledge base, as a user sees them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.errors import NotFound
from kb.types import Revision, RevisionKind, RevisionPaths


class History:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_revisions(self, kb_id: str, limit: int, before: int | None = None) -> list[Revision]:
        """Newest first; `before` is the last number already seen."""
        query = _described(kb_id).order_by(t.revision.c.number.desc()).limit(limit)
        if before is not None:
            query = query.where(t.revision.c.number < before)
        with self._database.read() as connection:
            return [_to_revision(row) for row in connection.execute(query).mappings()]

    def get(self, kb_id: str, number: int) -> Revision:
        """Raises NotFound (`revision_not_found`)."""
        with self._database.read() as connection:
            return fetch_revision(connection, kb_id, number)

    def list_paths(self, kb_id: str, number: int, limit: int) -> RevisionPaths:
        """The first `limit` paths of each kind. Raises NotFound (`revision_not_found`)."""
        opened, closed = t.publication.alias("opened"), t.publication.alias("closed")
        came = select(opened.c.id).where(opened.c.document_id == t.document.c.id, opened.c.since_revision == number)
        went = select(closed.c.id).where(closed.c.document_id == t.document.c.id, closed.c.until_revision == number)
        with self._database.read() as connection:
            fetch_revision(connection, kb_id, number)

            def list_some(*chosen: ColumnElement[bool]) -> Sequence[str]:
                query = select(t.document.c.path).where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None))
                query = query.where(*chosen).order_by(t.document.c.path).limit(limit)
                return connection.execute(query).scalars().all()

            return RevisionPaths(
                added=list_some(came.exists(), ~went.exists()),
                changed=list_some(came.exists(), went.exists()),
                removed=list_some(~came.exists(), went.exists()),
            )


def fetch_revision(connection: Connection, kb_id: str, number: int) -> Revision:
    """Raises NotFound (`revision_not_found`)."""
    row = connection.execute(_described(kb_id).where(t.revision.c.number == number)).mappings().one_or_none()
    if row is None:
        raise NotFound("revision_not_found", f"this knowledge base has no revision {number}")
    return _to_revision(row)


def _described(kb_id: str) -> Select[Any]:
    return (
        select(t.revision, t.space.c.embedding_model)
        .join(t.space, t.space.c.id == t.revision.c.space_id)
        .where(t.revision.c.kb_id == kb_id)
    )


def _to_revision(row: RowMapping) -> Revision:
    return Revision(
        number=row["number"],
        kind=RevisionKind(row["kind"]),
        created_at=row["created_at"],
        job_id=row["job_id"],
        added=row["added"],
        changed=row["changed"],
        removed=row["removed"],
        gate=row["gate"],
        embedding_model=row["embedding_model"],
        restorable=row["gone_at"] is None,
    )
