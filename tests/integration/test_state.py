"""The shelf of index states against its feed: nothing missing, nothing left over, at every revision."""

from __future__ import annotations

import logging
import random
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event, Thread

import pytest
from fakes.feed import MemoryFeed

from kb.errors import NotFound, Unavailable
from retrieval.sealing import seal_generation
from retrieval.state import IndexShelf, IndexState


@pytest.fixture
def feed() -> MemoryFeed:
    feed = MemoryFeed()
    feed.add_kb("kb1")
    return feed


@pytest.fixture
def shelf(feed: MemoryFeed, tmp_path: Path) -> Iterator[IndexShelf]:
    shelf = IndexShelf(feed, tmp_path / "indexes")
    yield shelf
    shelf.close()


def list_truth(feed: MemoryFeed, kb_id: str = "kb1") -> set[int]:
    head = feed.get_head(kb_id)
    return {row.chunk_id for rows in feed.iter_rows(head.space_id, head.revision) for row in rows}


def assert_true(state: IndexState, feed: MemoryFeed, kb_id: str = "kb1") -> None:
    truth = list_truth(feed, kb_id)
    assert state.revision == feed.get_head(kb_id).revision
    assert state.dense.list_ids() == truth
    assert len(state.dense) == len(state.lexical) == len(truth)
    assert {match.chunk_id for match in state.lexical.search("word", 1000)} == truth


def make_texts(mark: int, count: int = 3) -> list[str]:
    return [f"word number{mark} part{i} 第{mark}段文字" for i in range(count)]


def test_a_published_document_is_in_the_next_state(feed: MemoryFeed, shelf: IndexShelf) -> None:
    assert len(shelf.get_state("kb1").dense) == 0
    for mark in range(5):
        feed.publish("kb1", {f"{mark}.txt": make_texts(mark)})
        assert_true(shelf.get_state("kb1"), feed)


def test_a_state_is_reused_until_the_head_moves(feed: MemoryFeed, shelf: IndexShelf) -> None:
    feed.publish("kb1", {"a.txt": make_texts(1)})
    state = shelf.get_state("kb1")
    assert shelf.get_state("kb1") is state


def test_catching_up_reads_what_changed_and_nothing_else(feed: MemoryFeed, shelf: IndexShelf) -> None:
    feed.publish("kb1", {f"{i}.txt": make_texts(i) for i in range(30)})
    shelf.get_state("kb1")
    feed.row_reads = 0
    feed.publish("kb1", {"3.txt": make_texts(99, 4)})
    state = shelf.get_state("kb1")
    assert feed.row_reads == 4
    assert_true(state, feed)


def test_changed_removed_and_restored_documents(feed: MemoryFeed, shelf: IndexShelf) -> None:
    feed.publish("kb1", {"a.txt": make_texts(1), "b.txt": make_texts(2)})
    first = shelf.get_state("kb1")
    feed.publish("kb1", {"a.txt": make_texts(3)})
    assert_true(shelf.get_state("kb1"), feed)
    feed.remove("kb1", "b.txt")
    assert_true(shelf.get_state("kb1"), feed)
    feed.remove("kb1", "a.txt", purge=False)
    assert_true(shelf.get_state("kb1"), feed)
    feed.reopen("kb1", 1)
    assert_true(shelf.get_state("kb1"), feed)
    assert len(first.dense) == len(first.lexical) == 6


def test_a_chunk_purged_between_the_log_and_the_rows_does_no_harm(feed: MemoryFeed, shelf: IndexShelf) -> None:
    shelf.get_state("kb1")
    feed.publish("kb1", {"a.txt": make_texts(1), "b.txt": make_texts(2)})
    feed.purge(feed.versions[1])
    state = shelf.get_state("kb1")
    assert state.dense.list_ids() == {4, 5, 6}
    assert len(state.lexical) == 3


def test_knowledge_bases_do_not_mix(feed: MemoryFeed, shelf: IndexShelf) -> None:
    feed.add_kb("kb2")
    feed.publish("kb1", {"a.txt": make_texts(1)})
    feed.publish("kb2", {"a.txt": make_texts(2)})
    assert_true(shelf.get_state("kb1"), feed)
    assert_true(shelf.get_state("kb2"), feed, "kb2")


def test_an_unknown_knowledge_base_is_not_found(shelf: IndexShelf) -> None:
    with pytest.raises(NotFound, match="knowledge_base_not_found"):
        shelf.get_state("nope")


def test_a_new_process_starts_from_the_sealed_generation(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    feed.publish("kb1", {f"{i}.txt": make_texts(i) for i in range(10)})
    assert seal_generation(feed, "kb1", directory) == 1
    feed.publish("kb1", {"3.txt": make_texts(99), "new.txt": make_texts(100)})
    feed.remove("kb1", "5.txt")
    feed.row_reads = 0
    shelf = IndexShelf(feed, directory)
    state = shelf.get_state("kb1")
    assert feed.row_reads == 6
    assert state.sealed == 1
    assert_true(state, feed)
    shelf.close()


def test_a_newer_generation_is_adopted_and_nothing_is_lost(feed: MemoryFeed, shelf: IndexShelf, tmp_path: Path) -> None:
    feed.publish("kb1", {f"{i}.txt": make_texts(i) for i in range(10)})
    before = shelf.get_state("kb1")
    feed.remove("kb1", "0.txt")
    shelf.get_state("kb1")
    seal_generation(feed, "kb1", tmp_path / "indexes")
    feed.publish("kb1", {"late.txt": make_texts(50)})
    assert shelf.adopt_generation("kb1")
    state = shelf.get_state("kb1")
    assert (state.sealed, state.dense.delta, len(state.dense.tombstones)) == (2, 3, 0)
    assert_true(state, feed)
    assert not shelf.adopt_generation("kb1")
    assert len(before.dense.search(feed.encoder.embed_question("word"), 100)) == 30
    assert len(before.lexical.search("word", 100)) == 30
    folders = [path for path in (tmp_path / "indexes").glob("live-*/*") if path.is_dir()]
    assert len(folders) == 1


def test_searching_starts_the_adoption_by_itself(feed: MemoryFeed, tmp_path: Path) -> None:
    shelf = IndexShelf(feed, tmp_path / "indexes")
    feed.publish("kb1", {"a.txt": make_texts(1)})
    assert shelf.get_state("kb1").sealed == -1
    seal_generation(feed, "kb1", tmp_path / "indexes")
    shelf.get_state("kb1")
    shelf.wait_for_adoption("kb1")
    assert shelf.get_state("kb1").sealed == 1
    shelf.close()


def test_searches_go_on_while_states_are_swapped(feed: MemoryFeed, shelf: IndexShelf, tmp_path: Path) -> None:
    """Readers must find the document that never changes, every time, and never anything that is not of their state."""
    feed.publish("kb1", {"fixed.txt": ["constant 不变的文字"], "a.txt": make_texts(0)})
    question = feed.encoder.embed_question("constant 不变的文字")
    stop, rounds = Event(), 100

    def read() -> int:
        count = 0
        while not stop.is_set() or not count:
            state = shelf.get_state("kb1")
            assert state.dense.search(question, 3)[0].chunk_id == 1
            assert state.lexical.search("constant", 3)[0].chunk_id == 1
            count += 1
        return count

    with ThreadPoolExecutor(3) as pool:
        readers = [pool.submit(read) for _ in range(3)]
        try:
            rng = random.Random(1)
            for mark in range(rounds):
                feed.publish("kb1", {f"{rng.randrange(20)}.txt": make_texts(mark)})
                shelf.get_state("kb1")
                if mark % 40 == 20:
                    seal_generation(feed, "kb1", tmp_path / "indexes")
                    shelf.adopt_generation("kb1")
        finally:
            stop.set()
        assert sum(reader.result() for reader in readers) >= 3
    truth = list_truth(feed)
    state = shelf.get_state("kb1")
    assert state.dense.list_ids() == truth
    assert len(state.lexical) == len(truth)


class SlowFeed(MemoryFeed):
    """Stops before the rows are read until it is let go on."""

    def __init__(self) -> None:
        super().__init__()
        self.reached, self.go = Event(), Event()
        self.go.set()

    def list_changes(self, space_id: int, after: int, upto: int):  # type: ignore[no-untyped-def]
        self.reached.set()
        assert self.go.wait(30)
        return super().list_changes(space_id, after, upto)


def test_who_waits_too_long_answers_from_the_state_before(tmp_path: Path) -> None:
    feed = SlowFeed()
    feed.add_kb("kb1")
    feed.publish("kb1", {"a.txt": make_texts(1)})
    shelf = IndexShelf(feed, tmp_path / "indexes", patience_s=0.01)
    old = shelf.get_state("kb1")
    feed.publish("kb1", {"b.txt": make_texts(2)})
    feed.reached.clear()
    feed.go.clear()
    builder = Thread(target=shelf.get_state, args=("kb1",))
    builder.start()
    assert feed.reached.wait(30)
    assert shelf.get_state("kb1") is old
    feed.go.set()
    builder.join()
    assert_true(shelf.get_state("kb1"), feed)
    shelf.close()


class FailingFeed(MemoryFeed):
    """A database that is down while `down` is set."""

    down = False

    def get_rows(self, space_id, chunk_ids):  # type: ignore[no-untyped-def]
        if self.down:
            raise Unavailable("database_unavailable", "down")
        return super().get_rows(space_id, chunk_ids)


def test_a_failed_catch_up_leaves_the_old_state_and_is_made_good_later(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    feed = FailingFeed()
    feed.add_kb("kb1")
    shelf = IndexShelf(feed, tmp_path / "indexes")
    feed.down = True
    feed.publish("kb1", {"a.txt": make_texts(1)})
    with pytest.raises(Unavailable, match="database_unavailable"):
        shelf.get_state("kb1")
    feed.down = False
    old = shelf.get_state("kb1")
    feed.publish("kb1", {"b.txt": make_texts(2)})
    feed.remove("kb1", "a.txt")
    feed.down = True
    caplog.clear()
    with caplog.at_level(logging.WARNING):
        assert shelf.get_state("kb1") is old
    assert [record.message for record in caplog.records] == ["index.catch_up_failed"]
    feed.down = False
    assert_true(shelf.get_state("kb1"), feed)
    shelf.close()


def test_a_dropped_knowledge_base_leaves_no_files(feed: MemoryFeed, shelf: IndexShelf, tmp_path: Path) -> None:
    feed.publish("kb1", {"a.txt": make_texts(1)})
    state = shelf.get_state("kb1")
    seal_generation(feed, "kb1", tmp_path / "indexes")
    shelf.drop("kb1")
    assert not (tmp_path / "indexes" / "kb1").exists()
    assert [path for path in (tmp_path / "indexes").glob("live-*/*") if path.is_dir()] == []
    assert len(state.lexical.search("word", 10)) == 3
    shelf.drop("kb1")


@pytest.mark.parametrize("kb_id", ["..", ".", "", "../other", "/tmp", "a/b", "kb1\x00"])
def test_no_path_is_made_of_what_is_no_id(shelf: IndexShelf, tmp_path: Path, kb_id: str) -> None:
    (tmp_path / "other").mkdir()
    with pytest.raises(ValueError, match="no id"):
        shelf.drop(kb_id)
    assert (tmp_path / "other").exists()


def test_private_folders_of_dead_processes_go_and_living_ones_stay(feed: MemoryFeed, tmp_path: Path) -> None:
    directory = tmp_path / "indexes"
    dead = directory / "live-1-dead"
    (dead / "7-x").mkdir(parents=True)
    (dead / "claim").touch()
    one, other = IndexShelf(feed, directory), IndexShelf(feed, directory)
    assert not dead.exists()
    feed.publish("kb1", {"a.txt": make_texts(1)})
    assert_true(one.get_state("kb1"), feed)
    assert_true(other.get_state("kb1"), feed)
    one.close()
    other.close()
    assert list(directory.glob("live-*")) == []
