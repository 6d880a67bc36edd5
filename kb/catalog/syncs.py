"""The one publish at the end of a sync, and what stands between staging and it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, delete, exists, func, select, update

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import Progress, check_fence, report_progress
from kb.catalog.pauses import find_pause
from kb.catalog.publishing import Publication, list_ready
from kb.catalog.purge import delete_versions
from kb.catalog.revisions import Opening, RevisionDraft, write_revision
from kb.catalog.source_pages import find_same, settle_pages
from kb.catalog.staging import fail_versions, list_staged_versions
from kb.errors import DocumentFailed
from kb.types import GateReport, Job, RevisionKind, StagedVersion, SyncChange, VersionState

SETTLED: dict[str, object] = {"failures": 0, "retry_at": None, "missed": 0, "missed_at": None, "miss_code": None}


@dataclass(frozen=True, kw_only=True, slots=True)
class Effects:
    """Version ids that publishing now would open and close: what the gate is asked about."""

    opened: Sequence[int]
    closed: Sequence[int]


class Syncs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_unfinished(self, job: Job, space_id: int, limit: int, after: int = 0) -> list[StagedVersion]:
        """Staged versions of the job that lack chunks or vectors in the space, oldest first."""
        chosen = (t.version.c.job_id == job.id) & ~_is_whole(space_id)
        with self._database.read() as connection:
            return list_staged_versions(connection, chosen, limit, after)

    def count_whole(self, job: Job, space_id: int) -> int:
        """Staged versions of the job that lack nothing."""
        query = (
            select(func.count())
            .select_from(t.version)
            .where(t.version.c.job_id == job.id, t.version.c.state == VersionState.STAGED, _is_whole(space_id))
        )
        with self._database.read() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    def fail(self, job: Job, failures: Mapping[int, DocumentFailed], progress: Progress, now: datetime) -> None:
        """Record what cannot be indexed, each once: its old version goes on answering, the same bytes are tried again
        after 1, 2, 4 and then every 8 nights. Raises StaleLease."""
        if not failures:
            return
        with self._database.write() as connection:
            report_progress(connection, job, progress)
            fail_versions(connection, failures)
            of = select(t.version.c.document_id).where(t.version.c.id.in_(list(failures)))
            rows = connection.execute(select(t.document.c.id, t.document.c.failures).where(t.document.c.id.in_(of)))
            for row in rows.all():
                values = {"failures": row.failures + 1, "retry_at": now + find_pause(row.failures + 1)}
                connection.execute(update(t.document).where(t.document.c.id == row.id).values(values))

    def find_effects(self, job: Job, space_id: int, removed: Sequence[str]) -> Effects:
        with self._database.read() as connection:
            opened, closed = _find_effects(connection, job, space_id, removed)
        return Effects(opened=[one.version_id for one in opened], closed=list(closed))

    def publish(self, job: Job, space_id: int, change: SyncChange, gate: GateReport | None) -> Publication:
        """Everything at once: one revision, or none (0) when nothing that answers changes. Raises StaleLease."""
        with self._database.write() as connection:
            check_fence(connection, job)
            opened, closed = _find_effects(connection, job, space_id, change.removed)
            draft = RevisionDraft(
                kb_id=job.kb_id or "",
                space_id=space_id,
                kind=RevisionKind.SYNC,
                job_id=job.id,
                opened=opened,
                closed=closed,
                gate=None if gate is None else gate.describe(),
            )
            revision = write_revision(connection, draft) if opened or closed else 0
            _settle_documents(connection, [one.document_id for one in opened], change)
            if change.pages is not None:
                for batch in _in_batches(settle_pages(connection, job, change.source_id, change.pages)):
                    _drop_failed(connection, batch)
            check_fence(connection, job, {"stage": "done", "result": {**change.result, "revision": revision or None}})
            crash.reach("publish.pre_commit")
        crash.reach("publish.post_commit")
        return Publication(revision=revision, published=[one.version_id for one in opened], skipped=[])


def _is_whole(space_id: int) -> ColumnElement[bool]:
    """All chunks of a version are written in one transaction: where there is one, there are all."""
    own = (t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id)
    has_vector = exists().where(t.vector.c.space_id == space_id, t.vector.c.input_sha == t.chunk.c.input_sha)
    return exists().where(*own) & ~exists().where(*own, ~has_vector)


def _list_open(connection: Connection, document_ids: Sequence[str]) -> dict[int, str]:
    """Open version → document."""
    found: dict[int, str] = {}
    publication = t.publication.c
    for batch in _in_batches(document_ids):
        is_open = (publication.document_id.in_(batch), publication.until_revision.is_(None))
        rows = connection.execute(select(publication.version_id, publication.document_id).where(*is_open))
        found.update((row.version_id, row.document_id) for row in rows)
    return found


def _find_effects(
    connection: Connection, job: Job, space_id: int, removed: Sequence[str]
) -> tuple[list[Opening], dict[int, str]]:
    """What becomes visible, and the versions (with their documents) that no longer are. A page that says what it said
    is neither."""
    same = find_same(connection, job)
    chosen = list_ready(connection, job.kb_id or "", space_id, t.version.c.job_id == job.id)
    ready: Sequence[RowMapping] = [row for row in chosen if row["id"] not in same]
    opened = [Opening(version_id=row["id"], document_id=row["document_id"]) for row in ready]
    closed = {row["open_id"]: row["document_id"] for row in ready if row["open_id"] is not None}
    return opened, closed | _list_open(connection, removed)


def _settle_documents(connection: Connection, published: Sequence[str], change: SyncChange) -> None:
    for batch in _in_batches(published):
        document = t.document.c
        chosen = document.id.in_(batch) & ((document.failures > 0) | document.miss_code.is_not(None))
        connection.execute(update(t.document).where(chosen).values(SETTLED))
    _keep_stats(connection, change.touched)
    for batch in _in_batches(list(change.touched)):
        _drop_failed(connection, batch)
    for batch in _in_batches(change.removed):
        _forget_never_live(connection, batch)
    # A user who changed the source meanwhile asked for another listing than this run saw.
    seen = (t.source.c.id == change.source_id, t.source.c.updated_at == change.seen_at)
    connection.execute(update(t.source).where(*seen).values(listing_sha=change.listing_sha))


def _keep_stats(connection: Connection, touched: Mapping[str, str]) -> None:
    open_versions = _list_open(connection, list(touched))
    if open_versions:
        rows = [{"key": version, "seen": touched[document]} for version, document in open_versions.items()]
        keep = update(t.version).where(t.version.c.id == bindparam("key")).values(stat=bindparam("seen"))
        connection.execute(keep, rows)


def _drop_failed(connection: Connection, document_ids: Sequence[str]) -> None:
    """The bytes that answer are back in the file: what failed meanwhile is not its state any more."""
    failed = (t.version.c.document_id.in_(document_ids), t.version.c.state == VersionState.FAILED)
    delete_versions(connection, connection.execute(select(t.version.c.id).where(*failed)).scalars().all())
    connection.execute(update(t.document).where(t.document.c.id.in_(document_ids)).values(SETTLED))


def _forget_never_live(connection: Connection, document_ids: Sequence[str]) -> None:
    """A file that never could be read and is gone leaves nothing to keep."""
    published = exists().where(t.publication.c.document_id == t.document.c.id)
    never = select(t.document.c.id).where(t.document.c.id.in_(document_ids), ~published)
    gone = connection.execute(never).scalars().all()
    versions = connection.execute(select(t.version.c.id).where(t.version.c.document_id.in_(gone))).scalars().all()
    delete_versions(connection, versions)
    connection.execute(delete(t.document).where(t.document.c.id.in_(gone)))


def _in_batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[first : first + 500] for first in range(0, len(ids), 500)]
