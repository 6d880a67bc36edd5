"""The life of a job: lanes, claims, fences, leases, and what a worker that lost its job may still do (nothing)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.store import Store, new_store, write_sentences

from kb.catalog.jobs import MAX_ATTEMPTS, NewJob
from kb.catalog.leases import Progress
from kb.errors import Conflict, DocumentFailed, NotFound, StaleLease
from kb.types import DocumentStatus, Job, JobKind, JobState, Lane

SEAL = JobKind.SEAL


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def enqueue(store: Store, lane: Lane = Lane.BULK, key: str | None = None) -> str | None:
    return store.catalog.jobs.enqueue(NewJob(kind=SEAL, lane=lane, kb_id=store.kb.id, dedupe_key=key, total=5))


def test_the_interactive_lane_first_then_the_order_of_arrival(store: Store) -> None:
    bulk, first, second = (
        enqueue(store),
        enqueue(store, Lane.INTERACTIVE),
        enqueue(store, Lane.INTERACTIVE),
    )
    assert [store.claim().id for _ in range(3)] == [first, second, bulk]
    assert store.catalog.jobs.claim("w", 60) is None
    assert not store.catalog.jobs.has_claimable()


def test_a_dedupe_key_is_free_again_when_the_job_has_ended(store: Store) -> None:
    first = enqueue(store, key="seal:1")
    assert enqueue(store, key="seal:1") is None
    assert enqueue(store, key="seal:2") is not None
    job = store.claim()
    assert enqueue(store, key="seal:1") is None
    store.catalog.jobs.finish(job, JobState.SUCCEEDED)
    assert enqueue(store, key="seal:1") not in (None, first)


def test_a_claim_raises_the_fence_and_keeps_the_first_start(store: Store) -> None:
    enqueue(store)
    first = store.claim()
    assert (first.state, first.fence, first.attempts, first.total) == (JobState.RUNNING, 1, 1, 5)
    store.catalog.jobs.release(first)
    second = store.claim()
    assert (second.fence, second.attempts, second.started_at) == (2, 1, first.started_at)


def test_a_job_whose_lease_ran_out_is_claimed_again(store: Store) -> None:
    enqueue(store)
    first = store.claim(lease=60)
    assert store.catalog.jobs.claim("other", 60) is None
    store.catalog.jobs.heartbeat(first, -1)  # the lease ends in the past
    assert store.catalog.jobs.has_claimable()
    second = store.claim(owner="other")
    assert (second.id, second.fence) == (first.id, 2)


def test_a_job_of_a_dead_owner_is_claimed_at_once(store: Store) -> None:
    enqueue(store)
    store.claim(owner="dead", lease=600)
    assert store.catalog.jobs.list_owners() == ["dead"]
    assert not store.catalog.jobs.has_claimable(["another"])
    assert store.catalog.jobs.has_claimable(["dead"])
    assert store.claim(owner="other", dead=["dead"]).fence == 2


def test_a_job_that_gets_nothing_done_is_given_up(store: Store) -> None:
    store.upload({"a.txt": write_sentences(1)})
    for attempt in range(1, MAX_ATTEMPTS + 1):
        assert store.claim(lease=-1).attempts == attempt
    assert store.catalog.jobs.claim("w", 60) is None
    document = store.find("a.txt")
    assert document.status is DocumentStatus.FAILED
    assert document.error is not None
    assert document.error.code == "worker_lost"
    ((_, job),) = store.catalog.jobs.list_jobs(limit=10)
    assert job.state is JobState.FAILED
    assert store.check() == set()


def test_done_work_clears_the_count_of_attempts(store: Store) -> None:
    enqueue(store)
    for done in range(1, 6):
        job = store.claim(lease=-1)
        assert job.attempts == 1
        store.catalog.jobs.report(job, Progress(stage="index", done=done, failed=0))
    job = store.claim(lease=-1)
    store.catalog.jobs.report(job, Progress(stage="index", done=5, failed=0))
    assert store.claim().attempts == 2


STALE: dict[str, Callable[[Store, Job], object]] = {
    "heartbeat": lambda s, j: s.catalog.jobs.heartbeat(j, 60),
    "report": lambda s, j: s.catalog.jobs.report(j, Progress(stage="index", done=1, failed=0)),
    "finish": lambda s, j: s.catalog.jobs.finish(j, JobState.SUCCEEDED),
    "fail": lambda s, j: s.catalog.jobs.fail(j, "x", "y"),
    "put_back": lambda s, j: s.catalog.jobs.put_back(j, "x"),
    "stage_chunks": lambda s, j: s.catalog.staging.stage_chunks(j, 1, []),
    "stage_vectors": lambda s, j: s.catalog.staging.stage_vectors(j, 1, ["ab"], np.ones((1, 512), np.float32)),
    "fail_versions": lambda s, j: s.catalog.staging.fail_versions(
        j, {1: DocumentFailed("x", "y")}, Progress(stage="index", done=1, failed=1)
    ),
    "publish": lambda s, j: s.catalog.publisher.publish(j, 1, [1], Progress(stage="index", done=1, failed=0)),
}


@pytest.mark.parametrize("name", STALE)
@pytest.mark.parametrize("loss", ["taken over", "cancelled", "released"])
def test_who_lost_the_job_writes_nothing(store: Store, name: str, loss: str) -> None:
    store.upload({"a.txt": write_sentences(1)})
    lost = store.claim(lease=-1)
    if loss == "taken over":
        store.claim(owner="other")
    elif loss == "cancelled":
        store.catalog.jobs.cancel(lost.id)
    else:
        store.catalog.jobs.release(lost)
    before = [dict(row) for table in ("job", "version") for row in store.query(f"SELECT * FROM {table}")]
    with pytest.raises(StaleLease):
        STALE[name](store, lost)
    assert [dict(row) for table in ("job", "version") for row in store.query(f"SELECT * FROM {table}")] == before
    assert (store.count("vector"), store.count("publication")) == (0, 0)


def test_a_stale_release_changes_nothing(store: Store) -> None:
    enqueue(store)
    lost = store.claim(lease=-1)
    held = store.claim(owner="other")
    store.catalog.jobs.release(lost)
    assert store.catalog.jobs.get(held.id).state is JobState.RUNNING


def test_put_back_keeps_counting(store: Store) -> None:
    enqueue(store)
    for attempt in (1, 2):
        job = store.claim()
        assert job.attempts == attempt
        store.catalog.jobs.put_back(job, "unforeseen")
    assert store.catalog.jobs.get(job.id).message == "unforeseen"


def test_a_job_put_back_with_a_pause_is_not_claimed_before(store: Store) -> None:
    enqueue(store)
    store.catalog.jobs.put_back(store.claim(), "waits", pause_seconds=600)
    assert not store.catalog.jobs.has_claimable()
    assert store.catalog.jobs.claim("other", 60) is None


def test_cancel_keeps_what_is_published_and_fails_the_rest(store: Store) -> None:
    store.index({"a.txt": write_sentences(1)})
    answer = store.upload({"a.txt": write_sentences(2), "b.txt": write_sentences(3)})
    job = store.catalog.jobs.cancel(answer["job_id"])
    assert (job.state, job.finished_at is not None) == (JobState.CANCELLED, True)
    assert [store.find(path).error for path in ("a.txt", "b.txt")] != [None, None]
    assert store.find("b.txt").error.code == "cancelled"  # type: ignore[union-attr]
    assert (store.find("a.txt").live_version, store.find("b.txt").live_version) == (1, None)
    assert store.list_visible_texts() == {"a.txt": write_sentences(1)}
    with pytest.raises(Conflict) as refused:
        store.catalog.jobs.cancel(answer["job_id"])
    assert refused.value.code == "job_ended"
    assert store.check() == set()


def test_retry_takes_up_what_failed_and_counts_right(store: Store) -> None:
    answer = store.upload({"a.txt": write_sentences(1), "b.txt": "BAD no_text", "c.txt": "BAD no_text"})
    store.run_job()
    done = store.catalog.jobs.get(answer["job_id"])
    assert (done.state, done.done, done.failed) == (JobState.SUCCEEDED, 3, 2)
    again = store.catalog.jobs.retry(answer["job_id"])
    assert (again.state, again.done, again.failed, again.finished_at) == (JobState.QUEUED, 1, 0, None)
    assert store.find("b.txt").status is DocumentStatus.PENDING
    store.run_job()
    ended = store.catalog.jobs.get(answer["job_id"])
    assert (ended.done, ended.failed, ended.total) == (3, 2, 3)


def test_retry_of_a_cancelled_job_ends_with_all_of_it_done(store: Store) -> None:
    answer = store.upload({f"{i}.txt": write_sentences(i) for i in range(6)})
    job = store.claim()
    calls = iter([False] * 5)
    assert store.pipeline.run(job, lambda: next(calls, True)) is None  # the first batch only
    assert store.catalog.jobs.get(job.id).done == 4
    store.catalog.jobs.cancel(job.id)
    assert store.catalog.jobs.retry(job.id).done == 4
    store.run_job()
    ended = store.catalog.jobs.get(answer["job_id"])
    assert (ended.state, ended.done, ended.failed) == (JobState.SUCCEEDED, 6, 0)
    assert len(store.list_visible_texts()) == 6


def test_retry_of_a_job_that_lives_or_is_replaced(store: Store) -> None:
    first = enqueue(store, key="seal:1")
    assert first is not None
    with pytest.raises(Conflict) as refused:
        store.catalog.jobs.retry(first)
    assert refused.value.code == "job_not_ended"
    store.catalog.jobs.cancel(first)
    enqueue(store, key="seal:1")
    with pytest.raises(Conflict) as refused:
        store.catalog.jobs.retry(first)
    assert refused.value.code == "job_not_ended"
    assert store.catalog.jobs.get(first).state is JobState.CANCELLED


def test_list_jobs_newest_first_in_pages_and_by_state(store: Store) -> None:
    ids = [enqueue(store) for _ in range(4)]
    store.catalog.jobs.cancel(str(ids[1]))
    page = store.catalog.jobs.list_jobs(limit=3)
    assert [job.id for _, job in page] == [ids[3], ids[2], ids[1]]
    assert [job.id for _, job in store.catalog.jobs.list_jobs(limit=3, before=page[-1][0])] == [ids[0]]
    assert [job.id for _, job in store.catalog.jobs.list_jobs(limit=9, state="cancelled")] == [ids[1]]
    assert store.catalog.jobs.list_jobs(limit=9, kb_id="another") == []


def test_no_such_job(store: Store) -> None:
    for call in (store.catalog.jobs.get, store.catalog.jobs.cancel, store.catalog.jobs.retry):
        with pytest.raises(NotFound) as refused:
            call("nobody")
        assert refused.value.code == "job_not_found"
