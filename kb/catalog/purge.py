"""Taking rows out for good: versions with their chunks and vectors, and whole knowledge bases, in slices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, delete, func, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.types import VersionState

SLICE = 200  # versions a transaction takes out: short enough that uploads are not kept waiting


@dataclass(frozen=True, kw_only=True, slots=True)
class Purged:
    """What was taken out, and the files that may now be unnamed."""

    documents: int = 0
    versions: int = 0
    sha256s: frozenset[str] = frozenset()
    text_shas: frozenset[str] = frozenset()


class StoredFiles(Protocol):
    """The files that versions name."""

    def remove_blob(self, sha256: str) -> None: ...

    def remove_text(self, text_sha: str) -> None: ...


class Purges:
    def __init__(self, database: Database) -> None:
        self._database = database

    def purge_slice(self, kb_id: str) -> Purged:
        """Take out up to SLICE versions of a deleted knowledge base; nothing is left when it took none."""
        query = select(t.version).join(t.document, t.document.c.id == t.version.c.document_id)
        with self._database.write() as connection:
            rows = connection.execute(query.where(t.document.c.kb_id == kb_id).limit(SLICE)).mappings().all()
            return _take_out(connection, rows)

    def purge_expired(self, older_than: datetime) -> Purged:
        """Take out up to SLICE versions that were superseded before `older_than`."""
        closed = (t.revision.c.kb_id == t.document.c.kb_id) & (t.revision.c.number == t.publication.c.until_revision)
        query = (
            select(t.version)
            .join(t.document, t.document.c.id == t.version.c.document_id)
            .join(t.publication, t.publication.c.version_id == t.version.c.id)
            .join(t.revision, closed)
            .where(t.version.c.state == VersionState.SUPERSEDED, t.revision.c.created_at < older_than)
            .limit(SLICE)
        )
        with self._database.write() as connection:
            return _take_out(connection, connection.execute(query).mappings().all())

    def purge_knowledge_base(self, kb_id: str) -> None:
        """Take out what is left of a deleted knowledge base after its versions."""
        spaces = select(t.space.c.id).where(t.space.c.kb_id == kb_id)
        with self._database.write() as connection:
            connection.execute(delete(t.change_log).where(t.change_log.c.kb_id == kb_id))
            connection.execute(delete(t.revision).where(t.revision.c.kb_id == kb_id))
            connection.execute(delete(t.idempotency_key).where(t.idempotency_key.c.kb_id == kb_id))
            connection.execute(delete(t.vector).where(t.vector.c.space_id.in_(spaces)))
            connection.execute(delete(t.space).where(t.space.c.kb_id == kb_id))
            connection.execute(delete(t.document).where(t.document.c.kb_id == kb_id))
            connection.execute(delete(t.source).where(t.source.c.kb_id == kb_id))
            connection.execute(delete(t.golden_question).where(t.golden_question.c.kb_id == kb_id))
            connection.execute(delete(t.knowledge_base).where(t.knowledge_base.c.id == kb_id))

    def remove_unnamed(self, sha256s: Sequence[str], text_shas: Sequence[str], files: StoredFiles) -> int:
        """Remove those files that no version names, and return their number.

        It happens inside a write transaction: whoever records a file looks, inside its own, whether it is still there.
        """
        removed = 0
        with self._database.write() as connection:
            for sha in _list_unnamed(connection, sha256s, "sha256"):
                files.remove_blob(sha)
                removed += 1
            for sha in _list_unnamed(connection, text_shas, "text_sha"):
                files.remove_text(sha)
                removed += 1
        return removed


def _take_out(connection: Connection, rows: Sequence[RowMapping]) -> Purged:
    ids = [row["id"] for row in rows]
    connection.execute(delete(t.publication).where(t.publication.c.version_id.in_(ids)))
    delete_versions(connection, ids)
    return Purged(
        versions=len(ids),
        sha256s=frozenset(row["sha256"] for row in rows),
        text_shas=frozenset(row["text_sha"] for row in rows if row["text_sha"]),
    )


def _list_unnamed(connection: Connection, shas: Sequence[str], column: str) -> list[str]:
    named: set[str] = set()
    for first in range(0, len(shas), 500):
        found = select(t.version.c[column]).where(t.version.c[column].in_(shas[first : first + 500]))
        named.update(connection.execute(found).scalars())
    return [sha for sha in shas if sha not in named]


def delete_versions(connection: Connection, version_ids: Sequence[int]) -> None:
    """Delete versions with their chunks and vectors."""
    delete_chunks(connection, version_ids)
    for first in range(0, len(version_ids), 500):
        connection.execute(delete(t.version).where(t.version.c.id.in_(version_ids[first : first + 500])))


def delete_chunks(connection: Connection, version_ids: Sequence[int], space_id: int | None = None) -> None:
    """Delete the chunks of versions, in one space or in all, and the vectors that no other chunk there has."""
    for first in range(0, len(version_ids), 500):
        chosen: list[ColumnElement[bool]] = [t.chunk.c.version_id.in_(version_ids[first : first + 500])]
        if space_id is not None:
            chosen.append(t.chunk.c.space_id == space_id)
        inputs = select(t.chunk.c.space_id, t.chunk.c.input_sha).where(*chosen).distinct()
        orphaned = connection.execute(inputs).all()
        connection.execute(delete(t.chunk).where(*chosen))
        _delete_unused_vectors(connection, [(row.space_id, row.input_sha) for row in orphaned])


def _delete_unused_vectors(connection: Connection, keys: Sequence[tuple[int, str]]) -> None:
    by_space: dict[int, list[str]] = {}
    for space_id, input_sha in keys:
        by_space.setdefault(space_id, []).append(input_sha)
    for space_id, shas in by_space.items():
        for first in range(0, len(shas), 500):
            batch = shas[first : first + 500]
            used = select(func.count()).where(
                t.chunk.c.space_id == t.vector.c.space_id, t.chunk.c.input_sha == t.vector.c.input_sha
            )
            unused = (t.vector.c.space_id == space_id, t.vector.c.input_sha.in_(batch), used.scalar_subquery() == 0)
            connection.execute(delete(t.vector).where(*unused))
