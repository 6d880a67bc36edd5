"""Killing a run at its n-th step, giving it away there, and taking up what a dead worker left."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from fakes.store import Store

from ingest.pipeline import Outcome
from ingest.worker import Worker
from kb.types import Job, JobKind


class Death(BaseException):
    """What a kill is to the code it meets: nothing catches it."""


@dataclass(kw_only=True)
class Countdown:
    """Raises Death, or answers True, from the n-th call on; a kill comes once."""

    left: int
    kills: bool

    def __call__(self, *_: object) -> bool:
        self.left -= 1
        if self.left == 0 and self.kills:
            raise Death
        return self.left <= 0


class Sync(Protocol):
    def run(self, job: Job, is_stopping: Callable[[], bool], now: datetime) -> Outcome | None: ...


def free_the_job(store: Store) -> None:
    """What another worker does with a dead owner's job."""
    store.execute("UPDATE job SET state = 'queued', owner = NULL, lease_until = NULL WHERE state = 'running'")


def work_off(store: Store, sync: Sync, now: datetime, is_stopping: Callable[[], bool]) -> None:
    """Take up whatever sync waits, as a worker does; errors that a worker does not know come out."""

    def run_sync(job: Job, stopping: Callable[[], bool]) -> Outcome | None:
        return sync.run(job, stopping, now)

    Worker(store.catalog.jobs, {JobKind.SYNC: run_sync}, lambda: None, 60.0, retry_seconds=0.0).step(is_stopping)
