"""Recording an upload: the rows are the work. Bytes are durable before this is called."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, insert, select, update

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.jobs import NewJob, enqueue_job
from kb.catalog.knowledge_bases import check_alive
from kb.catalog.sources import list_source_names
from kb.errors import Conflict, NotFound, NothingAccepted, Unavailable
from kb.media_type import PDF
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
    password: str | None = field(default=None, repr=False)  # for the PDFs among the files

    def find_password(self, file: UploadedFile) -> str | None:
        return self.password if file.media_type == PDF else None


@dataclass(kw_only=True, slots=True)
class _Known:
    """What is there of a path: the number of its newest version, that version, and the one that answers."""

    document_id: str
    kb_id: str
    path: str
    hidden: bool
    number: int = 0
    newest: RowMapping | None = None
    open: RowMapping | None = None

    @classmethod
    def of(cls, row: RowMapping) -> _Known:
        hidden = row["removed_revision"] is not None
        return cls(document_id=row["doc_id"], kb_id=row["kb_id"], path=row["path"], hidden=hidden)

    def find_current(self) -> RowMapping | None:
        """The newest version, unless a later revision took it back: then the one that answers, if any."""
        if self.newest is not None and self.newest["state"] in (VersionState.STAGED, VersionState.FAILED):
            return self.newest
        return self.open


class Uploads:
    def __init__(self, database: Database, blob_exists: Callable[[str], bool]) -> None:
        self._database = database
        self._blob_exists = blob_exists

    def record(self, upload: Upload) -> dict[str, Any]:
        """One transaction: documents, staged versions and their job; durable when this returns.

        Answers `{job_id, documents: [{id, path, sha256, status}], rejected}`, the stored answer when the idempotency
        key was seen with the same request. A path is `unchanged` when the version that answers, or a newer one that
        waits to, has the same bytes and metadata. A path that belongs to a source is rejected (`path_of_source`).
        Raises NotFound (knowledge base deleted meanwhile), Conflict (`idempotency_mismatch`), NothingAccepted,
        Unavailable (`content_gone`).
        """
        with self._database.write() as connection:
            if (seen := _find_answer(connection, upload)) is not None:
                return seen
            check_alive(connection, upload.kb_id)
            upload = _leave_out(upload, list_source_names(connection, upload.kb_id))
            known = _list_known(connection, upload)
            total = sum(not _is_unchanged(known.get(file.path), file, upload) for file in upload.files)
            new_job = NewJob(kind=JobKind.UPLOAD, lane=Lane.INTERACTIVE, kb_id=upload.kb_id, total=total)
            job_id = enqueue_job(connection, new_job)
            recorded = [_describe_file(upload, file, known.get(file.path), job_id) for file in upload.files]
            _write(connection, recorded)
            self._check_blobs(upload)
            documents = [one.answer for one in recorded]
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

    def retry(self, document_id: str) -> str:
        """Stage the newest bytes of a document once more, or those a restore brought back; the job's id.

        Raises NotFound (`document_not_found`), Conflict (`busy`) while an attempt is under way.
        """
        with self._database.write() as connection:
            shown = (t.document.c.id == document_id, t.document.c.removed_revision.is_(None))
            known = next(iter(_read_known(connection, select(t.document.c.id).where(*shown))), None)
            current = known.find_current() if known is not None else None
            if known is None or current is None:
                raise NotFound("document_not_found", f"there is no document {document_id[:64]!r}")
            if current["state"] == VersionState.STAGED:
                raise Conflict("busy", f"document {document_id} is being indexed already")
            new_job = NewJob(kind=JobKind.UPLOAD, lane=Lane.INTERACTIVE, kb_id=known.kb_id, total=1)
            job_id = enqueue_job(connection, new_job)
            again = {name: current[name] for name in ("sha256", "size", "media_type", "metadata")}
            row = _describe_version(document_id, known.number + 1, job_id, again)
            connection.execute(insert(t.version).values(row))
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


def _list_known(connection: Connection, upload: Upload) -> dict[str, _Known]:
    """By path; hidden documents too: the path is theirs until retention takes them."""
    paths = [file.path for file in upload.files]
    found: dict[str, _Known] = {}
    for first in range(0, len(paths), 500):
        named = (t.document.c.kb_id == upload.kb_id, t.document.c.path.in_(paths[first : first + 500]))
        ids = connection.execute(select(t.document.c.id).where(*named, t.document.c.deleted_at.is_(None))).scalars()
        found.update((known.path, known) for known in _read_known(connection, ids.all()))
    return found


def _read_known(connection: Connection, ids: Sequence[str] | Select[tuple[str]]) -> list[_Known]:
    document = t.document.c
    query = (
        select(document.id.label("doc_id"), document.path, document.kb_id, document.removed_revision, t.version)
        .outerjoin(t.version, t.version.c.document_id == document.id)
        .where(document.id.in_(ids), document.deleted_at.is_(None))
        .order_by(t.version.c.number)
    )
    found: dict[str, _Known] = {}
    for row in connection.execute(query).mappings():
        known = found.setdefault(row["doc_id"], _Known.of(row))
        if row["number"] is not None:
            known.number, known.newest = row["number"], row
        if row["state"] == VersionState.PUBLISHED:
            known.open = row
    return list(found.values())


def _is_unchanged(known: _Known | None, file: UploadedFile, upload: Upload) -> bool:
    """A file that waits to be read with another password than the one given now is not: that one may be wrong."""
    current = known.find_current() if known is not None else None
    password = upload.find_password(file)
    return (
        current is not None
        and current["sha256"] == file.sha256
        and current["state"] != VersionState.FAILED
        and current["metadata"] == dict(upload.metadata)
        and (current["state"] != VersionState.STAGED or password in (None, current["secret"]))
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class _Recorded:
    """What one file adds to the tables, and what its sender is told."""

    answer: dict[str, str]
    document: dict[str, Any] | None  # a new row
    version: dict[str, Any] | None  # none for what is unchanged
    shown: str | None = None  # a hidden document: whoever sends it again wants to see what becomes of it


def _describe_file(upload: Upload, file: UploadedFile, known: _Known | None, job_id: str) -> _Recorded:
    document_id = uuid.uuid4().hex if known is None else known.document_id
    row = {"id": document_id, "kb_id": upload.kb_id, "path": file.path, "created_at": datetime.now(UTC), "failures": 0}
    unchanged = _is_unchanged(known, file, upload)
    content = {"sha256": file.sha256, "size": file.size, "media_type": file.media_type}
    number = 1 if known is None else known.number + 1
    said = {"metadata": dict(upload.metadata), "secret": upload.find_password(file)}
    version = _describe_version(document_id, number, job_id, {**content, **said})
    status = "unchanged" if unchanged else "pending"
    return _Recorded(
        answer={"id": document_id, "path": file.path, "sha256": file.sha256, "status": status},
        document=row if known is None else None,
        version=None if unchanged else version,
        shown=document_id if known is not None and known.hidden else None,
    )


def _write(connection: Connection, recorded: Sequence[_Recorded]) -> None:
    """Table by table, all rows together: ten thousand single statements would hold the write lock for seconds."""
    if documents := [one.document for one in recorded if one.document is not None]:
        connection.execute(insert(t.document), documents)
    if versions := [one.version for one in recorded if one.version is not None]:
        connection.execute(insert(t.version), versions)
    for document_id in (one.shown for one in recorded if one.shown is not None):
        connection.execute(update(t.document).where(t.document.c.id == document_id).values(removed_revision=None))


def _describe_version(document_id: str, number: int, job_id: str, content: dict[str, Any]) -> dict[str, Any]:
    now = datetime.now(UTC)
    fixed = {"chunk_count": 0, "state": VersionState.STAGED, "created_at": now, "updated_at": now}
    return {"document_id": document_id, "number": number, "job_id": job_id, **content, **fixed}
