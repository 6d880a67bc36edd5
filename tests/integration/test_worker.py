"""The worker: what it does with each end of a job, and that nothing but a kill ends it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from fakes.store import Store, new_store, write_sentences

from ingest import worker as worker_module
from ingest.owner import name_owner
from ingest.pipeline import Outcome
from ingest.worker import Handler, Lease, Slice, Worker
from kb.catalog.jobs import MAX_ATTEMPTS, NewJob
from kb.errors import DocumentFailed, Unavailable
from kb.types import Job, JobKind, JobState, Lane

ONE = write_sentences(1)


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    monkeypatch.setattr(worker_module, "PAUSE_AFTER_ERROR", 0.0)
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def make_worker(
    store: Store, handler: Handler | None = None, housekeeping: Callable[[], None] = lambda: None, lease: float = 60
) -> Worker:
    return Worker(
        store.catalog.jobs, {JobKind.UPLOAD: handler or store.pipeline.run}, housekeeping, lease, retry_seconds=0
    )


def end_of(store: Store, job_id: str) -> tuple[JobState, str]:
    job = store.catalog.jobs.get(job_id)
    return job.state, job.message


def test_a_job_is_run_to_its_end(store: Store) -> None:
    answer = store.upload({"a.txt": ONE, "b.txt": "BAD no_text"})
    worker = make_worker(store)
    assert worker.step()
    assert end_of(store, answer["job_id"]) == (JobState.SUCCEEDED, "1 of 2 documents could not be indexed")
    assert not worker.step()
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_a_running_job_says_who_has_it(store: Store) -> None:
    store.upload({"a.txt": ONE})
    owners: list[str] = []

    def look(job: Job, is_stopping: Callable[[], bool]) -> Outcome:
        owners.extend(store.catalog.jobs.list_owners())
        return Outcome(state=JobState.SUCCEEDED)

    make_worker(store, look).step()
    assert owners == [name_owner()]
    assert store.catalog.jobs.list_owners() == []


def test_a_job_that_was_told_to_stop_is_queued_again(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})
    make_worker(store).step(lambda: True)
    assert end_of(store, answer["job_id"]) == (JobState.QUEUED, "")
    make_worker(store).step()
    assert end_of(store, answer["job_id"]) == (JobState.SUCCEEDED, "")


def test_what_does_not_answer_is_tried_again_and_then_fails_the_job_with_its_code(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})
    store.encoder.down = True
    worker = make_worker(store)
    for _ in range(MAX_ATTEMPTS - 1):
        worker.step()
        state, message = end_of(store, answer["job_id"])
        assert state is JobState.QUEUED
        assert message.startswith("embedding_unavailable: ")
    worker.step()
    assert end_of(store, answer["job_id"]) == (JobState.FAILED, "the fake encoder was switched off")
    error = store.find("a.txt").error
    assert error is not None
    assert error.code == "embedding_unavailable"
    assert store.check() == set()
    store.encoder.down = False
    store.catalog.jobs.retry(answer["job_id"])
    make_worker(store).step()
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_an_unforeseen_error_is_tried_again_and_then_given_up(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    answer = store.upload({"a.txt": ONE})
    attempts: list[int] = []

    def fail(job: Job, is_stopping: Callable[[], bool]) -> Outcome:
        attempts.append(job.attempts)
        raise ZeroDivisionError("text of a document")

    worker = make_worker(store, fail)
    for _ in range(MAX_ATTEMPTS - 1):
        assert worker.step()
        assert end_of(store, answer["job_id"])[0] is JobState.QUEUED
    assert "ZeroDivisionError" in end_of(store, answer["job_id"])[1]
    assert worker.step()
    assert not worker.step()
    assert attempts == [1, 2, 3]
    assert end_of(store, answer["job_id"])[0] is JobState.FAILED
    error = store.find("a.txt").error
    assert error is not None
    assert error.code == "internal_error"
    assert "text of a document" not in caplog.text
    assert "error=ZeroDivisionError" in caplog.text
    assert store.check() == set()


def test_an_error_that_passes_costs_nothing(store: Store) -> None:
    answer = store.upload({f"{i}.txt": write_sentences(i) for i in range(6)})
    faults = iter([True, False])

    def fail_once(_: str) -> None:
        if len(store.parser.parsed) == 6 and next(faults):
            raise MemoryError

    store.parser.on_parse = fail_once
    worker = make_worker(store)
    worker.step()
    assert len(store.list_visible_texts()) == 4
    worker.step()
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.state, job.done, job.failed) == (JobState.SUCCEEDED, 6, 0)


def test_a_kind_nobody_handles_does_not_end_the_worker(store: Store) -> None:
    store.catalog.knowledge_bases.delete(store.kb.id)  # leaves a purge job
    worker = make_worker(store)
    for _ in range(MAX_ATTEMPTS):
        assert worker.step()
    assert not worker.step()


def test_a_job_cancelled_under_a_failing_handler_does_not_end_the_worker(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})

    def fail(job: Job, is_stopping: Callable[[], bool]) -> Outcome:
        store.catalog.jobs.cancel(job.id)
        raise Unavailable("embedding_unavailable", "gone")

    assert make_worker(store, fail).step()
    assert end_of(store, answer["job_id"])[0] is JobState.CANCELLED


@pytest.mark.parametrize("error", [ZeroDivisionError(), DocumentFailed("x", "y")])
def test_a_knowledge_base_deleted_under_a_failing_handler_does_not_end_the_worker(
    store: Store, error: Exception
) -> None:
    answer = store.upload({"a.txt": ONE})

    def fail(job: Job, is_stopping: Callable[[], bool]) -> Outcome:
        store.catalog.knowledge_bases.delete(store.kb.id)
        raise error

    assert make_worker(store, fail).step()
    assert end_of(store, answer["job_id"])[0] is JobState.CANCELLED


def test_a_knowledge_base_deleted_under_the_pipeline(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})
    store.parser.on_parse = lambda _: store.catalog.knowledge_bases.delete(store.kb.id)
    assert make_worker(store).step()
    assert end_of(store, answer["job_id"])[0] is JobState.CANCELLED
    assert store.check() == set()


def test_the_lease_is_renewed_while_the_job_runs(store: Store) -> None:
    store.upload({"a.txt": ONE})
    job = store.claim(lease=0.3)
    until = [row["lease_until"] for row in store.query("SELECT lease_until FROM job")]
    renewed = Event()

    class Watched(type(store.catalog.jobs)):  # type: ignore[misc]
        def heartbeat(self, job: Job, lease_seconds: float) -> None:
            super().heartbeat(job, lease_seconds)
            renewed.set()

    with Lease(Watched(store.catalog.database), job, 0.3) as lease:
        assert renewed.wait(60)
        assert not lease.is_lost()
    assert [row["lease_until"] for row in store.query("SELECT lease_until FROM job")] > until


def test_a_lost_lease_stops_the_handler(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})
    told = Event()

    def wait_for_stop(job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        store.catalog.jobs.cancel(job.id)
        for _ in range(1000):
            if is_stopping():
                told.set()
                return None
            Event().wait(0.01)
        return Outcome(state=JobState.SUCCEEDED)

    make_worker(store, wait_for_stop, lease=0.1).step()
    assert told.is_set()
    assert end_of(store, answer["job_id"])[0] is JobState.CANCELLED


def test_a_dead_workers_job_is_taken_up_at_once(store: Store) -> None:
    answer = store.upload({"a.txt": ONE})
    store.claim(owner=name_owner() + "0", lease=600)  # this process id, started at another time
    assert make_worker(store).step()
    assert end_of(store, answer["job_id"])[0] is JobState.SUCCEEDED


def test_a_living_workers_job_is_left_alone(store: Store) -> None:
    store.upload({"a.txt": ONE})
    store.claim(owner=name_owner(), lease=600)
    assert not make_worker(store).step()


def test_house_is_kept_when_there_is_nothing_to_do_and_not_every_time(store: Store) -> None:
    kept: list[int] = []
    worker = make_worker(store, housekeeping=lambda: kept.append(1))
    store.upload({"a.txt": ONE})
    worker.step()
    assert kept == []
    worker.step()
    worker.step()
    assert kept == [1]


def test_run_works_until_it_is_stopped(store: Store) -> None:
    stop = Event()
    done = Event()

    def work(job: Job, is_stopping: Callable[[], bool]) -> Outcome:
        done.set()
        return Outcome(state=JobState.SUCCEEDED)

    thread = Thread(target=make_worker(store, work).run, args=(stop,))
    thread.start()
    answer = store.upload({"a.txt": ONE})
    assert done.wait(60)
    stop.set()
    thread.join(60)
    assert not thread.is_alive()
    assert end_of(store, answer["job_id"])[0] is JobState.SUCCEEDED


def test_run_waits_out_a_database_that_does_not_answer(store: Store) -> None:
    stop = Event()
    calls: list[int] = []

    class Shaky(type(store.catalog.jobs)):  # type: ignore[misc]
        def list_owners(self) -> list[str]:
            calls.append(1)
            if len(calls) == 1:
                raise Unavailable("database_unavailable", "locked")
            stop.set()
            return []

    Worker(Shaky(store.catalog.database), {}, lambda: None, 60).run(stop)
    assert len(calls) == 2


def test_a_slice_of_a_bulk_job_is_over_once_an_upload_waits_and_stays_so(store: Store) -> None:
    """One step stops because of it; were it not over for the next step, that one would go on without the first."""
    store.catalog.jobs.enqueue(NewJob(kind=JobKind.SEAL, lane=Lane.BULK, kb_id=store.kb.id))
    part = Slice(store.catalog.jobs, store.claim(), seconds=0.0)
    assert not part.is_over()
    store.upload({"a.txt": ONE})
    assert part.is_over()
    store.claim("another")
    assert part.is_over()


def test_an_interactive_job_makes_way_for_nobody(store: Store) -> None:
    store.upload({"a.txt": ONE})
    part = Slice(store.catalog.jobs, store.claim(), seconds=0.0)
    store.upload({"b.txt": ONE})
    assert not part.is_over()
