"""What every transaction of a worker asks first: is the job still ours?"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, case, update

from kb.catalog import tables as t
from kb.errors import StaleLease
from kb.types import Job, JobState


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """`total` and `message` are left as they are when None."""

    stage: str
    done: int
    failed: int
    total: int | None = None
    message: str | None = None


def check_fence(connection: Connection, job: Job, values: dict[str, object] | None = None) -> None:
    """Update the job only while it is still ours. Raises StaleLease."""
    held = (t.job.c.id == job.id, t.job.c.fence == job.fence, t.job.c.state == JobState.RUNNING)
    statement = update(t.job).where(*held).values(**(values or {"fence": job.fence}))
    if connection.execute(statement).rowcount != 1:
        raise StaleLease(job.id)


def report_progress(connection: Connection, job: Job, progress: Progress) -> None:
    """Show progress inside the caller's transaction. Raises StaleLease."""
    values: dict[str, object] = {"stage": progress.stage, "done": progress.done, "failed": progress.failed}
    if progress.total is not None:
        values["total"] = progress.total
    if progress.message is not None:
        values["message"] = progress.message
    check_fence(
        connection, job, {**values, "attempts": case((t.job.c.done != progress.done, 0), else_=t.job.c.attempts)}
    )
