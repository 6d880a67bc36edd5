"""Jobs: a short state machine in the database. Each transition is one statement here.

    queued ──claim──▶ running ──finish──▶ succeeded | failed
      │  ▲               │
      │  └──release──────┤ (its owner died or its lease ran out: claimed again with a higher fence)
      └──cancel──▶ cancelled ◀──cancel──┘

A worker holds a job by (id, fence). Whatever it writes for the job is written in a transaction that asks for that fence
first, so that a worker that was paused and came back can write nothing.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, case, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import Progress, check_fence, report_progress
from kb.catalog.purge import delete_chunks
from kb.errors import Conflict, NotFound
from kb.types import Job, JobKind, JobState, Lane, VersionState

MAX_ATTEMPTS = 3  # times a job may be taken up without getting anything done before it is given up
LIVE = (JobState.QUEUED, JobState.RUNNING)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewJob:
    kind: JobKind
    lane: Lane
    kb_id: str
    total: int = 0
    dedupe_key: str | None = None
    params: Mapping[str, Any] = field(default_factory=dict)


class Jobs:
    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, job_id: str) -> Job:
        """Raises NotFound (`job_not_found`)."""
        with self._database.read() as connection:
            return _fetch(connection, job_id)

    def list_jobs(self, limit: int, before: int | None = None, kb_id: str | None = None, state: str | None = None
             ) -> list[tuple[int, Job]]:  # fmt: skip
        """Newest first, each with its sequence number; `before` is the last number already seen."""
        query = select(t.job).order_by(t.job.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(t.job.c.seq < before)
        if kb_id is not None:
            query = query.where(t.job.c.kb_id == kb_id)
        if state is not None:
            query = query.where(t.job.c.state == state)
        with self._database.read() as connection:
            return [(row["seq"], _to_job(row)) for row in connection.execute(query).mappings()]

    def enqueue(self, new: NewJob) -> str | None:
        """The new job's id, or None when one with the same dedupe key is queued or running already."""
        try:
            with self._database.write() as connection:
                return enqueue_job(connection, new)
        except IntegrityError:
            return None

    def enqueue_or_find(self, new: NewJob) -> str:
        """The new job's id, or that of the queued or running job with the same dedupe key: one job for one thing."""
        with self._database.write() as connection:
            return find_live_job(connection, new.dedupe_key) or enqueue_job(connection, new)

    def has_waiting(self, lane: Lane) -> bool:
        """Whether a job of the lane is queued and due: a bulk job then gives its worker away for a while."""
        due = or_(t.job.c.lease_until.is_(None), t.job.c.lease_until < time.time())
        query = select(t.job.c.id).where(t.job.c.state == JobState.QUEUED, t.job.c.lane == lane, due).limit(1)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def has_claimable(self, dead_owners: Sequence[str] = ()) -> bool:
        """Whether `claim` would find something: a read, so that idle workers take no write lock."""
        with self._database.read() as connection:
            return _next_claimable(connection, dead_owners) is not None

    def list_owners(self) -> Sequence[str]:
        """Owners of running jobs, so that a worker on the same machine can say which of them are dead."""
        query = select(t.job.c.owner).where(t.job.c.state == JobState.RUNNING).distinct()
        with self._database.read() as connection:
            return [owner for owner in connection.execute(query).scalars() if owner]

    def claim(self, owner: str, lease_seconds: float, dead_owners: Sequence[str] = ()) -> Job | None:
        """Take the next job, interactive lane first, in order of arrival; None when there is none.

        A job that was taken up MAX_ATTEMPTS times without progress fails with what it had staged (`worker_lost`).
        """
        with self._database.write() as connection:
            while (row := _next_claimable(connection, dead_owners)) is not None:
                if row["attempts"] < MAX_ATTEMPTS:
                    return _take(connection, row, owner, lease_seconds)
                _give_up(connection, row["id"])
        return None

    def heartbeat(self, job: Job, lease_seconds: float) -> None:
        """Extend the lease. Raises StaleLease."""
        with self._database.write() as connection:
            check_fence(connection, job, {"lease_until": time.time() + lease_seconds})

    def report(self, job: Job, progress: Progress) -> None:
        """Show progress; done work clears the count of attempts. Raises StaleLease."""
        with self._database.write() as connection:
            report_progress(connection, job, progress)

    def finish(self, job: Job, state: JobState, message: str = "", result: Mapping[str, Any] | None = None) -> None:
        """Raises StaleLease."""
        said = {"stage": "done", "message": message, "result": result}
        with self._database.write() as connection:
            check_fence(connection, job, {**_ended(state), **said})

    def fail(self, job: Job, code: str, detail: str, result: Mapping[str, Any] | None = None) -> None:
        """End a job that cannot go on, with what it had still staged. Raises StaleLease."""
        with self._database.write() as connection:
            check_fence(connection, job, {"result": result})
            _end(connection, job.id, JobState.FAILED, detail, code)

    def release(self, job: Job) -> None:
        """Give the job back unfinished (the worker stops); it is queued again. A stale lease is fine."""
        held = (t.job.c.id == job.id, t.job.c.fence == job.fence, t.job.c.state == JobState.RUNNING)
        with self._database.write() as connection:
            connection.execute(
                update(t.job).where(*held).values(state=JobState.QUEUED, owner=None, lease_until=None, attempts=0)
            )

    def put_back(self, job: Job, reason: str, pause_seconds: float = 0.0) -> None:
        """Queue a job again, to be claimed after the pause; its attempts keep counting. Raises StaleLease."""
        values = {"state": JobState.QUEUED, "owner": None, "message": reason}
        with self._database.write() as connection:
            check_fence(connection, job, {**values, "lease_until": time.time() + pause_seconds})

    def cancel(self, job_id: str) -> Job:
        """What is published stays; what is not fails with `cancelled`. Raises NotFound, Conflict (`job_ended`)."""
        with self._database.write() as connection:
            job = _fetch(connection, job_id)
            if job.state not in LIVE:
                raise Conflict("job_ended", f"job {job_id} has ended already: {job.state}")
            _end(connection, job_id, JobState.CANCELLED, "cancelled on request")
            return _fetch(connection, job_id)

    def retry(self, job_id: str) -> Job:
        """Queue an ended job again with its failed versions.

        Raises NotFound, Conflict (`job_not_ended`; also when another job does the same work already).
        """
        with self._database.write() as connection:
            job = _fetch(connection, job_id)
            if job.state in LIVE:
                raise Conflict("job_not_ended", f"job {job_id} is {job.state}; only an ended job can be retried")
            failed = (t.version.c.job_id == job_id, t.version.c.state == VersionState.FAILED)
            connection.execute(
                update(t.version).where(*failed).values(state=VersionState.STAGED, error_code=None, error_detail=None)
            )
            fresh = {
                "state": JobState.QUEUED,
                "stage": "queued",
                "message": "",
                "result": None,
                "error_code": None,
                "attempts": 0,
                "finished_at": None,
                "lease_until": None,
            }
            counts = {"failed": 0, "done": job.done - job.failed}  # what was cancelled was never counted as done
            try:
                connection.execute(update(t.job).where(t.job.c.id == job_id).values(**fresh, **counts))
            except IntegrityError:  # its dedupe key
                raise Conflict("job_not_ended", f"another job does the same as {job_id} already") from None
            return _fetch(connection, job_id)


def enqueue_job(connection: Connection, new: NewJob) -> str:
    """Insert a queued job inside the caller's transaction. Raises IntegrityError on a live job of equal dedupe key."""
    job_id = uuid.uuid4().hex
    connection.execute(
        insert(t.job).values(
            id=job_id,
            kind=new.kind,
            lane=new.lane,
            kb_id=new.kb_id,
            dedupe_key=new.dedupe_key,
            params=dict(new.params),
            state=JobState.QUEUED,
            stage="queued",
            done=0,
            total=new.total,
            failed=0,
            message="",
            attempts=0,
            fence=0,
            created_at=datetime.now(UTC),
        )
    )
    return job_id


def find_live_job(connection: Connection, dedupe_key: str | None) -> str | None:
    alive = (t.job.c.dedupe_key == dedupe_key, t.job.c.state.in_(LIVE))
    return connection.execute(select(t.job.c.id).where(*alive)).scalar_one_or_none()


def cancel_jobs(connection: Connection, chosen: ColumnElement[bool], reason: str) -> None:
    """Cancel every live job that is chosen."""
    live = select(t.job.c.id).where(chosen, t.job.c.state.in_(LIVE))
    for job_id in connection.execute(live).scalars().all():
        _end(connection, job_id, JobState.CANCELLED, reason)


def _next_claimable(connection: Connection, dead_owners: Sequence[str]) -> RowMapping | None:
    lost = and_(
        t.job.c.state == JobState.RUNNING,
        or_(t.job.c.lease_until < time.time(), t.job.c.owner.in_(dead_owners)),
    )
    # A job that was put back waits until its lease is over as well.
    waiting = and_(
        t.job.c.state == JobState.QUEUED,
        or_(t.job.c.lease_until.is_(None), t.job.c.lease_until < time.time()),
    )
    lane = case((t.job.c.lane == Lane.INTERACTIVE, 0), else_=1)
    query = select(t.job).where(or_(waiting, lost)).order_by(lane, t.job.c.seq).limit(1)
    return connection.execute(query).mappings().one_or_none()


def _take(connection: Connection, row: RowMapping, owner: str, lease_seconds: float) -> Job:
    connection.execute(
        update(t.job)
        .where(t.job.c.id == row["id"])
        .values(
            state=JobState.RUNNING,
            owner=owner,
            fence=row["fence"] + 1,
            attempts=row["attempts"] + 1,
            lease_until=time.time() + lease_seconds,
            started_at=row["started_at"] or datetime.now(UTC),
        )
    )
    return _fetch(connection, row["id"])


def _give_up(connection: Connection, job_id: str) -> None:
    reason = f"its worker was lost {MAX_ATTEMPTS} times without getting anything done; retry it once the cause is found"
    _end(connection, job_id, JobState.FAILED, reason, "worker_lost")


def _end(connection: Connection, job_id: str, state: JobState, reason: str, code: str = "cancelled") -> None:
    said = {"message": reason, "error_code": code if state is JobState.FAILED else None}
    connection.execute(update(t.job).where(t.job.c.id == job_id).values(**_ended(state), **said))
    open_versions = (t.version.c.job_id == job_id, t.version.c.state == VersionState.STAGED)
    delete_chunks(connection, connection.execute(select(t.version.c.id).where(*open_versions)).scalars().all())
    failed = {"state": VersionState.FAILED, "error_code": code, "error_detail": reason, "secret": None}
    connection.execute(update(t.version).where(*open_versions).values(failed))


def _ended(state: JobState) -> dict[str, object]:
    return {"state": state, "owner": None, "lease_until": None, "finished_at": datetime.now(UTC)}


def _fetch(connection: Connection, job_id: str) -> Job:
    row = connection.execute(select(t.job).where(t.job.c.id == job_id)).mappings().one_or_none()
    if row is None:
        raise NotFound("job_not_found", f"there is no job {job_id[:64]!r}")
    return _to_job(row)


def _to_job(row: RowMapping) -> Job:
    return Job(
        id=row["id"],
        kind=JobKind(row["kind"]),
        lane=Lane(row["lane"]),
        kb_id=row["kb_id"],
        state=JobState(row["state"]),
        stage=row["stage"],
        done=row["done"],
        total=row["total"],
        failed=row["failed"],
        message=row["message"],
        attempts=row["attempts"],
        fence=row["fence"],
        created_at=row["created_at"],
        started_at=row["started_at"],
        finished_at=row["finished_at"],
        params=row["params"] or {},
        result=row["result"],
        error_code=row["error_code"],
    )
