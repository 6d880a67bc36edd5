"""Jobs: what is asked of a worker."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any


class JobKind(StrEnum):
    UPLOAD = "upload"
    PURGE = "purge"
    SEAL = "seal"
    SYNC = "sync"
    REINDEX = "reindex"
    RESTORE = "restore"


class JobState(StrEnum):
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Lane(StrEnum):
    """Workers take every interactive job before the first bulk one."""

    INTERACTIVE = "interactive"
    BULK = "bulk"


@dataclass(frozen=True, kw_only=True, slots=True)
class Job:
    id: str
    kind: JobKind
    lane: Lane
    kb_id: str | None
    state: JobState
    stage: str
    done: int
    total: int
    failed: int
    message: str
    attempts: int
    fence: int
    created_at: datetime
    started_at: datetime | None
    finished_at: datetime | None
    params: Mapping[str, Any] = field(default_factory=dict)  # what was asked of it
    result: Mapping[str, Any] | None = None  # what came of it, once it has ended
    error_code: str | None = None
