"""Restoring revisions: what answered then answers again, whatever came between, and only what may."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from ingest import indexing
from kb.errors import Conflict, Gone, NotFound, StaleLease, Unavailable
from kb.types import Candidate, GateReport, JobState, Lane, RevisionKind

ONE, TWO, THREE, FOUR = (write_sentences(n) for n in (1, 2, 3, 4))
LONG = write_sentences(*range(10, 20))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """1: a, b · 2: a changed · 3: b removed · 4: c added."""
    store = new_store(tmp_path / "store")
    store.index({"a.txt": ONE, "b.txt": TWO})
    store.index({"a.txt": THREE})
    store.hide("b.txt")
    store.index({"c.txt": FOUR})
    yield store
    store.close()


def get_head(store: Store) -> int:
    return store.catalog.feed.get_head(store.kb.id).revision


@dataclass
class FakeGate:
    """Answers what it is told, and keeps what it was asked about. `on_judge` is called before it answers."""

    passed: bool = True
    asked: list[Candidate] = field(default_factory=list)
    on_judge: Callable[[], object] = lambda: None

    def judge(self, candidate: Candidate) -> GateReport:
        self.asked.append(candidate)
        self.on_judge()
        rates = {"hit_rate_before": 1.0, "hit_rate_after": 0.5, "mrr_before": 1.0, "mrr_after": 0.25}
        return GateReport(passed=self.passed, questions=2, **rates, lost=["where?"])


def test_every_revision_can_be_restored_from_every_other(store: Store) -> None:
    then = {number: store.list_visible_texts(number) for number in range(1, get_head(store) + 1)}
    embedded = len(store.encoder.embedded)
    for number in (1, 2, 3, 4, 1, 4, 2):
        before = get_head(store)
        outcome = store.restore(number)
        assert outcome.state is JobState.SUCCEEDED
        assert outcome.result is not None
        assert (outcome.result["restored"], outcome.result["revision"]) == (number, before + 1)
        assert store.list_visible_texts() == then[number]
        assert store.check() == set()
    assert len(store.encoder.embedded) == embedded
    assert {n: store.list_visible_texts(n) for n in then} == then


def test_a_restore_counts_and_names_what_it_changed(store: Store) -> None:
    result = store.restore(1).result
    assert result == {"restored": 1, "revision": 5, "added": 1, "changed": 1, "removed": 1, "gate": None}
    revision = store.catalog.history.get(store.kb.id, 5)
    assert (revision.kind, revision.added, revision.changed, revision.removed) == (RevisionKind.RESTORE, 1, 1, 1)
    paths = store.catalog.history.list_paths(store.kb.id, 5, 10)
    assert (paths.added, paths.changed, paths.removed) == (["b.txt"], ["a.txt"], ["c.txt"])
    (job,) = [job for _, job in store.catalog.jobs.list_jobs(50) if job.id == revision.job_id]
    assert (job.total, job.done, job.result) == (2, 2, result)


def test_the_head_is_there_already(store: Store) -> None:
    outcome = store.restore(4)
    assert "nothing to do" in outcome.message
    assert outcome.result is not None
    assert outcome.result["revision"] is None
    assert get_head(store) == 4


def test_what_a_user_deleted_does_not_come_back(store: Store) -> None:
    store.catalog.documents.delete(store.kb.id, path_prefix="b")  # hidden as it is
    store.catalog.documents.delete(store.kb.id, ids=[store.find("a.txt").id])
    store.index({"a.txt": FOUR})  # another document
    store.restore(1)
    assert store.list_visible_texts() == {}
    assert store.check() == set()


def test_an_upload_that_is_under_way_is_published_behind_a_restore(store: Store) -> None:
    store.upload({"a.txt": FOUR})
    upload = store.claim()
    (version,) = store.catalog.staging.list_staged(upload.id, 10)
    store.stage(upload, version.version_id, FOUR)
    store.restore(1)
    assert store.list_visible_texts() == {"a.txt": ONE, "b.txt": TWO}
    assert store.publish(upload, version.version_id).published == [version.version_id]
    assert store.list_visible_texts() == {"a.txt": FOUR, "b.txt": TWO}
    assert store.check(deep=False) == set()


@pytest.mark.parametrize("number", [0, 5, 99])
def test_a_revision_that_is_not_there(store: Store, number: int) -> None:
    with pytest.raises(NotFound, match="revision_not_found"):
        store.catalog.restores.start(store.kb.id, number)


def test_one_restore_at_a_time(store: Store) -> None:
    job_id = store.catalog.restores.start(store.kb.id, 1)
    assert store.catalog.restores.start(store.kb.id, 1) == job_id
    with pytest.raises(Conflict, match="restores revision 1"):
        store.catalog.restores.start(store.kb.id, 2)
    with pytest.raises(Conflict, match="restore_running"):
        store.catalog.restores.start(store.kb.id, 1, gate=False)
    store.run_job()
    assert store.catalog.restores.start(store.kb.id, 1) != job_id


def test_what_retention_took_cannot_be_restored(store: Store) -> None:
    job_id = store.catalog.restores.start(store.kb.id, 1)
    store.execute("UPDATE revision SET created_at = '2020-01-01 00:00:00.000000'")
    store.garbage.sweep(retention_days=7)
    with pytest.raises(Gone, match="revision_gone"):
        store.run_job()
    store.catalog.jobs.cancel(job_id)
    with pytest.raises(Gone, match="KB_RETENTION_DAYS"):
        store.catalog.restores.start(store.kb.id, 2)
    restorable = {r.number: r.restorable for r in store.catalog.history.list_revisions(store.kb.id, 50)}
    assert restorable == {1: False, 2: False, 3: True, 4: True}
    store.restore(3)
    assert store.list_visible_texts() == {"a.txt": THREE}


# -- another space is live since ------------------------------------------------------------------------------------


def swap_space(store: Store, chunk_tokens: int = 40) -> None:
    """Put an empty space in place of the live one. Nothing must answer meanwhile: it would have no chunks."""
    store.execute("UPDATE space SET state = 'retired' WHERE state = 'live'")
    store.execute(
        "INSERT INTO space (kb_id, embedding_model, fingerprint, dimension, state, chunk_tokens)"
        " SELECT kb_id, embedding_model, 'other', dimension, 'live', :n FROM space LIMIT 1",
        n=chunk_tokens,
    )


@pytest.fixture
def swapped(store: Store) -> Store:
    store.index({"long.txt": LONG})
    store.hide("a.txt", "c.txt", "long.txt")
    swap_space(store)
    return store


def read_whole(store: Store) -> dict[str, str]:
    return {path: " ".join(text.split()) for path, text in store.list_visible_texts().items()}


def test_what_the_live_space_lacks_is_indexed_from_the_stored_texts(swapped: Store) -> None:
    read, embedded = len(swapped.parser.parsed), len(swapped.encoder.embedded)
    before = swapped.find_version("long.txt")
    swapped.restore(5)
    assert read_whole(swapped) == {"a.txt": THREE, "c.txt": FOUR, "long.txt": LONG}
    assert len(swapped.parser.parsed) == read
    assert len(swapped.encoder.embedded) > embedded
    after = swapped.find_version("long.txt")
    assert 0 < after["chunk_count"] < before["chunk_count"]
    told = ("text_sha", "title", "language", "encoding", "pages", "coverage", "ledger", "headings")
    assert [before[name] for name in told] == [after[name] for name in told]
    assert swapped.check() == set()


def test_a_restore_into_another_space_makes_way_for_uploads(swapped: Store) -> None:
    job = swapped.catalog.jobs.get(swapped.catalog.restores.start(swapped.kb.id, 5))
    assert job.lane is Lane.BULK
    swapped.run_job()
    again = swapped.catalog.jobs.get(swapped.catalog.restores.start(swapped.kb.id, get_head(swapped)))
    assert again.lane is Lane.INTERACTIVE


def test_a_restore_that_is_interrupted_goes_on_where_it_was(swapped: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "GROUP_CHUNKS", 1)
    swapped.catalog.restores.start(swapped.kb.id, 5)
    head, texts = get_head(swapped), len(swapped.encoder.embedded)
    for done in (1, 2, 3):
        looks = iter([True] * 4)  # the shortest slice: one document
        assert swapped.run_job(lambda looks=looks: next(looks)) is None
        (job, *_) = [job for _, job in swapped.catalog.jobs.list_jobs(1)]
        assert (job.state, job.done, job.total) == (JobState.QUEUED, done, 3)
        assert swapped.list_visible_texts() == {}
    assert get_head(swapped) == head
    given = swapped.encoder.embedded[texts:]
    assert swapped.run_job() is not None
    assert len(given) == len(set(given)) == len(swapped.encoder.embedded[texts:])
    assert read_whole(swapped) == {"a.txt": THREE, "c.txt": FOUR, "long.txt": LONG}


def test_chunks_whose_vectors_were_not_written_are_embedded(swapped: Store) -> None:
    swapped.catalog.restores.start(swapped.kb.id, 5)
    swapped.encoder.down = True
    job = swapped.claim()
    with pytest.raises(Unavailable):
        swapped.restoring.run(job, lambda: False)
    swapped.catalog.jobs.release(job)
    swapped.encoder.down = False
    swapped.run_job()
    assert swapped.check() == set()
    assert read_whole(swapped) == {"a.txt": THREE, "c.txt": FOUR, "long.txt": LONG}


def test_a_space_that_is_swapped_meanwhile_is_filled_as_well(swapped: Store) -> None:
    gate = FakeGate()
    gate.on_judge = lambda: len(gate.asked) == 1 and swap_space(swapped, chunk_tokens=16)
    swapped.gate = gate
    swapped.restore(5)
    assert [candidate.space_id for candidate in gate.asked] == [2, 3]
    assert read_whole(swapped) == {"a.txt": THREE, "c.txt": FOUR, "long.txt": LONG}
    assert swapped.check() == set()


# -- the gate, other writers, and death -----------------------------------------------------------------------------


def test_the_gate_is_asked_about_what_comes_and_goes_and_may_refuse(store: Store) -> None:
    store.gate = gate = FakeGate(passed=False)
    outcome = store.restore(1)
    (asked,) = gate.asked
    assert (asked.space_id, set(asked.opened), set(asked.closed)) == (1, {1, 2}, {3, 4})
    assert (outcome.state, outcome.code) == (JobState.FAILED, "gate_refused")
    assert "hit rate 1.00 → 0.50" in outcome.message
    assert get_head(store) == 4
    ((_, job),) = store.catalog.jobs.list_jobs(1)
    assert (job.state, job.error_code) == (JobState.FAILED, "gate_refused")
    assert job.result is not None
    assert job.result["gate"]["lost"] == ["where?"]


def test_the_gate_may_be_left_out(store: Store) -> None:
    store.gate = gate = FakeGate(passed=False)
    store.catalog.restores.start(store.kb.id, 1, gate=False)
    store.run_job()
    assert (gate.asked, get_head(store)) == ([], 5)


def test_what_the_gate_said_stands_with_the_revision(store: Store) -> None:
    store.gate = FakeGate()
    store.restore(1)
    gate = store.catalog.history.get(store.kb.id, 5).gate
    assert gate is not None
    assert gate["hit_rate"] == {"before": 1.0, "after": 0.5}


def test_deletes_and_uploads_meanwhile_are_not_undone_in_part(store: Store) -> None:
    def meddle() -> None:
        store.catalog.documents.delete(store.kb.id, ids=[store.find("a.txt").id])
        store.index({"d.txt": write_sentences(9)})

    store.gate = FakeGate(on_judge=meddle)
    store.restore(1)
    assert store.list_visible_texts() == {"b.txt": TWO}
    assert store.check() == set()


def test_a_worker_that_died_behind_the_commit_has_restored_once(store: Store) -> None:
    store.catalog.restores.start(store.kb.id, 1)
    store.restoring.run(store.claim("worker-0"), lambda: False)
    store.index({"a.txt": FOUR})
    outcome = store.restoring.run(store.claim("worker-2", dead=["worker-0"]), lambda: False)
    assert outcome is not None
    assert outcome.result is not None
    assert outcome.result["revision"] == 5
    assert store.list_visible_texts() == {"a.txt": FOUR, "b.txt": TWO}


def test_a_worker_that_lost_its_job_restores_nothing(store: Store) -> None:
    store.catalog.restores.start(store.kb.id, 1)
    late = store.claim(lease=-1)
    store.claim("worker-2")
    with pytest.raises(StaleLease):
        store.restoring.run(late, lambda: False)
    assert get_head(store) == 4


def test_the_next_sync_compares_the_files_of_restored_documents(store: Store) -> None:
    for number, path in ((1, "b.txt"), (2, "d.txt")):
        store.execute(
            "INSERT INTO source (id, kb_id, name, kind, uri, include, exclude, timezone, listing_sha, created_at,"
            " updated_at) SELECT :id, kb_id, :id, 'folder', '/x', '[]', '[]', 'UTC', 'seen', created_at, created_at"
            " FROM document LIMIT 1",
            id=f"s{number}",
        )
        store.execute("UPDATE document SET source_id = :id WHERE path = :path", id=f"s{number}", path=path)
    store.restore(1)
    seen = {row["id"]: row["listing_sha"] for row in store.query("SELECT id, listing_sha FROM source")}
    assert seen == {"s1": None, "s2": "seen"}
