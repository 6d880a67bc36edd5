"""A run that is killed, stopped or given away goes on where it was; brake and gate stop what must not be published."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.kills import Countdown, Death, free_the_job
from fakes.nights import NAME, Nights, count
from fakes.store import Store, new_store, write_sentences

from kb.types import Candidate, GateReport, JobState

FILES = {f"{n:03}.txt": write_sentences(n) for n in range(80)}  # more than a batch


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store, tmp_path: Path) -> Nights:
    return Nights(store=store, folder=tmp_path / "shared" / "docs")


@pytest.mark.parametrize("at", [1, 4])
def test_a_run_told_to_stop_again_and_again_gets_there_and_embeds_nothing_twice(
    nights: Nights, store: Store, at: int
) -> None:
    nights.write(FILES)
    job = nights.run(Countdown(left=at, kills=False))
    slices = 1
    while job.state is JobState.QUEUED:
        assert nights.visible() == {}
        nights.work(Countdown(left=at, kills=False))
        job = store.catalog.jobs.get(job.id)
        slices += 1
        assert slices < 200
    assert (job.state, count(job)) == (JobState.SUCCEEDED, {"added": 80})
    assert slices > 3
    assert sorted(nights.embedded()) == sorted(FILES.values())
    assert nights.visible() == nights.read()
    assert store.check() == set()


@pytest.mark.parametrize("place", ["parse", "embed"])
@pytest.mark.parametrize("at", [1, 2, 40])
def test_a_run_killed_at_any_step_is_taken_up_and_leaves_no_trace_of_the_kill(
    nights: Nights, store: Store, place: str, at: int
) -> None:
    nights.write(dict(list(FILES.items())[:50]))
    nights.run()
    before = nights.visible()
    nights.write(dict(list(FILES.items())[50:]) | {"000.txt": write_sentences(500)})
    nights.remove("001.txt")
    death = Countdown(left=at, kills=True)
    if place == "parse":
        store.parser.on_parse = death
    else:
        store.encoder.on_embed = death
    try:
        nights.run()
    except Death:
        assert nights.visible() == before
        free_the_job(store)
        nights.work()
    (job,) = [job for _, job in store.catalog.jobs.list_jobs(1)]
    assert (job.state, count(job)) == (
        JobState.SUCCEEDED, {"added": 30, "changed": 1, "removed": 1, "unchanged": 48}
    )  # fmt: skip
    assert nights.visible() == nights.read()
    assert store.check() == set()


def test_a_folder_that_changes_while_a_run_rests_is_published_as_it_is_at_the_end(nights: Nights, store: Store) -> None:
    nights.write(FILES)
    job = nights.run(Countdown(left=4, kills=False))
    assert job.state is JobState.QUEUED
    nights.write({"000.txt": write_sentences(600), "new.txt": write_sentences(601)})
    nights.remove("001.txt")
    nights.work()
    assert count(store.catalog.jobs.get(job.id)) == {"added": 80}
    assert nights.visible() == nights.read()
    assert store.count("version") == 80
    assert store.check() == set()


def test_a_worker_that_dies_behind_the_publish_leaves_the_counts(nights: Nights, store: Store) -> None:
    nights.write({"a.txt": write_sentences(1)})
    job = nights.run()
    store.execute("UPDATE job SET state = 'queued', finished_at = NULL, message = '' WHERE id = :id", id=job.id)
    nights.work()
    again = store.catalog.jobs.get(job.id)
    assert (again.state, again.result, again.message) == (JobState.SUCCEEDED, job.result, "1 added")
    assert store.count("revision") == 1


def test_a_cancelled_run_publishes_nothing(nights: Nights, store: Store) -> None:
    nights.write(FILES)
    job_id = nights.request()
    store.encoder.on_embed = lambda: store.catalog.jobs.cancel(job_id) and None
    nights.work()
    assert store.catalog.jobs.get(job_id).state is JobState.CANCELLED
    assert nights.visible() == {}
    assert store.check() == set()
    store.encoder.on_embed = lambda: None
    assert count(nights.run()) == {"added": 80}
    assert nights.visible() == nights.read()


def test_two_requests_are_one_job(nights: Nights) -> None:
    nights.write({"a.txt": write_sentences(1)})
    assert nights.request() == nights.request()
    nights.work()
    assert nights.visible() == nights.read()


# -- the gate -----------------------------------------------------------------------------------------------------


class Verdict:
    """A gate that says what the test wants and keeps what it was asked."""

    def __init__(self, *, passed: bool) -> None:
        self.passed = passed
        self.asked: list[Candidate] = []

    def judge(self, candidate: Candidate) -> GateReport | None:
        self.asked.append(candidate)
        rates = {"hit_rate_before": 1.0, "hit_rate_after": 0.5, "mrr_before": 1.0, "mrr_after": 0.5}
        return GateReport(passed=self.passed, questions=2, **rates, lost=["where is it?"])


def test_a_change_that_the_gate_refuses_is_not_seen_and_comes_again(nights: Nights, store: Store) -> None:
    nights.write({"a.txt": write_sentences(1), "b.txt": write_sentences(2)})
    nights.run()
    before = nights.visible()
    nights.write({"a.txt": write_sentences(3), "c.txt": write_sentences(4)})
    nights.remove("b.txt")
    nights.gate = Verdict(passed=False)
    job = nights.run()
    assert (job.state, job.error_code) == (JobState.FAILED, "gate_refused")
    assert job.result is not None
    assert job.result["gate"]["lost"] == ["where is it?"]
    (asked,) = nights.gate.asked
    assert (len(asked.opened), len(asked.closed)) == (2, 2)
    assert nights.visible() == before
    assert store.check() == set()
    nights.gate = Verdict(passed=True)
    job = nights.run()
    assert count(job) == {"added": 1, "changed": 1, "removed": 1}
    assert nights.visible() == nights.read()
    assert store.query("SELECT gate FROM revision ORDER BY number DESC LIMIT 1")[0]["gate"] is not None
    assert store.check() == set()


def test_nothing_to_publish_asks_no_gate(nights: Nights) -> None:
    nights.write({"a.txt": write_sentences(1)})
    nights.run()
    nights.gate = gate = Verdict(passed=False)
    nights.touch("a.txt")
    assert nights.run().state is JobState.SUCCEEDED
    assert gate.asked == []


# -- what else is there -------------------------------------------------------------------------------------------


def test_a_sync_touches_its_own_documents_alone(nights: Nights, store: Store) -> None:
    store.upload({"uploaded.txt": write_sentences(9)})
    store.run_job()
    nights.write({"a.txt": write_sentences(1)})
    nights.run()
    assert nights.visible() == nights.read() | {"uploaded.txt": write_sentences(9)}
    nights.remove("a.txt")
    nights.run(force=True)
    assert nights.visible() == {"uploaded.txt": write_sentences(9)}


def test_a_path_taken_since_the_source_was_made_fails_alone(nights: Nights, store: Store) -> None:
    store.execute("UPDATE source SET name = 'elsewhere'")
    store.upload({f"{NAME}/a.txt": write_sentences(9)})
    store.run_job()
    store.execute("UPDATE source SET name = :name", name=NAME)
    nights.write({"a.txt": write_sentences(1), "b.txt": write_sentences(2)})
    job = nights.run()
    assert count(job) == {"added": 1, "failed": 1}
    assert job.result is not None
    assert job.result["failures"][0]["code"] == "path_taken"
    assert nights.visible()[f"{NAME}/a.txt"] == write_sentences(9)
