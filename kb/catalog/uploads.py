"""Recording an upload: the rows are the work. Bytes are durable before this is called."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, insert, select

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.jobs import NewJob, enqueue_job
from kb.catalog.knowledge_bases import check_alive
from kb.catalog.sources import list_source_names
from kb.errors import Conflict, NotFound, NothingAccepted, Unavailable
from kb.types import JobKind, Lane, Metadata, VersionState


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadedFile:
    """A file whose bytes are stored under `sha256`; `path` is the document's identity."""

    path: str
    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Upload:
    kb_id: str
    files: Sequence[UploadedFile]
    rejected: Sequence[dict[str, str]] = ()
    metadata: Metadata = field(default_factory=dict)
    idempotency_key: str | None = None
    request_sha: str = ""  # of everything the request said; the same key with another request is a mistake


class Uploads:
    def __init__(self, database: Database, blob_exists: Callable[[str], bool]) -> None:
        self._database = database
        self._blob_exists = blob_exists

    def record(self, upload: Upload) -> dict[str, Any]:
        """One transaction: documents, staged versions and their job; durable when this returns.

        Answers `{job_id, documents: [{id, path, sha256, status}], rejected}`, the stored answer when the idempotency
        key was seen with the same request. A path whose newest version has the same bytes and metadata, and has not
        failed, is `unchanged`. A path that belongs to a source is rejected (`path_of_source`). Raises NotFound
        (knowledge base deleted meanwhile), Conflict (`idempotency_mismatch`), NothingAccepted, Unavailable
        (`content_gone`).
        """
        with self._database.write() as connection:
            if (seen := _find_answer(connection, upload)) is not None:
                return seen
            check_alive(connection, upload.kb_id)
            upload = _leave_out(upload, list_source_names(connection, upload.kb_id))
            newest = _list_newest(connection, upload)
            total = sum(not _is_unchanged(newest.get(file.path), file, upload) for file in upload.files)
            new_job = NewJob(kind=JobKind.UPLOAD, lane=Lane.INTERACTIVE, kb_id=upload.kb_id, total=total)
            job_id = enqueue_job(connection, new_job)
            documents = [_record_file(connection, upload, file, newest.get(file.path), job_id) for file in upload.files]
            self._check_blobs(upload)
            answer = {"job_id": job_id, "documents": documents, "rejected": list(upload.rejected)}
            _keep_answer(connection, upload, answer)
            crash.reach("up.pre_commit")
        crash.reach("up.post_commit")
        return answer

    def _check_blobs(self, upload: Upload) -> None:
        """A purge of equal bytes may have come between writing ours and naming them."""
        for file in upload.files:
            if not self._blob_exists(file.sha256):
                raise Unavailable(
                    "content_gone", f"the bytes of {file.path!r} were collected meanwhile; send them again"
                )

    def find_answer(self, upload: Upload) -> dict[str, Any] | None:
        """The stored answer to this idempotency key. Raises Conflict (`idempotency_mismatch`)."""
        with self._database.read() as connection:
            return _find_answer(connection, upload)

    def retry(self, document_id: str) -> str:
        """Stage the newest bytes of a document once more; the job's id.

        Raises NotFound (`document_not_found`), Conflict (`busy`) while an attempt is under way.
        """
        with self._database.write() as connection:
            newest = (
                select(t.document.c.kb_id, t.version)
                .join(t.version, t.version.c.document_id == t.document.c.id)
                .where(t.document.c.id == document_id, t.document.c.deleted_at.is_(None))
                .order_by(t.version.c.number.desc())
                .limit(1)
            )
            row = connection.execute(newest).mappings().one_or_none()
            if row is None:
                raise NotFound("document_not_found", f"there is no document {document_id[:64]!r}")
            if row["state"] == VersionState.STAGED:
                raise Conflict("busy", f"document {document_id} is being indexed already")
            new_job = NewJob(kind=JobKind.UPLOAD, lane=Lane.INTERACTIVE, kb_id=row["kb_id"], total=1)
            job_id = enqueue_job(connection, new_job)
            again = {name: row[name] for name in ("sha256", "size", "media_type", "metadata")}
            _stage_version(connection, document_id, row["number"] + 1, job_id, again)
            return job_id


def _find_answer(connection: Connection, upload: Upload) -> dict[str, Any] | None:
    if upload.idempotency_key is None:
        return None
    keys = t.idempotency_key.c
    query = select(t.idempotency_key).where(keys.kb_id == upload.kb_id, keys.key == upload.idempotency_key)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        return None
    if row["request_sha"] != upload.request_sha:
        raise Conflict("idempotency_mismatch", "this Idempotency-Key was used for another request; use a new key")
    answer: dict[str, Any] = row["answer"]
    return answer


def _keep_answer(connection: Connection, upload: Upload, answer: dict[str, Any]) -> None:
    if upload.idempotency_key is None:
        return
    row = {"kb_id": upload.kb_id, "key": upload.idempotency_key, "request_sha": upload.request_sha}
    connection.execute(insert(t.idempotency_key).values(**row, answer=answer, created_at=datetime.now(UTC)))


def _leave_out(upload: Upload, sources: set[str]) -> Upload:
    """The upload without what lies in a source's folder, which the next sync would take away again."""
    taken = {file.path for file in upload.files if "/" in file.path and file.path.partition("/")[0] in sources}
    if not taken:
        return upload
    detail = "the path belongs to a source of this knowledge base; put the file into the source's folder and sync it"
    rejected = [*upload.rejected, *({"path": p, "code": "path_of_source", "detail": detail} for p in sorted(taken))]
    if len(taken) == len(upload.files):
        raise NothingAccepted(rejected)
    return replace(upload, files=[file for file in upload.files if file.path not in taken], rejected=rejected)


def _list_newest(connection: Connection, upload: Upload) -> dict[str, RowMapping]:
    paths = [file.path for file in upload.files]
    found: dict[str, RowMapping] = {}
    for first in range(0, len(paths), 500):
        named = select(t.document.c.id).where(
            t.document.c.kb_id == upload.kb_id, t.document.c.path.in_(paths[first : first + 500])
        )
        ids = connection.execute(named.where(t.document.c.deleted_at.is_(None))).scalars().all()
        newest = (
            select(t.document.c.path, t.version)
            .join(t.version, t.version.c.document_id == t.document.c.id)
            .where(t.document.c.id.in_(ids))
            .order_by(t.version.c.number)
        )
        for row in connection.execute(newest).mappings():
            found[row["path"]] = row
    return found


def _is_unchanged(newest: RowMapping | None, file: UploadedFile, upload: Upload) -> bool:
    return (
        newest is not None
        and newest["sha256"] == file.sha256
        and newest["state"] != VersionState.FAILED
        and newest["metadata"] == dict(upload.metadata)
    )


def _record_file(
    connection: Connection, upload: Upload, file: UploadedFile, newest: RowMapping | None, job_id: str
) -> dict[str, str]:
    if newest is None:
        document_id, number = uuid.uuid4().hex, 1
        row = {"id": document_id, "kb_id": upload.kb_id, "path": file.path, "created_at": datetime.now(UTC)}
        connection.execute(insert(t.document).values(**row))
    else:
        document_id, number = newest["document_id"], newest["number"] + 1
    unchanged = _is_unchanged(newest, file, upload)
    if not unchanged:
        content = {"sha256": file.sha256, "size": file.size, "media_type": file.media_type}
        _stage_version(connection, document_id, number, job_id, {**content, "metadata": dict(upload.metadata)})
    status = "unchanged" if unchanged else "pending"
    return {"id": document_id, "path": file.path, "sha256": file.sha256, "status": status}


def _stage_version(connection: Connection, document_id: str, number: int, job_id: str, content: dict[str, Any]) -> None:
    now = datetime.now(UTC)
    fixed = {"chunk_count": 0, "state": VersionState.STAGED, "created_at": now, "updated_at": now}
    connection.execute(
        insert(t.version).values(document_id=document_id, number=number, job_id=job_id, **content, **fixed)
    )
