"""Restoring revision n: one more revision at which exactly those versions answer that answered at n.

What a user has deleted since stays deleted. What was purged by retention cannot come back: then nothing is restored.
Versions that have no chunks in the space that is live now are indexed first, see `ingest/restore.py`; what comes and
what goes is found out anew inside the transaction that publishes, since uploads and deletes go on meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection, func, select, update

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.history import fetch_revision
from kb.catalog.jobs import LIVE, NewJob, enqueue_job
from kb.catalog.leases import check_fence
from kb.catalog.ledger import read_ledger
from kb.catalog.revisions import Opening, RevisionDraft, write_revision
from kb.catalog.spaces import read_headings
from kb.errors import Conflict, Gone
from kb.types import Heading, Job, JobKind, Lane, Page, RevisionKind, SpaceState

IDS_A_STATEMENT = 500
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class RestorePlan:
    """What has to come and to go so that a revision answers again."""

    opened: Sequence[Opening]
    closed: Mapping[int, str]  # version id → document id

    def count(self) -> dict[str, int]:
        """Documents added, changed and removed."""
        came = {opening.document_id for opening in self.opened}
        went = set(self.closed.values())
        return {"added": len(came - went), "changed": len(came & went), "removed": len(went - came)}


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredText:
    """A version whose text is kept under `text_sha`, and what reading it told."""

    version_id: int
    text_sha: str
    title: str | None
    language: str | None
    encoding: str | None
    pages: Sequence[Page]
    headings: Sequence[Heading]


class Restores:
    def __init__(self, database: Database) -> None:
        self._database = database

    def start(self, kb_id: str, number: int, *, gate: bool = True) -> str:
        """The id of the job that restores the revision; the same one while it lives.

        Raises NotFound (`revision_not_found`), Gone (`revision_gone`), Conflict (`restore_running`) while another
        revision is being restored.
        """
        plan = self.plan(kb_id, number)
        wanted = {"revision": number, "gate": gate}
        key = f"restore:{kb_id}"
        with self._database.write() as connection:
            running = select(t.job.c.id, t.job.c.params).where(t.job.c.dedupe_key == key, t.job.c.state.in_(LIVE))
            found = connection.execute(running).one_or_none()
            if found is not None and found.params == wanted:
                return str(found.id)
            if found is not None:
                reason = f"job {found.id} restores revision {found.params['revision']}; wait for it or cancel it"
                raise Conflict("restore_running", reason)
            # With another space live since, every text may have to be embedded again: no upload should wait for that.
            lane = Lane.INTERACTIVE if _has_live_space(connection, kb_id, number) else Lane.BULK
            total = len(plan.opened)
            new = NewJob(kind=JobKind.RESTORE, lane=lane, kb_id=kb_id, total=total, dedupe_key=key, params=wanted)
            return enqueue_job(connection, new)

    def plan(self, kb_id: str, number: int) -> RestorePlan:
        """Raises NotFound (`revision_not_found`), Gone (`revision_gone`)."""
        with self._database.read() as connection:
            return _plan(connection, kb_id, number)

    def list_unindexed(self, plan: RestorePlan, space_id: int) -> list[int]:
        """Ids of the versions to open that lack chunks or vectors in the space."""
        with self._database.read() as connection:
            counted = _count_indexed(connection, space_id, plan.opened)
        return [o.version_id for o in plan.opened if not _is_whole(counted.get(o.version_id))]

    def list_texts(self, version_ids: Sequence[int]) -> list[StoredText]:
        """Versions purged meanwhile are left out."""
        found: list[StoredText] = []
        with self._database.read() as connection:
            for batch in _in_batches(version_ids):
                rows = connection.execute(select(t.version).where(t.version.c.id.in_(batch))).mappings()
                found += [
                    StoredText(
                        version_id=row["id"],
                        text_sha=row["text_sha"],
                        title=row["title"],
                        language=row["language"],
                        encoding=row["encoding"],
                        pages=read_ledger(row["ledger"]),
                        headings=read_headings(row["headings"]),
                    )
                    for row in rows
                ]
        return found

    def publish(self, job: Job, space_id: int, gate: Mapping[str, Any] | None) -> dict[str, Any] | None:
        """Publish the revision that the job restores; what came of it, which is written into the job as well.

        None, and nothing was changed, when the space is no longer live or a version lacks something there: index
        again. Raises StaleLease, NotFound (`revision_not_found`), Gone (`revision_gone`).
        """
        kb_id, number = job.kb_id or "", int(job.params["revision"])
        with self._database.write() as connection:
            check_fence(connection, job)
            plan = _plan(connection, kb_id, number)
            counted = _count_indexed(connection, space_id, plan.opened)
            whole = all(_is_whole(counted.get(opening.version_id)) for opening in plan.opened)
            if not (whole and _is_live(connection, kb_id, space_id)):
                return None
            revision = _write(connection, job, space_id, plan, gate) if plan.opened or plan.closed else None
            for version_id, (chunks, _) in counted.items():
                connection.execute(update(t.version).where(t.version.c.id == version_id).values(chunk_count=chunks))
            _forget_listings(connection, {*plan.closed.values(), *(o.document_id for o in plan.opened)})
            result = {"restored": number, "revision": revision, **plan.count(), "gate": gate}
            done = len(plan.opened)
            check_fence(connection, job, {"stage": "done", "done": done, "total": done, "result": result})
            crash.reach("publish.pre_commit")
        crash.reach("publish.post_commit")
        return result


def _plan(connection: Connection, kb_id: str, number: int) -> RestorePlan:
    if not fetch_revision(connection, kb_id, number).restorable:
        reason = (
            f"revision {number} cannot be restored: something that answered then is no longer kept; KB_RETENTION_DAYS "
            "and KB_RETENTION_REVISIONS say for how long it is"
        )
        raise Gone("revision_gone", reason)
    publication = t.publication.c
    of_kb = (
        select(publication.version_id, publication.document_id)
        .join(t.document, t.document.c.id == publication.document_id)
        .where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None))
        .order_by(publication.version_id)
    )
    until = publication.until_revision
    then = connection.execute(of_kb.where(publication.since_revision <= number, until.is_(None) | (until > number)))
    target = {row.version_id: row.document_id for row in then}
    now = {row.version_id: row.document_id for row in connection.execute(of_kb.where(until.is_(None)))}
    return RestorePlan(
        opened=[Opening(version_id=v, document_id=d) for v, d in target.items() if v not in now],
        closed={v: d for v, d in now.items() if v not in target},
    )


def _write(connection: Connection, job: Job, space_id: int, plan: RestorePlan, gate: Mapping[str, Any] | None) -> int:
    draft = RevisionDraft(
        kb_id=job.kb_id or "",
        space_id=space_id,
        kind=RevisionKind.RESTORE,
        job_id=job.id,
        opened=plan.opened,
        closed=plan.closed,
        gate=gate,
    )
    return write_revision(connection, draft)


def _count_indexed(connection: Connection, space_id: int, opened: Sequence[Opening]) -> dict[int, tuple[int, int]]:
    """Version id → its chunks in the space, and how many of them have a vector."""
    has_vector = (t.vector.c.space_id == t.chunk.c.space_id) & (t.vector.c.input_sha == t.chunk.c.input_sha)
    chunks = t.chunk.outerjoin(t.vector, has_vector)
    query = (
        select(t.chunk.c.version_id, func.count(), func.count(t.vector.c.input_sha))
        .select_from(chunks)
        .where(t.chunk.c.space_id == space_id)
        .group_by(t.chunk.c.version_id)
    )
    counted: dict[int, tuple[int, int]] = {}
    for batch in _in_batches([opening.version_id for opening in opened]):
        rows = connection.execute(query.where(t.chunk.c.version_id.in_(batch))).all()
        counted.update((version_id, (count, vectors)) for version_id, count, vectors in rows)
    return counted


def _is_whole(counted: tuple[int, int] | None) -> bool:
    """All chunks of a version are written in one transaction: where there is one, there are all."""
    return counted is not None and counted[0] == counted[1]


def _is_live(connection: Connection, kb_id: str, space_id: int) -> bool:
    live = (t.space.c.id == space_id, t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
    return connection.execute(select(t.space.c.id).where(*live)).first() is not None


def _has_live_space(connection: Connection, kb_id: str, number: int) -> bool:
    then = (t.revision.c.kb_id == kb_id, t.revision.c.number == number)
    space_id = connection.execute(select(t.revision.c.space_id).where(*then)).scalar_one()
    return _is_live(connection, kb_id, space_id)


def _forget_listings(connection: Connection, document_ids: set[str]) -> None:
    """The next sync of the sources that the documents are of compares every file again."""
    for batch in _in_batches(sorted(document_ids)):
        sources = select(t.document.c.source_id).where(t.document.c.id.in_(batch))
        connection.execute(update(t.source).where(t.source.c.id.in_(sources)).values(listing_sha=None))


def _in_batches(ids: Sequence[T]) -> Iterator[Sequence[T]]:
    return (ids[first : first + IDS_A_STATEMENT] for first in range(0, len(ids), IDS_A_STATEMENT))
