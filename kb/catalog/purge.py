"""Taking rows out for good: versions with their chunks and vectors, and whole knowledge bases, in slices."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, RowMapping, Select, case, delete, func, select, update

from kb.catalog import tables as t
from kb.catalog.conversations import forget_conversations, is_cited
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

    def purge_expired(self, older_than: datetime, keep_revisions: int = 0) -> Purged:
        """Take out up to SLICE versions that stopped answering before `older_than` and answered at none of the last
        `keep_revisions` revisions, and the rows of hidden documents that have no version left.

        What answered then cannot be restored any more, and the revisions say so.
        """
        with self._database.write() as connection:
            query = _expired(older_than, keep_revisions).limit(SLICE)
            rows = connection.execute(query).mappings().all()
            _mark_gone(connection, [row["id"] for row in rows])
            purged = _take_out(connection, rows)
            _drop_empty_documents(connection, {row["document_id"] for row in rows})
            return purged

    def forget_answers(self, older_than: datetime) -> None:
        """Take out idempotency keys: nobody repeats a request after so long."""
        with self._database.write() as connection:
            connection.execute(delete(t.idempotency_key).where(t.idempotency_key.c.created_at < older_than))

    def purge_knowledge_base(self, kb_id: str) -> None:
        """Take out what is left of a deleted knowledge base after its versions."""
        spaces = select(t.space.c.id).where(t.space.c.kb_id == kb_id)
        with self._database.write() as connection:
            forget_conversations(connection, kb_id)
            connection.execute(delete(t.change_log).where(t.change_log.c.kb_id == kb_id))
            connection.execute(delete(t.revision).where(t.revision.c.kb_id == kb_id))
            connection.execute(delete(t.idempotency_key).where(t.idempotency_key.c.kb_id == kb_id))
            connection.execute(delete(t.vector).where(t.vector.c.space_id.in_(spaces)))
            connection.execute(delete(t.space).where(t.space.c.kb_id == kb_id))
            connection.execute(delete(t.document).where(t.document.c.kb_id == kb_id))
            sources = select(t.source.c.id).where(t.source.c.kb_id == kb_id)
            connection.execute(delete(t.source_page).where(t.source_page.c.source_id.in_(sources)))
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


def _expired(older_than: datetime, keep_revisions: int) -> Select[Any]:
    """Versions of no more use. A version may have been closed, restored and closed again: the last time counts."""
    last = select(func.max(t.publication.c.until_revision)).where(t.publication.c.version_id == t.version.c.id)
    closed = case(
        (t.version.c.state == VersionState.SUPERSEDED, last.scalar_subquery()),
        # what failed has never answered; that of a hidden document goes with the document
        (t.version.c.state == VersionState.FAILED, t.document.c.removed_revision),
    )
    other = t.version.alias("other")
    others = select(other.c.id).where(other.c.document_id == t.version.c.document_id, other.c.id != t.version.c.id)
    # The newest goes last: its number must never be given to another content, since citations name it.
    is_due = others.where(other.c.number > t.version.c.number).exists() | ~others.exists()
    ended = (t.revision.c.kb_id == t.document.c.kb_id) & (t.revision.c.number == closed)
    return (
        select(t.version)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .join(t.knowledge_base, t.knowledge_base.c.id == t.document.c.kb_id)
        .join(t.revision, ended)
        .where((t.version.c.state == VersionState.SUPERSEDED) | (t.version.c.updated_at < older_than))
        .where(t.revision.c.created_at < older_than, is_due, ~is_cited())
        # it answered up to the revision before the one that closed it
        .where(t.revision.c.number <= t.knowledge_base.c.head_revision - keep_revisions + 1)
    )


def _mark_gone(connection: Connection, version_ids: Sequence[int]) -> None:
    """Say of every revision at which one of the versions answered that it cannot be restored."""
    publication = t.publication.c
    answered = (
        select(t.document.c.kb_id, publication.since_revision, publication.until_revision)
        .join(t.document, t.document.c.id == publication.document_id)
        .where(publication.version_id.in_(version_ids))
        .distinct()
    )
    revision = t.revision.c
    for kb_id, since, until in connection.execute(answered).all():
        then = (revision.kb_id == kb_id, revision.number >= since, revision.number < until, revision.gone_at.is_(None))
        connection.execute(update(t.revision).where(*then).values(gone_at=datetime.now(UTC)))


def _drop_empty_documents(connection: Connection, document_ids: Iterable[str]) -> None:
    has_version = select(t.version.c.id).where(t.version.c.document_id == t.document.c.id).exists()
    hidden = (t.document.c.deleted_at.is_(None), t.document.c.removed_revision.is_not(None))
    for document_id in document_ids:
        connection.execute(delete(t.document).where(t.document.c.id == document_id, *hidden, ~has_version))


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
            chosen.append(t.is_of_space(space_id))
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
            user = select(t.chunk.c.id).where(
                t.chunk.c.space_id == t.vector.c.space_id, t.chunk.c.input_sha == t.vector.c.input_sha
            )
            unused = (t.vector.c.space_id == space_id, t.vector.c.input_sha.in_(batch), ~user.exists())
            connection.execute(delete(t.vector).where(*unused))
