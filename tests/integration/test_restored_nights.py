"""Nights are taken back: each one answers again, and the next sync brings what the folder holds, for no vector."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.nights import NAME, Nights, count
from fakes.store import Store, new_store, write_sentences

from kb.types import JobState

ONE, TWO, THREE, FOUR, FIVE = (write_sentences(n) for n in range(1, 6))


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


@pytest.fixture
def nights(store: Store, tmp_path: Path) -> Nights:
    return Nights(store=store, folder=tmp_path / "shared" / "docs")


def run_nights(nights: Nights) -> dict[int, dict[str, str]]:
    """What answered after each night, by its revision."""
    edits = (
        lambda: nights.write({"a.txt": ONE, "b.txt": TWO, "x/c.txt": THREE}),
        lambda: nights.write({"a.txt": FOUR}),
        lambda: nights.move("x", "y"),
        lambda: nights.remove("b.txt"),
        lambda: nights.write({"b.txt": FIVE, "d.txt": ONE}),
        lambda: nights.remove("y"),
    )
    seen = {}
    for edit in edits:
        edit()
        assert nights.run().state is JobState.SUCCEEDED
        seen[nights.store.catalog.feed.get_head(nights.store.kb.id).revision] = nights.visible()
        assert nights.visible() == nights.read()
    assert sorted(seen) == [1, 2, 3, 4, 5, 6]
    return seen


def test_each_night_comes_back_and_the_next_sync_brings_the_folder(nights: Nights, store: Store) -> None:
    seen = run_nights(nights)
    nights.embedded()
    for number in (3, 1, 5, 2, 4, 1):
        store.restore(number)
        assert nights.visible() == seen[number]
        assert store.check() == set()
        job = nights.run()
        assert job.state is JobState.SUCCEEDED
        assert nights.visible() == nights.read()
        assert store.check() == set()
        assert count(nights.run()) == {"unchanged": 3}
    assert nights.embedded() == []


def test_night_after_night_can_be_taken_back_without_a_sync_between(nights: Nights, store: Store) -> None:
    seen = run_nights(nights)
    for number in (6, 1, 6, 2, 5, 3, 4, 1):
        store.restore(number)
        assert nights.visible() == seen[number]
    assert store.check() == set()


def test_what_was_deleted_by_hand_comes_back_with_no_night(nights: Nights, store: Store) -> None:
    run_nights(nights)
    store.catalog.documents.delete(store.kb.id, path_prefix=f"{NAME}/b.txt")
    for number in (1, 2, 5):
        store.restore(number)
        assert f"{NAME}/b.txt" not in nights.visible()
    nights.run()
    assert nights.visible() == {path: text for path, text in nights.read().items() if not path.endswith("b.txt")}
