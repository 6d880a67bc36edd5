"""Searches across a swap: whole answers from one space or the other, by the encoder of that space, without a wait."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from threading import Event, Thread

import pytest
from fakes.reindexing import OTHER, Reindexing
from fakes.store import Store, new_store, write_sentences

from kb.errors import Unavailable
from kb.types import Head
from retrieval.search import Searcher, SearchRequest, SearchResult
from retrieval.state import IndexShelf, ShelfFeed

FILES = {f"{i:02}.txt": write_sentences(*range(10 * i, 10 * i + 6)) for i in range(5)}


class HeldFeed:
    """The store's feed; whoever wants to build an index of the live space waits while `go` is not set."""

    def __init__(self, store: Store) -> None:
        self._feed = store.catalog.feed
        self.go, self.reached = Event(), Event()
        self.go.set()
        self.down = False

    def get_epoch(self) -> str:
        self.reached.set()
        assert self.go.wait(30)
        if self.down:
            raise Unavailable("database_unavailable", "down")
        return self._feed.get_epoch()

    def __getattr__(self, name: str) -> object:
        return getattr(self._feed, name)


class House:
    """A store with a shelf of index states and a searcher over it."""

    def __init__(self, store: Store, patience_s: float) -> None:
        self.store = store
        self.work = Reindexing(store)
        self.feed = HeldFeed(store)
        feed: ShelfFeed = self.feed  # type: ignore[assignment]
        self.shelf = IndexShelf(feed, store.folder.indexes, patience_s=patience_s)
        self.searcher = Searcher(self.shelf, feed, store.texts, self.work.encoders)

    def search(self, query: str, mode: str = "hybrid") -> SearchResult:
        request = SearchRequest(query=query, kb_id=self.store.kb.id, mode=mode)  # type: ignore[arg-type]
        return self.searcher.search(request)

    def find_paths(self, query: str, mode: str = "hybrid") -> list[str]:
        return [passage.path for passage in self.search(query, mode).passages]

    @property
    def space_id(self) -> int:
        return self.shelf.get_state(self.store.kb.id).space_id

    def hold(self) -> None:
        self.feed.reached.clear()
        self.feed.go.clear()

    def let_go(self) -> None:
        self.feed.go.set()
        self.shelf.wait_for_adoption(self.store.kb.id)


@pytest.fixture
def house(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[House]:
    store = new_store(tmp_path / "store")
    store.index(FILES)
    house = House(store, getattr(request, "param", 20.0))
    assert house.find_paths("number 12 jumps")[0] == "01.txt"
    yield house
    house.feed.go.set()
    house.shelf.close()
    store.close()


def test_the_old_state_answers_until_the_new_one_stands(house: House) -> None:
    old = house.space_id
    house.hold()
    house.work.reindex(embedding_model=OTHER)
    result = house.search("number 12 jumps")
    assert house.feed.reached.wait(30)  # a thread builds the new one
    assert (result.passages[0].path, result.revision, list(result.degraded)) == ("01.txt", 2, [])
    assert house.space_id == old
    assert house.find_paths("number 12 jumps", "dense")[0] == "01.txt"
    house.let_go()
    assert house.space_id == house.store.space_id != old
    result = house.search("number 12 jumps")
    assert (result.passages[0].path, result.revision, list(result.degraded)) == ("01.txt", 3, [])


def test_the_new_state_stands_on_the_generation_written_before_the_swap(house: House) -> None:
    """Late publications come by the log, not a row is read twice."""
    house.work.on_seal = lambda: house.store.index({"late.txt": write_sentences(91)})
    house.work.reindex(embedding_model=OTHER)
    house.search("number 91")
    house.shelf.wait_for_adoption(house.store.kb.id)
    state = house.shelf.get_state(house.store.kb.id)
    assert (state.revision, state.sealed, state.dense.delta) == (4, 2, 1)
    rows = house.store.query("SELECT id FROM chunk WHERE space_id = :s", s=state.space_id)
    assert state.dense.list_ids() == {row["id"] for row in rows}
    assert house.find_paths("number 91")[0] == "late.txt"


def test_a_document_published_after_the_swap_is_waited_for(house: House) -> None:
    house.work.reindex(embedding_model=OTHER)
    house.work.index({"new.txt": write_sentences(92)})
    assert house.find_paths("number 92")[0] == "new.txt"


@pytest.mark.parametrize("house", [0.01], indirect=True)
def test_who_waits_too_long_for_the_new_state_answers_from_the_old_one(house: House) -> None:
    old = house.space_id
    house.hold()
    house.work.reindex(embedding_model=OTHER)
    assert house.space_id == old
    house.work.index({"new.txt": write_sentences(92)})
    assert house.space_id == old  # whole, only older
    assert house.find_paths("number 12 jumps")[0] == "01.txt"
    house.let_go()
    assert house.find_paths("number 92")[0] == "new.txt"


@pytest.mark.parametrize("house", [0.01], indirect=True)
def test_a_delete_is_honoured_by_the_old_state(house: House) -> None:
    house.hold()
    house.work.reindex(embedding_model=OTHER)
    house.search("number 12 jumps")
    house.store.catalog.documents.delete(house.store.kb.id, ids=[house.store.find("01.txt").id])
    assert "01.txt" not in house.find_paths("number 12 jumps")


def test_a_state_whose_rows_may_be_gone_is_not_answered_from(house: House) -> None:
    """A server that nobody asked for hours finds another live space and the old one collected."""
    old = house.space_id
    house.work.reindex(embedding_model=OTHER)
    house.store.execute("UPDATE space SET retired_at = '2020-01-01' WHERE state = 'retired'")
    assert house.space_id == house.store.space_id != old


def test_a_new_state_that_cannot_be_built_is_tried_again(house: House) -> None:
    old = house.space_id
    house.work.reindex(embedding_model=OTHER)
    house.feed.down = True
    for _ in range(2):
        assert house.space_id == old
        house.shelf.wait_for_adoption(house.store.kb.id)
    house.feed.down = False
    house.shelf.get_state(house.store.kb.id)
    house.shelf.wait_for_adoption(house.store.kb.id)
    assert house.space_id == house.store.space_id


def test_a_generation_of_the_old_space_is_not_adopted_over_the_new_one(house: House) -> None:
    """A thread that began before the swap ends after it."""
    before: Head = house.store.catalog.feed.get_head(house.store.kb.id)
    house.hold()
    adopted: list[bool] = []
    late = Thread(target=lambda: adopted.append(house.shelf.adopt_generation(house.store.kb.id)))
    late.start()
    assert house.feed.reached.wait(30)
    house.work.reindex(embedding_model=OTHER)
    house.feed.go.set()
    late.join()
    assert adopted == [False]
    house.shelf.get_state(house.store.kb.id)
    house.shelf.wait_for_adoption(house.store.kb.id)
    assert house.space_id != before.space_id


def test_searches_beside_a_re_index_with_uploads_are_never_empty_or_degraded(house: House) -> None:
    stop = Event()
    faults: list[str] = []

    def ask() -> None:
        while not stop.is_set():
            result = house.search("number 33 jumps")
            if not result.passages or result.passages[0].path != "03.txt" or result.degraded:
                faults.append(f"revision {result.revision}: {[p.path for p in result.passages]}, {result.degraded}")

    askers = [Thread(target=ask) for _ in range(2)]
    for asker in askers:
        asker.start()
    try:
        for number, (model, chunk_tokens) in enumerate([(OTHER, 16), ("builtin", 48), (OTHER, 32), ("builtin", 16)]):
            house.work.chunk_tokens = chunk_tokens
            house.work.reindex(embedding_model=model)
            house.work.index({f"new{number}.txt": write_sentences(80 + number)})
            assert f"new{number}.txt" in house.find_paths(f"number {80 + number} jumps")
    finally:
        stop.set()
        for asker in askers:
            asker.join()
    assert faults == []
    assert house.store.check() == set()
