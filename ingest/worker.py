"""The worker: claim a job, keep its lease alive, run its handler, say how it ended. One job at a time.

Handlers come from the composition root as a map by kind, so that this package need not know what an index is.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from threading import Event, Thread
from types import TracebackType

from ingest.owner import find_dead, name_owner
from ingest.pipeline import Outcome
from kb import crash
from kb.catalog.jobs import MAX_ATTEMPTS, Jobs
from kb.errors import KbError, StaleLease, Unavailable
from kb.types import Job, JobKind, Lane

POLL_SECONDS = 0.1
HOUSEKEEPING_SECONDS = 3600.0
PAUSE_AFTER_ERROR = 1.0  # when the database does not answer
SLICE_SECONDS = 1.0  # a bulk job runs at least so long before it makes way for an interactive one
RETRY_SECONDS = 5.0  # pause before a job is tried again, four times as long each time

Handler = Callable[[Job, Callable[[], bool]], Outcome | None]

log = logging.getLogger(__name__)


class Lease:
    """Renews a job's lease from a thread of its own while the job runs; `is_lost` once another worker has it."""

    def __init__(self, jobs: Jobs, job: Job, seconds: float) -> None:
        self._jobs = jobs
        self._job = job
        self._seconds = seconds
        self._ended = Event()
        self._lost = Event()
        self._thread = Thread(target=self._renew, name="lease", daemon=True)

    def is_lost(self) -> bool:
        return self._lost.is_set()

    def __enter__(self) -> Lease:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join()

    def _renew(self) -> None:
        while not self._ended.wait(self._seconds / 3):
            try:
                self._jobs.heartbeat(self._job, self._seconds)
            except StaleLease:
                log.warning("job.lost id=%s", self._job.id)
                self._lost.set()
                return
            except Unavailable as error:  # tried again at the next beat; the fence protects what is published
                log.warning("lease.not_renewed job=%s code=%s", self._job.id, error.code)


class Slice:
    """Says when a bulk job should make way: interactive work waits, and this slice was long enough to get on.

    The job is given back and goes on where it was once the interactive lane is empty.
    """

    def __init__(self, jobs: Jobs, job: Job, seconds: float = SLICE_SECONDS) -> None:
        self._jobs = jobs
        self._bulk = job.lane is Lane.BULK
        self._seconds = seconds
        self._look_at = time.monotonic() + seconds
        self._over = False

    def is_over(self) -> bool:
        """Asks the database at most once a slice's length. Once over it stays so: a step that stops because of it must
        not be followed by another that goes on."""
        if self._bulk and not self._over and time.monotonic() >= self._look_at:
            self._look_at = time.monotonic() + self._seconds
            self._over = self._jobs.has_waiting(Lane.INTERACTIVE)
        return self._over


class Worker:
    """`housekeeping` is called when there is nothing to do, at most once an hour."""

    def __init__(
        self,
        jobs: Jobs,
        handlers: Mapping[JobKind, Handler],
        housekeeping: Callable[[], None],
        lease_seconds: float,
        retry_seconds: float = RETRY_SECONDS,
    ) -> None:
        self._jobs = jobs
        self._handlers = handlers
        self._housekeeping = housekeeping
        self._lease_seconds = lease_seconds
        self._retry_seconds = retry_seconds
        self._owner = name_owner()
        self._kept_house = float("-inf")

    def run(self, stop: Event) -> None:
        """Work until `stop` is set; a job in hand is given back at its next step."""
        while not stop.is_set():
            if not self._try_step(stop):
                stop.wait(POLL_SECONDS)

    def _try_step(self, stop: Event) -> bool:
        try:
            return self.step(stop.is_set)
        except Unavailable as error:  # the database does not answer: nothing to do but wait
            log.warning("worker.waits code=%s", error.code)
            stop.wait(PAUSE_AFTER_ERROR)
            return False

    def step(self, is_stopping: Callable[[], bool] = lambda: False) -> bool:
        """Take one job and run it; False when there was none."""
        dead = find_dead(self._jobs.list_owners())
        if not self._jobs.has_claimable(dead):
            self._keep_house()
            return False
        job = self._jobs.claim(self._owner, self._lease_seconds, dead)
        if job is None:
            return False
        crash.reach("job.claimed")
        part = Slice(self._jobs, job)
        with Lease(self._jobs, job, self._lease_seconds) as lease:
            self._run_job(job, lambda: is_stopping() or lease.is_lost() or part.is_over())
        return True

    def _run_job(self, job: Job, is_stopping: Callable[[], bool]) -> None:
        log.info("job.started id=%s kind=%s attempt=%d", job.id, job.kind, job.attempts)
        try:
            outcome = self._handlers[job.kind](job, is_stopping)
            self._end(job, outcome)
        except StaleLease:
            log.warning("job.lost id=%s", job.id)
        except Unavailable as error:  # what it needs may answer again: the disk, the database, the embedding model
            self._try_again(job, error)
        except KbError as error:
            self._fail(job, error)
        except Exception as error:  # noqa: BLE001  # the worker's boundary: one job must not take the others with it
            self._try_again(job, _describe_unforeseen(job, error))

    def _end(self, job: Job, outcome: Outcome | None) -> None:
        if outcome is None:
            self._jobs.release(job)
            return
        if outcome.code is None:
            self._jobs.finish(job, outcome.state, outcome.message, outcome.result)
        else:
            self._jobs.fail(job, outcome.code, outcome.message, outcome.result)
        log.info("job.ended id=%s state=%s code=%s", job.id, outcome.state, outcome.code)

    def _fail(self, job: Job, error: KbError) -> None:
        log.error("job.failed id=%s code=%s", job.id, error.code)
        try:
            self._jobs.fail(job, error.code, error.detail)
        except StaleLease:  # cancelled, or its knowledge base was deleted, which is often why it failed
            log.warning("job.lost id=%s", job.id)

    def _try_again(self, job: Job, error: KbError) -> None:
        """Put the job back with growing pauses; fail it with this error once it was tried often enough."""
        if job.attempts >= MAX_ATTEMPTS:
            self._fail(job, error)
            return
        pause = self._retry_seconds * 4 ** (job.attempts - 1)
        log.warning("job.put_back id=%s code=%s attempt=%d pause_s=%.0f", job.id, error.code, job.attempts, pause)
        try:
            self._jobs.put_back(job, f"{error.code}: {error.detail}; it will be tried again", pause)
        except StaleLease:
            log.warning("job.lost id=%s", job.id)

    def _keep_house(self) -> None:
        if time.monotonic() - self._kept_house >= HOUSEKEEPING_SECONDS:
            self._kept_house = time.monotonic()
            self._housekeeping()


def _describe_unforeseen(job: Job, error: Exception) -> KbError:
    """Logged by type and place: an exception's message may hold a document's text."""
    where = error.__traceback__
    while where is not None and where.tb_next is not None:
        where = where.tb_next
    place = f"{where.tb_frame.f_code.co_filename}:{where.tb_lineno}" if where else "?"
    log.error("job.error id=%s error=%s at=%s", job.id, type(error).__name__, place)
    return KbError("internal_error", f"unforeseen error in the worker ({type(error).__name__}); its log says where")
