"""Restoring across a re-index: what answered in a space that is gone answers again in the one that is live."""

from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from fakes.reindexing import OTHER, Reindexing
from fakes.store import Store, new_store, write_sentences

from ingest.indexing import Indexer
from ingest.restore import RestorePipeline
from kb.catalog.spaces import GRACE
from kb.types import Job, JobState

OLD = {"a.txt": write_sentences(*range(6)), "b.txt": write_sentences(*range(10, 16))}
NEW = {"a.txt": write_sentences(*range(20, 26)), "c.txt": write_sentences(*range(30, 36))}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    """1: the old files · 2: a changed, c added · 3: b removed."""
    store = new_store(tmp_path / "store")
    store.index(OLD)
    store.execute("UPDATE version SET headings = '[[0, 9, 1, \"The quick\"]]'")
    store.index(NEW)
    store.hide("b.txt")
    yield store
    store.close()


def collect(store: Store) -> None:
    for _, space_id in store.catalog.retired_spaces.list_collectable(datetime.now(UTC) + 2 * GRACE):
        while store.catalog.retired_spaces.collect_slice(space_id):
            pass


def restore(store: Store, work: Reindexing, number: int) -> Job:
    """With whichever encoder the live space asks for."""
    job_id = store.catalog.restores.start(store.kb.id, number)
    job = store.claim()
    indexer = Indexer(store.catalog, store.blobs, store.texts, work.encoders, store.parser)
    outcome = RestorePipeline(store.catalog, store.texts, indexer, None).run(job, lambda: False)
    assert outcome is not None
    store.end(job, outcome)
    assert job.id == job_id
    return store.catalog.jobs.get(job_id)


@pytest.mark.parametrize("model", ["builtin", OTHER])
@pytest.mark.parametrize("collected", [False, True])
def test_a_revision_of_the_space_before_is_restored_into_the_live_one(
    store: Store, model: str, *, collected: bool
) -> None:
    work = Reindexing(store, chunk_tokens=48)
    work.reindex(embedding_model=model)
    assert store.check() == set()
    if collected:
        collect(store)
    read = len(store.parser.parsed)
    assert restore(store, work, 1).state is JobState.SUCCEEDED
    assert store.list_visible_texts() == OLD
    assert len(store.parser.parsed) == read
    assert store.check() == set()
    chunks = store.catalog.documents.list_chunks(store.find("b.txt").id, 100)
    assert {chunk.heading for _, chunk in chunks} == {"The quick"}
    assert store.query("SELECT DISTINCT headings FROM version WHERE id <= 2") == [
        {"headings": '[[0, 9, 1, "The quick"]]'}
    ]
    embedded = [*store.encoder.embedded, *work.other.embedded]
    for number in (3, 1):
        restore(store, work, number)
    assert [*store.encoder.embedded, *work.other.embedded] == embedded
    assert store.list_visible_texts() == OLD


def test_a_restore_while_a_space_is_built_is_taken_along(store: Store) -> None:
    work = Reindexing(store, chunk_tokens=48)
    done: list[int] = []

    def take_back() -> None:
        if not done:
            done.append(1)
            store.restore(1)
            assert store.list_visible_texts() == OLD
            store.restore(3)  # what the new space has comes again
            store.restore(1)

    work.on_seal = take_back
    assert work.reindex().state is JobState.SUCCEEDED
    assert done
    assert store.list_visible_texts() == OLD
    assert store.check() == set()
