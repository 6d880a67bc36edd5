"""The scheduler over a real catalog with a clock that is handed in: nights missed, repeated, skipped and set back."""

import logging
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from threading import Barrier, Event, Thread
from zoneinfo import ZoneInfo

import pytest
from fakes.store import Store, new_store

from ingest.sources.cron import find_next
from ingest.sources.schedule import Scheduler
from kb.catalog.catalog import Catalog
from kb.catalog.database import Database
from kb.catalog.sources import NewSource, Sources
from kb.errors import Unavailable
from kb.types import JobState, Source, SourceKind

SHANGHAI, BERLIN, NEW_YORK = "Asia/Shanghai", "Europe/Berlin", "America/New_York"
NIGHT = "30 2 * * *"


class Clock:
    """Shows what it was set to."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def set(self, zone: str, *numbers: int, fold: int = 0) -> None:
        self.now = datetime(*numbers, tzinfo=ZoneInfo(zone), fold=fold).astimezone(UTC)  # type: ignore[arg-type,misc]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


class Night:
    """One source with a schedule and a scheduler that watches it; each sync is over as soon as it was counted."""

    def __init__(self, store: Store, zone: str, *made: int, schedule: str = NIGHT) -> None:
        self.store = store
        self.zone = zone
        self.clock = Clock(datetime.now(UTC))
        self.clock.set(zone, *made)
        self.source = add_source(store, self.clock.now, schedule=schedule, timezone=zone)
        self.scheduler = Scheduler(store.catalog.sources, self.clock)

    def at(self, *numbers: int, fold: int = 0) -> int:
        """How many syncs a look at that time of the wall clock starts."""
        self.clock.set(self.zone, *numbers, fold=fold)
        started = self.scheduler.tick()
        for _ in started:
            self.store.catalog.jobs.finish(self.store.claim(), JobState.SUCCEEDED)
        return len(started)

    @property
    def next_run(self) -> str:
        found = self.store.catalog.sources.get(self.source.id).next_run
        assert found is not None
        return found.astimezone(ZoneInfo(self.zone)).strftime("%Y-%m-%d %H:%M")

    def watch(self, start: datetime, hours: float, step: timedelta = timedelta(minutes=5)) -> list[str]:
        """Look every few minutes for some hours of real time: what the wall clock showed when a sync was started."""
        shown, now = [], start.astimezone(UTC)
        end = now + timedelta(hours=hours)
        while now < end:
            local = now.astimezone(ZoneInfo(self.zone))
            if self.at(*local.timetuple()[:6], fold=local.fold):
                shown.append(local.strftime("%d %H:%M %Z"))
            now += step
        return shown


def add_source(store: Store, now: datetime, name: str = "docs", schedule: str = NIGHT, timezone: str = "UTC") -> Source:
    new = NewSource(
        kb_id=store.kb.id,
        name=name,
        kind=SourceKind.FOLDER,
        uri="/srv/docs",
        schedule=schedule,
        timezone=timezone,
        next_run=find_next(schedule, timezone, now),
    )
    return store.catalog.sources.create(new)


# -- nights -------------------------------------------------------------------------------------------------------


def test_a_night_is_run_when_it_comes_and_once(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    assert night.at(2025, 3, 2, 2, 29, 59) == 0
    assert night.at(2025, 3, 2, 2, 30) == 1
    assert night.at(2025, 3, 2, 2, 30, 5) == 0
    assert night.next_run == "2025-03-03 02:30"
    assert night.store.catalog.sources.get(night.source.id).last_due == night.clock.now - timedelta(seconds=5)


def test_missed_nights_are_run_once_after_the_start(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    assert night.at(2025, 3, 9, 9) == 1
    assert night.at(2025, 3, 9, 9, 0, 5) == 0
    assert night.next_run == "2025-03-10 02:30"


@pytest.mark.parametrize(
    ("zone", "start", "shown"),
    [
        (BERLIN, (2025, 3, 29, 12), ["30 03:00 CEST", "31 02:30 CEST"]),
        (NEW_YORK, (2025, 3, 8, 12), ["09 03:00 EDT", "10 02:30 EDT"]),
        (SHANGHAI, (2025, 3, 29, 12), ["30 02:30 CST", "31 02:30 CST"]),
        (BERLIN, (2025, 10, 25, 12), ["26 02:30 CEST", "27 02:30 CET"]),
        (NEW_YORK, (2025, 11, 1, 12), ["02 02:30 EST", "03 02:30 EST"]),
    ],
)
def test_nights_in_which_clocks_change(store: Store, zone: str, start: tuple[int, ...], shown: list[str]) -> None:
    night = Night(store, zone, *start)
    assert night.watch(night.clock.now, 46) == shown


def test_a_time_that_comes_twice_is_run_once_though_the_server_was_started_in_between(store: Store) -> None:
    night = Night(store, NEW_YORK, 2025, 11, 1, 12, schedule="30 1 * * *")
    assert night.at(2025, 11, 2, 1, 45) == 1  # the first 01:45
    assert night.at(2025, 11, 2, 1, 30, fold=1) == 0
    assert night.at(2025, 11, 2, 1, 45, fold=1) == 0
    assert night.next_run == "2025-11-03 01:30"


# -- clocks that jump ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("back", [timedelta(seconds=10), timedelta(hours=1), timedelta(hours=23)])
def test_a_clock_set_back_by_less_than_a_day_runs_no_moment_twice(store: Store, back: timedelta) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    assert night.at(2025, 3, 2, 2, 30, 5) == 1
    assert night.watch(night.clock.now - back, back / timedelta(hours=1) + 1) == []
    assert night.next_run == "2025-03-03 02:30"


def test_a_missed_night_that_was_made_up_is_not_run_again_by_a_clock_set_back(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    assert night.at(2025, 3, 9, 4) == 1
    assert night.at(2025, 3, 9, 1) == 0
    assert night.next_run == "2025-03-10 02:30"
    assert night.at(2025, 3, 9, 2, 30) == 0


def test_a_clock_that_was_years_ahead_does_not_stall_the_nights(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    assert night.at(2035, 6, 1, 12) == 1
    assert night.next_run == "2035-06-02 02:30"
    assert night.at(2025, 3, 1, 12, 5) == 0
    assert night.next_run == "2025-03-02 02:30"
    assert night.at(2025, 3, 2, 2, 30) == 1
    assert night.at(2025, 3, 2, 2, 29) == 0  # what was run by the right clock is remembered again
    assert night.next_run == "2025-03-03 02:30"


def test_a_source_made_by_a_wrong_clock_waits_for_no_other_year(store: Store) -> None:
    night = Night(store, SHANGHAI, 2035, 1, 1, 12)
    assert night.at(2025, 3, 1, 12) == 0
    assert night.next_run == "2025-03-02 02:30"


def test_a_clock_set_forward_runs_once(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12, schedule="*/10 * * * *")
    assert night.at(2025, 3, 1, 12, 10) == 1
    assert night.at(2025, 3, 1, 22) == 1
    assert night.at(2025, 3, 1, 22, 0, 5) == 0


# -- several schedulers -------------------------------------------------------------------------------------------


def test_two_schedulers_start_one_job_a_night(store: Store) -> None:
    """Sixteen looks at once, through two connections pools as two processes have them, on each of five nights."""
    clock = Clock(datetime(2025, 3, 1, 12, tzinfo=UTC))
    sources = [add_source(store, clock.now, name) for name in ("a", "b", "c")]
    second = Database(store.catalog.database.engine.url.render_as_string(hide_password=False))
    schedulers = [Scheduler(store.catalog.sources, clock), Scheduler(Sources(second), clock)] * 8
    start = Barrier(len(schedulers))

    def look(scheduler: Scheduler) -> None:
        start.wait()
        scheduler.tick()

    for night in range(1, 6):
        clock.now = datetime(2025, 3, 1 + night, 2, 30, 1, tzinfo=UTC)
        threads = [Thread(target=look, args=(scheduler,)) for scheduler in schedulers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert store.count("job") == night * len(sources)
        for _ in sources:
            store.catalog.jobs.finish(store.claim(), JobState.SUCCEEDED)
    second.close()


def test_while_a_sync_is_under_way_no_other_is_started(store: Store) -> None:
    night = Night(store, SHANGHAI, 2025, 3, 1, 12)
    asked = store.catalog.sources.request_sync(night.source.id)
    assert night.at(2025, 3, 2, 2, 30) == 0
    assert night.next_run == "2025-03-03 02:30"
    assert [row["id"] for row in store.query("SELECT id FROM job")] == [asked]


# -- faults -------------------------------------------------------------------------------------------------------


class FaultySources(Sources):
    """Raises what stands in `faults`, one for each look, before it answers."""

    def __init__(self, catalog: Catalog, faults: list[Exception]) -> None:
        super().__init__(catalog.database)
        self.faults = faults

    def list_scheduled(self) -> list[Source]:
        if self.faults:
            raise self.faults.pop(0)
        return super().list_scheduled()


def run_until(scheduler: Scheduler, is_done: Callable[[], bool]) -> None:
    stop, patience = Event(), Event()
    thread = Thread(target=scheduler.run, args=(stop, 0.001))
    thread.start()
    while not is_done() and thread.is_alive():
        patience.wait(0.001)
    stop.set()
    thread.join()


def test_it_goes_on_after_a_database_that_does_not_answer_and_after_what_nobody_foresaw(
    store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock(datetime(2025, 3, 1, 12, tzinfo=UTC))
    add_source(store, clock.now)
    clock.now += timedelta(days=1)
    down = Unavailable("database_unavailable", "it is away")
    sources = FaultySources(store.catalog, [down, down, down, RuntimeError("secret"), RuntimeError("secret")])
    with caplog.at_level(logging.WARNING):
        run_until(Scheduler(sources, clock), lambda: store.count("job") == 1)
    told = [record.getMessage() for record in caplog.records if record.name == "ingest.sources.schedule"]
    assert told[0] == "schedule.waits: database_unavailable"
    assert told[1].startswith("schedule.error: RuntimeError at ")
    assert len(told) == 2, "each fault is told once, and no exception's message"


def test_a_source_that_cannot_be_planned_costs_itself_alone(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    clock = Clock(datetime(2025, 3, 1, 12, tzinfo=UTC))
    bad, good = add_source(store, clock.now, "a"), add_source(store, clock.now, "b")
    store.execute("UPDATE source SET timezone = 'Old/Zone' WHERE id = :id", id=bad.id)
    clock.now += timedelta(days=1)
    scheduler = Scheduler(store.catalog.sources, clock)
    with caplog.at_level(logging.WARNING):
        started = scheduler.tick()
        scheduler.tick()
    assert [store.catalog.jobs.get(job_id).params for job_id in started] == [{"source_id": good.id}]
    assert len(caplog.records) == 1
    assert bad.id in caplog.text
    assert "bad_timezone" in caplog.text


def test_it_ends_when_it_is_told_to(store: Store) -> None:
    stop = Event()
    stop.set()
    Scheduler(store.catalog.sources, Clock(datetime.now(UTC))).run(stop)
