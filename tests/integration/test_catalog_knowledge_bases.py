"""Knowledge bases: names, and what deleting one takes with it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.store import Store, new_kb, new_store, write_sentences

from kb.catalog import purge
from kb.errors import Conflict, NotFound
from kb.types import JobKind, JobState, Lane

ONE, TWO, THREE = (write_sentences(n) for n in (1, 2, 3))
TABLES = ("knowledge_base", "space", "document", "version", "publication", "revision", "chunk", "vector", "change_log")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def test_create_and_find_by_name_and_id(store: Store) -> None:
    made = store.add_kb("合同")
    assert (made.revision, made.documents, made.chunks, made.dimension) == (0, 0, 0, 512)
    assert store.catalog.knowledge_bases.get("合同") == made == store.catalog.knowledge_bases.get(made.id)
    named_like_an_id = store.add_kb(made.id)
    assert store.catalog.knowledge_bases.get(made.id) == made
    assert store.catalog.knowledge_bases.get(named_like_an_id.id) == named_like_an_id
    settings = store.catalog.knowledge_bases.get_settings(made.id)
    assert (settings.kb_id, settings.embedding_model, settings.chunk_tokens) == (made.id, "builtin", 16)


def test_a_name_is_given_once(store: Store) -> None:
    store.add_kb("one")
    with pytest.raises(Conflict) as refused:
        store.catalog.knowledge_bases.create(new_kb("one"))
    assert refused.value.code == "knowledge_base_exists"
    other = store.add_kb("other")
    with pytest.raises(Conflict) as refused:
        store.catalog.knowledge_bases.update(other.id, {"name": "one"})
    assert refused.value.code == "knowledge_base_exists"
    assert store.catalog.knowledge_bases.get("other").id == other.id


def test_rename_and_describe(store: Store) -> None:
    changed = store.catalog.knowledge_bases.update(store.kb.id, {"name": "new", "description": "d"})
    assert (changed.id, changed.name, changed.description) == (store.kb.id, "new", "d")
    assert store.catalog.knowledge_bases.update(store.kb.id, {}) == changed
    with pytest.raises(NotFound):
        store.catalog.knowledge_bases.get("first")
    with pytest.raises(NotFound):
        store.catalog.knowledge_bases.update("nobody", {})


def test_counts_and_pages(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2), "b.txt": ONE, "bad.txt": "BAD no_text"})
    store.index({"a.txt": write_sentences(1, 2, 3)})
    store.add_kb("second")
    first, second = store.catalog.knowledge_bases.list_knowledge_bases(5)
    assert (first.documents, first.chunks, first.revision) == (3, 4, 2)
    assert (second.documents, second.chunks, second.revision) == (0, 0, 0)
    assert store.catalog.knowledge_bases.list_knowledge_bases(1) == [first]
    assert store.catalog.knowledge_bases.list_knowledge_bases(5, after="first") == [second]


def test_a_deleted_one_is_gone_at_once_and_its_name_is_free(store: Store) -> None:
    store.index({"a.txt": ONE})
    waiting = store.upload({"b.txt": TWO})["job_id"]
    store.catalog.knowledge_bases.delete(store.kb.id)
    for name in (store.kb.id, "first"):
        with pytest.raises(NotFound):
            store.catalog.knowledge_bases.get(name)
    with pytest.raises(NotFound):
        store.catalog.feed.get_head(store.kb.id)
    with pytest.raises(NotFound):
        store.catalog.knowledge_bases.get_settings(store.kb.id)
    with pytest.raises(NotFound):
        store.catalog.knowledge_bases.delete(store.kb.id)
    assert store.catalog.jobs.get(waiting).state is JobState.CANCELLED
    job = store.claim()
    assert (job.kind, job.lane, job.kb_id) == (JobKind.PURGE, Lane.BULK, store.kb.id)
    assert store.add_kb("first").id != store.kb.id
    assert store.check() == set()


def test_a_purge_takes_everything_of_one_and_nothing_of_another(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(purge, "SLICE", 2)
    other = store.add_kb("other")
    store.index({"shared.txt": ONE}, kb_id=other.id)
    before = {table: store.count(table) for table in TABLES}
    before["knowledge_base"], before["space"] = 1, 1
    files = len(list(store.blobs.iter_names()))
    store.index({"shared.txt": ONE, **{f"{i}.txt": write_sentences(i, 90) for i in range(4)}})
    store.index({"0.txt": THREE, "bad.txt": "BAD no_text"}, idempotency_key="k", request_sha="r")
    store.upload({"waits.txt": TWO})
    store.catalog.knowledge_bases.delete(store.kb.id)
    slices = []
    while (purged := store.catalog.purges.purge_slice(store.kb.id)).versions:
        store.garbage.collect(purged)
        slices.append(purged.versions)
        assert store.check() == set()
    store.catalog.purges.purge_knowledge_base(store.kb.id)
    job = store.claim()
    store.catalog.jobs.finish(job, JobState.SUCCEEDED)
    assert slices == [2, 2, 2, 2]  # 5 + 1 new version + 1 failed + 1 waiting
    assert {table: store.count(table) for table in TABLES} == before
    assert store.count("idempotency_key") == 0
    assert len(list(store.blobs.iter_names())) == files
    assert store.catalog.documents.find_by_path(other.id, "shared.txt").chunks == 1
    assert store.check() == set()


def test_a_purge_that_was_cut_off_goes_on(store: Store) -> None:
    store.index({f"{i}.txt": write_sentences(i) for i in range(3)})
    store.catalog.knowledge_bases.delete(store.kb.id)
    store.catalog.purges.purge_slice(store.kb.id)
    assert store.catalog.purges.purge_slice(store.kb.id).versions == 0
    store.catalog.purges.purge_knowledge_base(store.kb.id)
    store.catalog.purges.purge_knowledge_base(store.kb.id)
    assert [store.count(table) for table in TABLES] == [0] * len(TABLES)
