"""The publish transaction, guard by guard, and what a search and an index see of it."""

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.store import Store, new_store, write_sentences
from sqlalchemy import event

from kb.blobs import TextStore
from kb.catalog.feed import CatalogFeed
from kb.catalog.purge import delete_chunks
from kb.errors import StaleLease
from kb.types import ChangeSet, DocumentStatus, Filter

ONE, TWO, THREE = (write_sentences(n) for n in (1, 2, 3))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


class CountedTexts:
    """Implements `kb.ports.TextSource`; remembers nothing but what was asked."""

    def __init__(self, texts: TextStore) -> None:
        self._texts = texts
        self.read: list[str] = []

    def read_text(self, text_sha: str) -> str:
        self.read.append(text_sha)
        return self._texts.read_text(text_sha)


def newest_version(store: Store) -> int:
    return int(store.query("SELECT max(id) AS id FROM version")[0]["id"])


def head(store: Store) -> int:
    return store.catalog.feed.get_head(store.kb.id).revision


def changes(store: Store, after: int, upto: int) -> ChangeSet:
    return store.catalog.feed.list_changes(store.space_id, after, upto)


def chunk_ids(store: Store, version_id: int) -> list[int]:
    return [row["id"] for row in store.query("SELECT id FROM chunk WHERE version_id = :v ORDER BY id", v=version_id)]


# -- guards -------------------------------------------------------------------------------------------------------


def test_nothing_is_visible_before_the_publish(store: Store) -> None:
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    assert (head(store), store.list_visible_texts()) == (0, {})
    publication = store.publish(job, 1)
    assert (publication.revision, publication.published, publication.skipped) == (1, [1], [])
    assert (head(store), store.list_visible_texts()) == (1, {"a.txt": ONE})
    assert store.find("a.txt").status is DocumentStatus.READY
    assert store.catalog.jobs.get(job.id).done == 1


def test_a_stale_fence_publishes_nothing(store: Store) -> None:
    store.upload({"a.txt": ONE})
    lost = store.claim(lease=-1)
    store.stage(lost, 1, ONE)
    store.claim(owner="other")
    with pytest.raises(StaleLease):
        store.publish(lost, 1)
    assert (head(store), store.count("publication"), store.count("change_log")) == (0, 0, 0)


def test_a_document_deleted_meanwhile_is_not_published(store: Store) -> None:
    ids = [d["id"] for d in store.upload({"a.txt": ONE, "b.txt": TWO})["documents"]]
    job = store.claim()
    store.stage(job, 1, ONE)
    store.stage(job, 2, TWO)
    store.catalog.documents.delete(store.kb.id, ids=ids[:1])
    publication = store.publish(job, 1, 2)
    assert (publication.published, publication.skipped) == ([2], [1])
    assert store.list_visible_texts() == {"b.txt": TWO}
    assert store.check() == set()


@pytest.mark.parametrize(
    "change", ["UPDATE document SET deleted_at = created_at", "UPDATE version SET state = 'failed'"]
)
def test_rows_that_a_publish_must_not_trust(store: Store, change: str) -> None:
    """A deleted document keeps its versions when a sync removed it; a failed version may have been staged late."""
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    store.execute(change)
    assert store.publish(job, 1).skipped == [1]
    assert (head(store), store.count("publication")) == (0, 0)


def test_a_version_older_than_the_open_one_is_not_published(store: Store) -> None:
    store.upload({"a.txt": ONE})
    old = store.claim()
    store.stage(old, 1, ONE)
    store.index({"a.txt": TWO})
    publication = store.publish(old, 1)
    assert (publication.revision, publication.skipped) == (0, [1])
    assert (head(store), store.list_visible_texts()) == (1, {"a.txt": TWO})


def test_of_two_versions_of_a_document_the_newer_one_is_published(store: Store) -> None:
    store.upload({"a.txt": ONE})
    store.upload({"a.txt": TWO})
    store.execute("UPDATE version SET job_id = (SELECT id FROM job ORDER BY seq LIMIT 1)")
    job = store.claim()
    store.stage(job, 1, ONE)
    store.stage(job, 2, TWO)
    publication = store.publish(job, 1, 2)
    assert (publication.published, publication.skipped) == ([2], [1])


def test_a_chunk_without_a_vector_holds_its_version_back(store: Store) -> None:
    store.upload({"a.txt": write_sentences(1, 2), "b.txt": THREE})
    job = store.claim()
    store.stage(job, 1, write_sentences(1, 2), lacking=1)
    store.stage(job, 2, THREE)
    publication = store.publish(job, 1, 2)
    assert (publication.published, publication.skipped) == ([2], [1])
    store.stage(job, 1, write_sentences(1, 2))
    assert store.publish(job, 1).published == [1]


def test_a_version_with_missing_or_no_chunks_is_held_back(store: Store) -> None:
    store.upload({"a.txt": write_sentences(1, 2), "b.txt": THREE})
    job = store.claim()
    store.stage(job, 1, write_sentences(1, 2))
    store.execute("DELETE FROM chunk WHERE version_id = 1 AND ordinal = 1")
    assert store.publish(job, 1, 2).skipped == [1, 2]
    assert head(store) == 0


@pytest.mark.parametrize("state", ["building", "retired"])
def test_a_space_that_is_not_live_publishes_nothing(store: Store, state: str) -> None:
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    space_id = store.space_id
    store.execute("UPDATE space SET state = :state", state=state)
    assert store.publish(job, 1, space_id=space_id).skipped == [1]
    assert store.count("revision") == 0


def test_the_space_of_another_knowledge_base_publishes_nothing(store: Store) -> None:
    other = store.add_kb("other")
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    assert store.publish(job, 1, space_id=store.catalog.feed.get_head(other.id).space_id).skipped == [1]


def test_a_deleted_knowledge_base_publishes_nothing(store: Store) -> None:
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    store.execute("UPDATE knowledge_base SET deleted_at = created_at")  # without cancelling the job
    assert store.publish(job, 1, space_id=1).skipped == [1]


def test_a_version_is_published_once(store: Store) -> None:
    store.upload({"a.txt": ONE})
    job = store.claim()
    store.stage(job, 1, ONE)
    store.publish(job, 1)
    assert store.publish(job, 1).skipped == [1]
    assert (head(store), store.count("publication")) == (1, 1)


# -- what a revision says -----------------------------------------------------------------------------------------


def test_one_publish_is_one_revision_with_its_counts(store: Store) -> None:
    store.index({"a.txt": ONE})
    answer = store.upload({"a.txt": TWO, "b.txt": THREE})
    store.run_job()
    row = store.query("SELECT * FROM revision WHERE number = 2")[0]
    assert (row["added"], row["changed"], row["removed"], row["job_id"]) == (1, 1, 0, answer["job_id"])
    assert row["space_id"] == store.space_id


def test_old_and_new_revision_each_see_their_own(store: Store) -> None:
    ids = store.index({"a.txt": ONE, "b.txt": THREE})
    store.index({"a.txt": TWO})
    assert store.list_visible_texts(1) == {"a.txt": ONE, "b.txt": THREE}
    assert store.list_visible_texts(2) == {"a.txt": TWO, "b.txt": THREE}
    assert store.list_visible_texts(0) == {}
    store.catalog.documents.delete(store.kb.id, ids=[ids["b.txt"]])
    for revision in (1, 2, 3):
        assert "b.txt" not in store.list_visible_texts(revision)  # a returned delete never answers
    assert store.list_visible_texts(1) == {"a.txt": ONE}


def test_changes_are_the_net_of_a_range(store: Store) -> None:
    ids = store.index({"a.txt": ONE})
    first = chunk_ids(store, 1)
    store.index({"a.txt": TWO})
    second = chunk_ids(store, 2)
    store.catalog.documents.delete(store.kb.id, ids=[ids["a.txt"]])
    assert changes(store, 0, 1) == ChangeSet(added=first, removed=[])
    assert changes(store, 1, 2) == ChangeSet(added=second, removed=first)
    assert changes(store, 0, 2) == ChangeSet(added=second, removed=[])
    assert changes(store, 2, 3) == ChangeSet(added=[], removed=second)
    assert changes(store, 1, 3) == ChangeSet(added=[], removed=first)
    assert changes(store, 0, 3) == ChangeSet(added=[], removed=[])
    assert changes(store, 3, 3) == ChangeSet(added=[], removed=[])
    assert store.catalog.feed.count_changes(store.space_id, 0) == 4
    assert store.catalog.feed.count_changes(store.space_id, 2) == 1


def test_rows_for_an_index(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3), "b.txt": ONE})
    rows = [row for batch in store.catalog.feed.iter_rows(store.space_id, 1, batch=3) for row in batch]
    assert [row.chunk_id for row in rows] == [1, 2, 3, 4]
    assert [row.text for row in rows] == [ONE, TWO, THREE, ONE]
    assert [row.path for row in rows] == ["a.txt"] * 3 + ["b.txt"]
    assert rows[0].vector.dtype == "float16"
    assert (rows[0].vector == rows[3].vector).all()
    store.index({"a.txt": TWO})
    at_first = [row.chunk_id for batch in store.catalog.feed.iter_rows(store.space_id, 1) for row in batch]
    assert at_first == [1, 2, 3, 4]
    assert [r.chunk_id for b in store.catalog.feed.iter_rows(store.space_id, 2) for r in b] == [4, 5]
    assert [row.chunk_id for row in store.catalog.feed.get_rows(store.space_id, [99, 5, 1])] == [1, 5]


def test_a_long_text_is_not_read_anew_for_each_of_its_chunks(store: Store) -> None:
    """What TextStore does not remember: 20 MB read for each of 31,250 chunks kept a worker busy for hours."""
    store.index({"a.txt": write_sentences(*range(9)), "b.txt": ONE})
    texts = CountedTexts(store.texts)
    feed = CatalogFeed(store.catalog.database, texts)
    rows = [row.text for batch in feed.iter_rows(store.space_id, 1, batch=4) for row in batch]
    assert rows == [*(write_sentences(n) for n in range(9)), ONE]
    assert len(texts.read) == 2
    assert [row.text for row in feed.get_rows(store.space_id, range(11))] == rows
    assert len(texts.read) == 4


def test_filters_of_what_is_visible(store: Store) -> None:
    store.index({"x/a.txt": ONE}, metadata={"year": 2024, "tag": "p"})
    store.index({"x/b.txt": TWO, "X/c.txt": THREE}, metadata={"year": 2025})
    store.execute("UPDATE version SET language = 'zh' WHERE id = 2")

    def paths(only: Filter | None) -> set[str]:
        return {c.path for c in store.catalog.feed.list_visible(store.kb.id, 2, [1, 2, 3, 9], only).values()}

    assert paths(None) == {"x/a.txt", "x/b.txt", "X/c.txt"}
    assert paths(Filter(path_prefix="x/")) == {"x/a.txt", "x/b.txt"}
    assert paths(Filter(path_prefix="x_")) == set()
    assert paths(Filter(language="zh")) == {"x/b.txt"}
    assert paths(Filter(metadata={"year": 2024})) == {"x/a.txt"}
    assert paths(Filter(metadata={"year": 2025, "tag": "p"})) == set()
    other = store.add_kb("other")
    assert store.catalog.feed.list_visible(other.id, 2, [1, 2, 3]) == {}


def test_neighbours_of_a_chunk(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3, 4)})
    near, none, again = store.catalog.feed.list_neighbours(store.space_id, [(1, 1, 2), (1, 4, 9), (1, 2, 3)])
    assert [chunk.ordinal for chunk in near] == [1, 2]
    assert none == []
    assert [chunk.ordinal for chunk in again] == [2, 3]


def list_plans(store: Store, call: Callable[[], object]) -> list[str]:
    """How SQLite goes about each statement of the call, a line a step."""
    seen: list[tuple[str, Any]] = []
    engine = store.catalog.database.engine

    def note(_connection: object, _cursor: object, statement: str, values: object, *_rest: object) -> None:
        seen.append((statement, values))

    event.listen(engine, "before_cursor_execute", note)
    call()
    event.remove(engine, "before_cursor_execute", note)
    with store.catalog.database.read() as connection:
        asked = [(statement, values) for statement, values in seen if statement.startswith("SELECT")]
        return [
            row.detail
            for statement, values in asked
            for row in connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)
        ]


def test_a_page_of_a_large_space_is_read_by_ids_and_not_sorted(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3)})
    space_id, feed = store.space_id, store.catalog.feed
    for call in (
        lambda: list(feed.iter_rows(space_id, 1)),
        lambda: feed.get_rows(space_id, [1, 2]),
        lambda: store.catalog.spaces.list_unembedded(space_id, 10),
    ):
        plan = list_plans(store, call)
        assert any("chunk USING INTEGER PRIMARY KEY" in step for step in plan), plan
        assert not any("TEMP B-TREE" in step for step in plan), plan


def test_the_chunks_of_a_version_are_taken_out_without_a_walk_through_the_space(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 2, 3)})

    def take_out() -> None:
        with store.catalog.database.write() as connection:
            delete_chunks(connection, [newest_version(store)], store.space_id)

    plan = list_plans(store, take_out)
    assert any("chunk USING INDEX" in step and "version_id=?" in step for step in plan), plan
    assert not any("ix_chunk_space_id_input_sha" in step and "input_sha=?" not in step for step in plan), plan
