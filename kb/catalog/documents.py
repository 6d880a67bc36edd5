"""Documents: what a user sees of them, and their deletion, which is a purge.

A document that a sync or a restore took away is hidden (`removed_revision`): it is in no list and under no id until a
sync, an upload or a restore brings it back; its versions are kept like any that were replaced.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, case, delete, func, or_, select, update

from kb import crash
from kb.catalog import tables as t
from kb.catalog.conversations import forget_quotes
from kb.catalog.database import Database
from kb.catalog.ledger import count_verdicts, read_ledger
from kb.catalog.purge import Purged, delete_versions
from kb.catalog.revisions import RevisionDraft, write_revision
from kb.errors import NotFound
from kb.types import (
    Document,
    DocumentError,
    DocumentStatus,
    JobState,
    Page,
    RevisionKind,
    SourceState,
    SpaceState,
    StoredChunk,
    VersionState,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class DocumentFilter:
    kb_id: str
    status: DocumentStatus | None = None
    path_prefix: str = ""
    partial: bool = False  # only those of which some pages have text and others have none
    after: str = ""  # the last path already seen


@dataclass(frozen=True, kw_only=True, slots=True)
class LiveText:
    """Where the text of one version is, and where its pages lie in it."""

    version: int
    text_sha: str
    pages: Sequence[Page]


class Documents:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, document_id: str) -> Document:
        """Raises NotFound (`document_not_found`)."""
        with self._database.read() as connection:
            return to_document(_fetch(connection, document_id))

    def list_ledger(self, document_id: str) -> list[Page]:
        """What became of each page in the newest attempt; where that failed, they lie nowhere (0 to 0). Raises NotFound
        (`document_not_found`)."""
        with self._database.read() as connection:
            return read_ledger(_fetch(connection, document_id)["ledger"])

    def list_documents(self, only: DocumentFilter, limit: int) -> list[Document]:
        """In order of path."""
        query = select_described().where(t.document.c.kb_id == only.kb_id, t.document.c.path > only.after)
        if only.path_prefix:
            query = query.where(under(only.path_prefix))
        if only.status is not None:
            query = query.where(_has_status(only.status))
        if only.partial:
            query = query.where(t.version.c.coverage > 0, t.version.c.coverage < 1)
        query = query.order_by(t.document.c.path).limit(limit)
        with self._database.read() as connection:
            return [to_document(row) for row in connection.execute(query).mappings()]

    def find_by_path(self, kb_id: str, path: str) -> Document:
        """Raises NotFound (`document_not_found`)."""
        query = select_described().where(t.document.c.kb_id == kb_id, t.document.c.path == path)
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise NotFound("document_not_found", f"there is no document {path!r} in this knowledge base")
        return to_document(row)

    def list_chunks(self, document_id: str, limit: int, after: int = -1) -> list[tuple[str, StoredChunk]]:
        """Chunks of the live version in order, each with its `text_sha`. Raises NotFound."""
        chunk = t.chunk.c
        query = (
            select(t.chunk, t.version.c.text_sha)
            .join(t.publication, t.publication.c.version_id == chunk.version_id)
            .join(t.version, t.version.c.id == chunk.version_id)
            .join(t.space, t.space.c.id == chunk.space_id)
            .where(t.publication.c.document_id == document_id, t.publication.c.until_revision.is_(None))
            .where(t.space.c.state == SpaceState.LIVE, chunk.ordinal > after)
            .order_by(chunk.ordinal)
            .limit(limit)
        )
        with self._database.read() as connection:
            _fetch(connection, document_id)
            return [(row["text_sha"], to_stored_chunk(row)) for row in connection.execute(query).mappings()]

    def find_text(self, document_id: str, number: int | None = None) -> LiveText:
        """The live version's text, or that of `number`, which opens as long as it is kept: also of a hidden document,
        since citations name it. Raises NotFound (`document_not_found`, `no_version`)."""
        query = select(t.version).where(t.version.c.document_id == document_id)
        if number is None:
            live = (t.publication.c.version_id == t.version.c.id) & t.publication.c.until_revision.is_(None)
            query = query.join(t.publication, live)
        else:
            query = query.where(t.version.c.number == number)
        with self._database.read() as connection:
            if number is None:
                _fetch(connection, document_id)
            row = connection.execute(query).mappings().one_or_none()
        if row is None or row["text_sha"] is None:
            which = "no version that answers" if number is None else f"no version {number} with a text"
            raise NotFound("no_version", f"document {document_id} has {which}")
        return LiveText(version=row["number"], text_sha=row["text_sha"], pages=read_ledger(row["ledger"]))

    def find_home(self, document_id: str) -> str:
        """The id of the knowledge base a document is of, hidden or not. Raises NotFound (`document_not_found`)."""
        query = select(t.document.c.kb_id).where(t.document.c.id == document_id, t.document.c.deleted_at.is_(None))
        with self._database.read() as connection:
            kb_id: str | None = connection.execute(query).scalar_one_or_none()
        if kb_id is None:
            raise _not_found(document_id)
        return kb_id

    def list_pages(self, version_ids: Sequence[int]) -> dict[int, list[Page]]:
        """The pages of some versions' texts; a version that was purged meanwhile is left out."""
        query = select(t.version.c.id, t.version.c.ledger).where(t.version.c.id.in_(version_ids))
        with self._database.read() as connection:
            return {row.id: read_ledger(row.ledger) for row in connection.execute(query)}

    def delete(self, kb_id: str, ids: Sequence[str] = (), path_prefix: str | None = None) -> Purged:
        """Purge documents of one knowledge base by id or path prefix: when this returns none of them can answer.

        Hidden ones as well, so that no restore brings them back. Their chunks, vectors and versions are gone from SQL;
        the caller removes files that nobody else names.
        """
        chosen = []
        if ids:
            chosen.append(t.document.c.id.in_(ids))
        if path_prefix is not None:
            chosen.append(under(path_prefix))
        if not chosen:
            return Purged()
        query = select(t.document.c.id).where(t.document.c.kb_id == kb_id, or_(*chosen))
        with self._database.write() as connection:
            gone = connection.execute(query.where(t.document.c.deleted_at.is_(None))).scalars().all()
            purged = purge_documents(connection, kb_id, gone)
            crash.reach("delete.pre_commit")
        crash.reach("delete.post_commit")
        return purged


def purge_documents(connection: Connection, kb_id: str, document_ids: Sequence[str]) -> Purged:
    """Inside the caller's transaction; it writes the revision that says which chunks went."""
    if not document_ids:
        return Purged()
    now = datetime.now(UTC)
    _log_removal(connection, kb_id, document_ids)
    forget_quotes(connection, document_ids)
    sha256s: set[str] = set()
    text_shas: set[str] = set()
    for first in range(0, len(document_ids), 500):
        batch = document_ids[first : first + 500]
        connection.execute(update(t.document).where(t.document.c.id.in_(batch)).values(deleted_at=now))
        versions = connection.execute(select(t.version).where(t.version.c.document_id.in_(batch))).mappings().all()
        sha256s.update(row["sha256"] for row in versions)
        text_shas.update(row["text_sha"] for row in versions if row["text_sha"])
        connection.execute(delete(t.publication).where(t.publication.c.document_id.in_(batch)))
        delete_versions(connection, [row["id"] for row in versions])
    return Purged(documents=len(document_ids), sha256s=frozenset(sha256s), text_shas=frozenset(text_shas))


def _log_removal(connection: Connection, kb_id: str, document_ids: Sequence[str]) -> None:
    """One revision that says which chunks went, so that every index drops them."""
    live = select(t.space.c.id).where(t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
    open_now: dict[int, str] = {}
    for first in range(0, len(document_ids), 500):
        batch = document_ids[first : first + 500]
        query = select(t.publication.c.version_id, t.publication.c.document_id)
        query = query.where(t.publication.c.document_id.in_(batch), t.publication.c.until_revision.is_(None))
        open_now.update((row.version_id, row.document_id) for row in connection.execute(query))
    space_id = connection.execute(live).scalar_one()
    draft = RevisionDraft(kb_id=kb_id, space_id=space_id, kind=RevisionKind.DELETE, closed=open_now)
    write_revision(connection, draft)


def under(prefix: str) -> Any:  # noqa: ANN401
    """That a document's path begins with `prefix`."""
    return func.substr(t.document.c.path, 1, len(prefix)) == prefix


def select_described() -> Select[Any]:
    """Documents that are not hidden, each with its newest version, or, when a restore took that back, the open one."""
    # Asked per document, so that one document or one page of a list costs an index look-up each, not the whole table.
    other = t.version.alias("other")
    own = select(other.c.number).where(other.c.document_id == t.document.c.id).order_by(other.c.number.desc()).limit(1)
    newest = own.scalar_subquery()
    taken_back = own.with_only_columns(other.c.state).scalar_subquery() == VersionState.SUPERSEDED
    live = t.version.alias("live")
    number = case((taken_back, func.coalesce(live.c.number, newest)), else_=newest)
    is_open = (t.publication.c.document_id == t.document.c.id) & t.publication.c.until_revision.is_(None)
    return (
        select(
            t.version,
            t.document.c.id.label("doc_id"),
            t.document.c.kb_id,
            t.document.c.path,
            t.document.c.source_id,
            t.document.c.missed,
            t.document.c.miss_code,
            t.document.c.created_at.label("doc_created_at"),
            t.job.c.state.label("job_state"),
            live.c.number.label("live_number"),
            live.c.chunk_count.label("live_chunks"),
        )
        .select_from(t.document)
        .outerjoin(t.publication, is_open)
        .outerjoin(live, live.c.id == t.publication.c.version_id)
        .join(t.version, and_(t.version.c.document_id == t.document.c.id, t.version.c.number == number))
        .outerjoin(t.job, t.job.c.id == t.version.c.job_id)
        .where(t.document.c.deleted_at.is_(None), t.document.c.removed_revision.is_(None))
    )


def _has_status(status: DocumentStatus) -> Any:  # noqa: ANN401
    state, running = t.version.c.state, t.job.c.state == JobState.RUNNING
    if status is DocumentStatus.FAILED:
        return state == VersionState.FAILED
    if status is DocumentStatus.READY:
        return state.in_((VersionState.PUBLISHED, VersionState.SUPERSEDED))
    return and_(state == VersionState.STAGED, running if status is DocumentStatus.INDEXING else ~running)


def _fetch(connection: Connection, document_id: str) -> RowMapping:
    row = connection.execute(select_described().where(t.document.c.id == document_id)).mappings().one_or_none()
    if row is None:
        raise _not_found(document_id)
    return row


def _not_found(document_id: str) -> NotFound:
    return NotFound("document_not_found", f"there is no document {document_id[:64]!r}")


def _status_of(row: RowMapping) -> DocumentStatus:
    if row["state"] == VersionState.FAILED:
        return DocumentStatus.FAILED
    if row["state"] == VersionState.STAGED:
        return DocumentStatus.INDEXING if row["job_state"] == JobState.RUNNING else DocumentStatus.PENDING
    return DocumentStatus.READY


def to_document(row: RowMapping) -> Document:
    failed = row["error_code"] is not None
    return Document(
        id=row["doc_id"],
        kb_id=row["kb_id"],
        path=row["path"],
        title=row["title"],
        media_type=row["media_type"],
        size=row["size"],
        sha256=row["sha256"],
        status=_status_of(row),
        language=row["language"],
        encoding=row["encoding"],
        pages=row["pages"],
        chunks=row["live_chunks"] or 0,
        coverage=row["coverage"],
        verdicts=count_verdicts(row["ledger"]),
        error=DocumentError(code=row["error_code"], detail=row["error_detail"] or "") if failed else None,
        version=row["number"],
        live_version=row["live_number"],
        metadata=row["metadata"],
        source_id=row["source_id"],
        source_state=_read_source_state(row),
        created_at=row["doc_created_at"],
        updated_at=row["updated_at"],
    )


def _read_source_state(row: RowMapping) -> SourceState | None:
    code = row["miss_code"]
    return None if code is None else SourceState(code=code, nights=row["missed"])


def to_stored_chunk(row: RowMapping) -> StoredChunk:
    return StoredChunk(**{name: row[name] for name in StoredChunk.__dataclass_fields__})
