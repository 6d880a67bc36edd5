"""The files of a source as the catalog has them, and staging what is new or changed of them."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, delete, exists, func, insert, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import check_fence
from kb.catalog.origins import describe_origin
from kb.catalog.purge import delete_versions
from kb.errors import NotFound
from kb.types import Job, KnownFile, SourceFile, VersionState


class SourceFiles:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_known(self, source_id: str) -> dict[str, KnownFile]:
        """Every document of the source by its path in the source; one that a user deleted only while no other has its
        path. Raises NotFound (`source_not_found`)."""
        with self._database.read() as connection:
            prefix = len(fetch_source_name(connection, source_id)) + 1
            rows = connection.execute(_known(source_id)).all()
        found: dict[str, KnownFile] = {}
        for row in rows:
            path = row.path[prefix:]
            if row.deleted_at is not None and path in found:
                continue
            found[path] = KnownFile(
                document_id=row.id,
                path=path,
                stat=row.stat,
                live_sha256=row.live_sha256,
                live_size=row.live_size,
                failed_sha256=row.failed_sha256,
                retry_at=row.retry_at,
                deleted=row.deleted_at is not None,
            )
        return found

    def list_staged_stats(self, job: Job) -> dict[str, str]:
        """Document path → stat of what an earlier slice of this job staged: it need not be read again."""
        with self._database.read() as connection:
            return {row.path: row.stat or "" for row in connection.execute(_staged_by(job))}

    def stage_files(self, job: Job, source_id: str, files: Sequence[SourceFile], total: int) -> dict[str, str]:
        """Record files as staged versions of `job`, one a document; `total` is what the job has to index.

        Bytes are durable before this is called. Answers path → code for those that cannot be: `path_taken` by a
        document that is not the source's. Raises StaleLease, NotFound (`source_not_found`).
        """
        refused: dict[str, str] = {}
        with self._database.write() as connection:
            check_fence(connection, job, {"stage": "read", "total": total})
            fetch_source_name(connection, source_id)
            for file in files:
                if not stage_file(connection, job, source_id, file):
                    refused[file.path] = "path_taken"
        return refused

    def drop_staged(self, job: Job, paths: Sequence[str]) -> None:
        """Take back what an earlier slice staged and the folder no longer holds so. Raises StaleLease."""
        if not paths:
            return
        with self._database.write() as connection:
            check_fence(connection, job)
            gone = set(paths)
            rows = [row for row in connection.execute(_staged_by(job)) if row.path in gone]
            delete_versions(connection, [row.id for row in rows])
            for row in rows:  # a document that was made for it has nothing left
                has_version = exists().where(t.version.c.document_id == t.document.c.id)
                connection.execute(delete(t.document).where(t.document.c.id == row.document_id, ~has_version))


def _known(source_id: str) -> Select[Any]:
    live, newest, other = t.version.alias("live"), t.version.alias("newest"), t.version.alias("other")
    is_open = (t.publication.c.document_id == t.document.c.id) & t.publication.c.until_revision.is_(None)
    number = select(func.max(other.c.number)).where(other.c.document_id == t.document.c.id).scalar_subquery()
    failed = and_(
        newest.c.document_id == t.document.c.id,
        newest.c.number == number,
        newest.c.state == VersionState.FAILED,
        t.document.c.removed_revision.is_(None),  # of a hidden one it is history
    )
    return (
        select(
            t.document.c.id,
            t.document.c.path,
            t.document.c.deleted_at,
            t.document.c.retry_at,
            live.c.sha256.label("live_sha256"),
            live.c.size.label("live_size"),
            live.c.stat,
            newest.c.sha256.label("failed_sha256"),
        )
        .select_from(t.document)
        .outerjoin(t.publication, is_open)
        .outerjoin(live, live.c.id == t.publication.c.version_id)
        .outerjoin(newest, failed)
        .where(t.document.c.source_id == source_id)
        .order_by(t.document.c.deleted_at.is_not(None))
    )


def fetch_source_name(connection: Connection, source_id: str) -> str:
    """Raises NotFound (`source_not_found`)."""
    name = connection.execute(select(t.source.c.name).where(t.source.c.id == source_id)).scalar_one_or_none()
    if name is None:
        raise NotFound("source_not_found", f"there is no source {source_id[:64]!r}")
    return str(name)


def stage_file(connection: Connection, job: Job, source_id: str, file: SourceFile) -> bool:
    """Inside the caller's transaction. False when the path belongs to a document that is not the source's."""
    document = _find_document(connection, job, source_id, file)
    if document is None:
        return False
    newest = connection.execute(
        select(t.version)
        .where(t.version.c.document_id == document)
        .order_by(t.version.c.number.desc())
        .limit(1)
    ).mappings().one_or_none()  # fmt: skip
    number = 1 if newest is None else newest["number"] + 1
    if newest is not None and newest["state"] == VersionState.STAGED:
        if newest["job_id"] == job.id and newest["sha256"] == file.sha256:
            _restage(connection, newest["id"], job, file)
            return True
        delete_versions(connection, [newest["id"]])  # left by an earlier slice: the file has changed since
        number = newest["number"]
    elif newest is not None and newest["state"] == VersionState.FAILED and newest["sha256"] == file.sha256:
        _restage(connection, newest["id"], job, file)  # the same bytes again: the same version, not one a night
        return True
    elif newest is not None and newest["state"] == VersionState.FAILED:
        connection.execute(update(t.document).where(t.document.c.id == document).values(failures=0, retry_at=None))
    _insert_version(connection, document, number, job, file)
    return True


def _find_document(connection: Connection, job: Job, source_id: str, file: SourceFile) -> str | None:
    mine = (t.document.c.kb_id == job.kb_id, t.document.c.path == file.path, t.document.c.deleted_at.is_(None))
    row = connection.execute(select(t.document).where(*mine)).one_or_none()
    if row is not None:
        return str(row.id) if row.source_id == source_id or _take_over(connection, row, source_id) else None
    document_id = uuid.uuid4().hex
    values = {"kb_id": job.kb_id, "source_id": source_id, "path": file.path, "created_at": datetime.now(UTC)}
    connection.execute(insert(t.document).values(id=document_id, failures=0, **values))
    return document_id


def _take_over(connection: Connection, row: Row[Any], source_id: str) -> bool:
    """A document that a source which is gone left hidden: it holds the path."""
    if row.source_id is not None or row.removed_revision is None:
        return False
    connection.execute(update(t.document).where(t.document.c.id == row.id).values(source_id=source_id))
    return True


def _restage(connection: Connection, version_id: int, job: Job, file: SourceFile) -> None:
    fresh = {"state": VersionState.STAGED, "job_id": job.id, "error_code": None, "error_detail": None}
    seen = {"media_type": file.media_type, "stat": file.stat, **_describe_origin(file)}
    connection.execute(update(t.version).where(t.version.c.id == version_id).values(**fresh, **seen))


def _describe_origin(file: SourceFile) -> dict[str, Any]:
    return {} if file.origin is None else {"origin": describe_origin(file.origin)}


def _insert_version(connection: Connection, document_id: str, number: int, job: Job, file: SourceFile) -> None:
    now = datetime.now(UTC)
    fixed = {"chunk_count": 0, "state": VersionState.STAGED, "metadata": {}, "created_at": now, "updated_at": now}
    content = {"sha256": file.sha256, "size": file.size, "media_type": file.media_type, "stat": file.stat}
    connection.execute(
        insert(t.version).values(
            document_id=document_id, number=number, job_id=job.id, **content, **fixed, **_describe_origin(file)
        )
    )


def _staged_by(job: Job) -> Select[Any]:
    return (
        select(t.version.c.id, t.version.c.document_id, t.version.c.stat, t.document.c.path)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .where(t.version.c.job_id == job.id, t.version.c.state == VersionState.STAGED)
    )
