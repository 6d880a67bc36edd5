"""The walk of one upload job, with a fake parser and the built-in encoder over a real catalog."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from ingest import indexing
from ingest.pipeline import FIRST_BATCH
from kb.catalog.staging import Staging
from kb.errors import StaleLease, Unavailable
from kb.types import DocumentStatus, JobState, TextChunk

ONE, TWO, THREE = (write_sentences(n) for n in (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def files(count: int) -> dict[str, str]:
    return {f"{i:03}.txt": write_sentences(i) for i in range(count)}


def error_of(store: Store, path: str) -> str:
    error = store.find(path).error
    assert error is not None
    return error.code


def test_a_job_indexes_what_was_uploaded(store: Store) -> None:
    answer = store.upload({**files(3), "long.txt": write_sentences(*range(10, 15))})
    outcome = store.run_job()
    assert outcome is not None
    assert (outcome.state, outcome.message) == (JobState.SUCCEEDED, "")
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.state, job.stage, job.done, job.failed) == (JobState.SUCCEEDED, "done", 4, 0)
    assert store.list_visible_texts() == {**files(3), "long.txt": write_sentences(*range(10, 15))}
    assert store.check() == set()


def test_one_bad_document_does_not_stop_the_others(store: Store) -> None:
    good = files(FIRST_BATCH + 3)
    answer = store.upload({"!.txt": "BAD damaged", **good, "zz.txt": "BAD encrypted", "empty.txt": "   "})
    outcome = store.run_job()
    assert outcome is not None
    assert outcome.state is JobState.SUCCEEDED
    assert outcome.message == "3 of 10 documents could not be indexed"
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.done, job.failed, job.total) == (10, 3, 10)
    assert [error_of(store, p) for p in ("!.txt", "zz.txt", "empty.txt")] == ["damaged", "encrypted", "no_text"]
    assert store.list_visible_texts() == good
    assert store.check() == set()


def test_a_job_without_one_good_document_has_failed(store: Store) -> None:
    answer = store.upload({"a.txt": "BAD damaged", "b.txt": "BAD no_text"})
    store.run_job()
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.state, job.done, job.failed) == (JobState.FAILED, 2, 2)
    assert job.message == "none of 2 documents could be indexed"
    assert store.catalog.feed.get_head(store.kb.id).revision == 0


def test_the_first_documents_answer_before_the_last_are_read(store: Store) -> None:
    store.upload(files(FIRST_BATCH + 2))
    visible_at: list[int] = []
    store.parser.on_parse = lambda _: visible_at.append(len(store.list_visible_texts()))
    store.run_job()
    assert visible_at[-1] == FIRST_BATCH
    assert store.catalog.feed.get_head(store.kb.id).revision == 2


def test_a_batch_is_closed_early_when_it_has_many_chunks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "GROUP_CHUNKS", 2)
    store.index(files(4))
    assert store.catalog.feed.get_head(store.kb.id).revision == 2
    assert store.list_visible_texts() == files(4)


def test_unchanged_text_in_a_new_version_is_not_embedded_again(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3, 4)})
    assert len(store.encoder.embedded) == 4
    store.index({"a.txt": write_sentences(1, 2, 9, 3, 4)})
    assert store.encoder.embedded[4:] == [write_sentences(9)]
    store.index({"b.txt": write_sentences(4, 3)})
    assert len(store.encoder.embedded) == 5
    store.index({"a.txt": write_sentences(1, 2, 3, 4)})
    assert len(store.encoder.embedded) == 5
    assert store.check() == set()


def test_equal_documents_of_one_batch_are_embedded_once(store: Store) -> None:
    store.index({"a.txt": ONE, "b.txt": ONE, "c.txt": ONE})
    assert store.encoder.embedded == [ONE]
    assert len(store.list_visible_texts()) == 3


def test_a_heading_is_embedded_with_its_chunk() -> None:
    chunk = TextChunk(ordinal=0, start=2, end=5, tokens=1, page_start=1, page_end=1, heading="Chapter > 一")
    assert indexing.write_input("xxabcxx", chunk) == "Chapter > 一\nabc"


def test_an_overtaken_version_is_given_up(store: Store) -> None:
    store.upload({"a.txt": ONE, "b.txt": TWO})
    old = store.claim()
    store.index({"a.txt": THREE})
    outcome = store.pipeline.run(old, lambda: False)
    assert outcome is not None
    store.catalog.jobs.finish(old, outcome.state, outcome.message)
    job = store.catalog.jobs.get(old.id)
    assert (job.state, job.done, job.failed) == (JobState.SUCCEEDED, 2, 1)
    assert store.list_visible_texts() == {"a.txt": THREE, "b.txt": TWO}
    codes = store.query("SELECT error_code FROM version WHERE state = 'failed'")
    assert [row["error_code"] for row in codes] == ["overtaken"]
    assert store.find("a.txt").status is DocumentStatus.READY
    assert store.check() == set()


def test_a_job_that_is_stopped_goes_on_where_it_was(store: Store) -> None:
    answer = store.upload({"!.txt": "BAD damaged", **files(9)})
    job = store.claim()
    parsed_before_stop = 7
    outcome = store.pipeline.run(job, lambda: len(store.parser.parsed) >= parsed_before_stop)
    assert outcome is None
    done = store.catalog.jobs.get(job.id)
    assert (done.state, done.failed) == (JobState.RUNNING, 1)
    assert FIRST_BATCH <= done.done < 10
    assert len(store.list_visible_texts()) == done.done - 1
    store.catalog.jobs.release(job)
    store.run_job()
    ended = store.catalog.jobs.get(answer["job_id"])
    assert (ended.state, ended.done, ended.failed) == (JobState.SUCCEEDED, 10, 1)
    assert store.list_visible_texts() == files(9)
    assert len(store.encoder.embedded) == 9
    assert len(store.parser.parsed) <= 10 + 2  # what was read ahead when it stopped is read again
    assert store.check() == set()


def test_a_stop_gives_nothing_up(store: Store) -> None:
    store.upload(files(2))
    job = store.claim()
    assert store.pipeline.run(job, lambda: True) is None
    assert [store.find(path).error for path in files(2)] == [None, None]
    assert store.count("publication") == 0


def test_what_a_killed_worker_staged_is_staged_again(store: Store) -> None:
    store.upload({"a.txt": write_sentences(1, 2)})
    dead = store.claim(lease=-1)
    store.stage(dead, 1, write_sentences(1, 2), lacking=1)
    assert store.check() == set()
    store.run_job()
    assert store.list_visible_texts() == {"a.txt": write_sentences(1, 2)}
    assert (store.count("chunk"), store.count("vector")) == (2, 2)
    assert store.check() == set()


def test_a_job_cancelled_under_way_publishes_no_more(store: Store) -> None:
    store.upload(files(FIRST_BATCH + 2))
    job = store.claim()
    reads: list[str] = []

    def cancel(text: str) -> None:
        reads.append(text)
        if len(reads) == FIRST_BATCH + 1:
            store.catalog.jobs.cancel(job.id)

    store.parser.on_parse = cancel
    with pytest.raises(StaleLease):
        store.pipeline.run(job, lambda: False)
    assert len(store.list_visible_texts()) == FIRST_BATCH
    assert store.catalog.jobs.get(job.id).state is JobState.CANCELLED
    assert store.check() == set()


def test_a_missing_model_is_said_so_and_costs_nothing_visible(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.upload({"a.txt": TWO})
    store.encoder.down = True
    job = store.claim()
    with pytest.raises(Unavailable) as refused:
        store.pipeline.run(job, lambda: False)
    assert refused.value.code == "embedding_unavailable"
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_an_equal_text_collected_under_way_is_written_again(store: Store) -> None:
    """The file was there when the pipeline looked, and is gone when the row that names it is written."""
    store.upload({"a.txt": ONE})
    job = store.claim()
    kept = store.texts.blobs.exists
    looks: list[str] = []

    def lose_first(text_sha: str) -> bool:
        looks.append(text_sha)
        if len(looks) == 1:
            store.texts.blobs.remove(text_sha)
        return kept(text_sha)

    store.catalog.staging = Staging(store.catalog.database, lose_first)
    outcome = store.pipeline.run(job, lambda: False)
    assert outcome is not None
    assert (outcome.state, len(looks)) == (JobState.SUCCEEDED, 2)
    assert store.list_visible_texts() == {"a.txt": ONE}


def test_a_document_deleted_while_it_waits_is_no_failure(store: Store) -> None:
    answer = store.upload({"a.txt": ONE, "b.txt": TWO})
    purged = store.catalog.documents.delete(store.kb.id, ids=[answer["documents"][0]["id"]])
    store.garbage.collect(purged)
    outcome = store.run_job()
    assert outcome is not None
    assert outcome.state is JobState.SUCCEEDED
    assert store.catalog.jobs.get(answer["job_id"]).failed == 0
    assert store.list_visible_texts() == {"b.txt": TWO}


def test_a_text_that_the_model_refuses_costs_its_document_alone(store: Store) -> None:
    good = files(FIRST_BATCH + 3)
    store.encoder.refused = "poison"
    answer = store.upload({"!.txt": "A poison in here.", **good, "zz.txt": f"{write_sentences(1)} poison"})
    outcome = store.run_job()
    assert outcome is not None
    assert (outcome.state, outcome.message) == (JobState.SUCCEEDED, "2 of 9 documents could not be indexed")
    assert [error_of(store, path) for path in ("!.txt", "zz.txt")] == ["embedding_refused"] * 2
    job = store.catalog.jobs.get(answer["job_id"])
    assert (job.done, job.failed) == (9, 2)
    assert store.list_visible_texts() == good
    assert store.check() == set()


def test_a_model_of_another_dimension_writes_nothing(store: Store) -> None:
    store.index({"a.txt": ONE})
    store.encoder.dimension = 64
    store.upload({"b.txt": TWO})
    with pytest.raises(Unavailable, match="dimension 64, the index was made with 512") as refused:
        store.run_job()
    assert refused.value.code == "embedding_unavailable"
    assert store.encoder.embedded == [ONE]
    assert store.list_visible_texts() == {"a.txt": ONE}
