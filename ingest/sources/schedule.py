"""The schedule: what is due is started, once, whoever looks and whatever the clock does.

Each source keeps `next_run`, the next moment its schedule names, and `last_due`, when a moment was last acted on. Once
`next_run` has come, one sync is started and `next_run` is what the schedule names after *now*: nights that were missed
while nothing ran give one sync. The two are compared and set in one transaction with the job, so any number of
schedulers may look.

A clock that goes back leaves `next_run` in the future, so no moment comes twice. Only where `next_run` is later than
what the schedule gives from now on was the clock wrong before, and it is worked out anew: from `last_due` while that is
less than a day ahead, so that what was run is not run again, else from now, so that a source does not wait for years.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Callable
from datetime import datetime, timedelta
from threading import Event

from ingest.sources.cron import find_next
from kb.catalog.sources import Sources
from kb.errors import InvalidInput, Unavailable
from kb.types import Source

TICK_SECONDS = 5.0
BELIEVED = timedelta(days=1)  # a moment of the future that was run already: the clock was set back by less than this

Clock = Callable[[], datetime]

log = logging.getLogger(__name__)


class Scheduler:
    """Any number of processes may run one over the same catalog."""

    def __init__(self, sources: Sources, clock: Clock) -> None:
        self._sources = sources
        self._clock = clock
        self._told: set[str] = set()  # faults that the log has already

    def run(self, stop: Event, pause_s: float = TICK_SECONDS) -> None:
        """Look every few seconds until `stop` is set, also while the database does not answer."""
        while not stop.is_set():
            self._try_tick()
            stop.wait(pause_s)

    def _try_tick(self) -> None:
        try:
            self.tick()
        except Unavailable as error:
            self._tell("schedule.waits", error.code)
        except Exception as error:  # noqa: BLE001  # a boundary: a fault of one night must not end all the nights after
            self._tell("schedule.error", f"{type(error).__name__} at {_find_place(error)}")
        else:
            self._told -= {"schedule.waits", "schedule.error"}

    def tick(self) -> list[str]:
        """Start what is due; the new jobs' ids. Raises Unavailable."""
        now = self._clock()
        started = (self._look_at(source, now) for source in self._sources.list_scheduled())
        return [job_id for job_id in started if job_id is not None]

    def _look_at(self, source: Source, now: datetime) -> str | None:
        try:
            return self._start_if_due(source, now)
        except InvalidInput as error:  # a time zone that this machine no longer knows
            self._tell(f"schedule.unreadable source={source.id}", error.code)
            return None

    def _start_if_due(self, source: Source, now: datetime) -> str | None:
        if source.schedule is None or source.next_run is None:
            return None
        if source.next_run <= now:
            job_id = self._sources.start_due(source, now, find_next(source.schedule, source.timezone, now))
            if job_id is not None:
                log.info("schedule.started source=%s job=%s", source.id, job_id)
            return job_id
        expected = find_next(source.schedule, source.timezone, _count_from(source, now))
        if source.next_run > expected:
            log.warning("schedule.moved source=%s: the clock went back", source.id)
            self._sources.move_next_run(source, expected)
        return None

    def _tell(self, what: str, why: str) -> None:
        """Once, until it has passed."""
        if what not in self._told:
            self._told.add(what)
            log.warning("%s: %s", what, why)


def _count_from(source: Source, now: datetime) -> datetime:
    acted = source.last_due or now
    return acted if now < acted < now + BELIEVED else now


def _find_place(error: Exception) -> str:
    at = traceback.extract_tb(error.__traceback__)[-1]
    return f"{at.filename}:{at.lineno}"
