"""Jobs as the contract shows them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from kb.types import Job, JobState

ENDED = (JobState.SUCCEEDED, JobState.FAILED, JobState.CANCELLED)


@dataclass(frozen=True, kw_only=True, slots=True)
class JobAnswer:
    """`knowledge_base` is an id; `eta_s` is null while nothing is known. `code` says why a job failed, `result` what
    came of one that has ended; both may be null."""

    id: str
    kind: str
    knowledge_base: str | None
    state: str
    stage: str
    done: int
    total: int
    failed: int
    message: str
    code: str | None
    result: Mapping[str, Any] | None
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    eta_s: float | None


def show_job(job: Job, now: datetime) -> JobAnswer:
    return JobAnswer(
        id=job.id,
        kind=job.kind,
        knowledge_base=job.kb_id,
        state=job.state,
        stage=job.stage,
        done=job.done,
        total=job.total,
        failed=job.failed,
        message=job.message,
        code=job.error_code,
        result=job.result,
        created_at=job.created_at,
        started_at=job.started_at,
        finished_at=job.finished_at,
        eta_s=estimate_rest(job, now),
    )


def estimate_rest(job: Job, now: datetime) -> float | None:
    """Seconds left at the speed so far; None when the job does not run or has nothing done yet."""
    if job.state is not JobState.RUNNING or job.started_at is None or job.done <= 0 or job.total <= 0:
        return None
    passed = max(0.0, (now - job.started_at).total_seconds())
    return round(passed / job.done * max(0, job.total - job.done), 1)
