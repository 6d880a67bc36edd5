"""What is removed, when, and what is spared."""

import os
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from fakes.store import Store, new_store, write_sentences

from kb.garbage import SPARED_SECONDS

ONE, TWO, THREE = (write_sentences(n) for n in (1, 2, 3))
DAY = 86_400


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def age(path: Path, seconds: float) -> Path:
    os.utime(path, (time.time() - seconds,) * 2)
    return path


def age_revision(store: Store, number: int, days: float) -> None:
    then = (datetime.now(UTC) - timedelta(days=days)).strftime("%Y-%m-%d %H:%M:%S.%f")
    assert store.execute("UPDATE revision SET created_at = :then WHERE number = :n", then=then, n=number) == 1


def test_replaced_versions_go_when_their_retention_is_over(store: Store) -> None:
    store.index({"a.txt": write_sentences(1, 3), "b.txt": THREE})
    store.index({"a.txt": TWO})
    age_revision(store, 1, 30)  # when it was published does not count: when it was replaced does
    assert store.garbage.sweep(retention_days=7) == 0
    age_revision(store, 2, 6.9)
    store.garbage.sweep(retention_days=7)
    assert store.list_visible_texts(1) == {"a.txt": write_sentences(1, 3), "b.txt": THREE}
    age_revision(store, 2, 7.1)
    store.garbage.sweep(retention_days=7)
    assert store.list_visible_texts(1) == {"b.txt": THREE}
    assert store.list_visible_texts() == {"a.txt": TWO, "b.txt": THREE}
    assert (store.count("version"), store.count("chunk"), store.count("vector"), store.count("publication")) == (
        2,
        2,
        2,
        2,
    )
    assert (len(list(store.blobs.iter_names())), len(list(store.texts.blobs.iter_names()))) == (2, 2)
    assert store.check() == set()


def test_files_without_a_name_go_after_an_hour(store: Store) -> None:
    store.index({"a.txt": ONE})
    for name, _ in store.blobs.iter_names():
        age(store.blobs.path(name), DAY)
    old = age(store.blobs.path(store.blobs.put(b"old")), SPARED_SECONDS + 60)
    young = age(store.blobs.path(store.blobs.put(b"young")), SPARED_SECONDS - 60)
    old_text = age(store.texts.blobs.path(store.texts.put_text("old")), DAY)
    assert store.garbage.sweep(retention_days=7) == 2
    assert [path.exists() for path in (old, young, old_text)] == [False, True, False]
    assert store.blobs.exists(store.find("a.txt").sha256)
    assert store.check() == set()


def test_unfinished_files_go_after_an_hour(store: Store) -> None:
    for seconds, name in ((DAY, "old"), (60, "young")):
        path = store.blobs.root / "tmp" / name
        path.write_bytes(b"half")
        age(path, seconds)
    assert store.garbage.sweep(retention_days=7) == 1
    assert [path.name for path, _ in store.blobs.iter_temporary()] == ["young"]


def test_bytes_that_wait_to_be_indexed_or_have_failed_are_named(store: Store) -> None:
    store.index({"bad.txt": "BAD no_text"})
    store.upload({"waits.txt": ONE})
    for name, _ in store.blobs.iter_names():
        age(store.blobs.path(name), DAY)
    assert store.garbage.sweep(retention_days=7) == 0
    assert store.check() == set()


def test_a_sweep_takes_more_than_one_batch(store: Store) -> None:
    for number in range(520):
        path = store.blobs.path(f"{number:064x}")
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(b"x")
        age(path, DAY)
    assert store.garbage.sweep(retention_days=7) == 520
