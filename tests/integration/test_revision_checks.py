"""What must hold of hidden documents, restored versions and several spaces, broken on purpose."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.store import Store, copy_store, new_store, write_sentences

HIDDEN = "(SELECT id FROM document WHERE path = 'hidden.txt')"
A = "(SELECT id FROM document WHERE path = 'a.txt')"


@pytest.fixture(scope="module")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A hidden document, one whose first version was closed, restored, closed and restored again, a retired space and
    one that is being built."""
    store = new_store(tmp_path_factory.mktemp("template") / "store")
    store.index({"a.txt": write_sentences(1), "hidden.txt": write_sentences(2)})
    store.index({"a.txt": write_sentences(3)})
    store.hide("hidden.txt")
    for number in (1, 3, 1, 3, 2, 3):
        store.restore(number)
    for state in ("retired", "building"):
        store.execute(
            "INSERT INTO space (kb_id, embedding_model, fingerprint, dimension, state)"
            f" SELECT kb_id, embedding_model, fingerprint, dimension, '{state}' FROM space WHERE state = 'live'"
        )
    store.close()
    return store.folder.root


@pytest.fixture
def store(template: Path, tmp_path: Path) -> Iterator[Store]:
    store = copy_store(template, tmp_path / "store")
    yield store
    store.close()


def test_what_was_restored_again_and_again_has_no_findings(store: Store) -> None:
    assert store.query("SELECT count(*) AS n FROM publication WHERE version_id = 1")[0]["n"] == 3
    assert store.check() == set()


MUTATIONS = {
    "a document that answers is hidden": (
        f"UPDATE document SET removed_revision = 1 WHERE id = {A}",
        {"removal_wrong"},
    ),
    "a hidden document is shown": (
        f"UPDATE document SET removed_revision = NULL WHERE id = {HIDDEN}",
        {"removal_wrong"},
    ),
    "removed at a revision that is not there": (
        f"UPDATE document SET removed_revision = 99 WHERE id = {HIDDEN}",
        {"removal_wrong"},
    ),
    "a document without a version": (
        "INSERT INTO document (id, kb_id, path, created_at) SELECT 'x', kb_id, 'x', created_at FROM document LIMIT 1",
        {"document_empty"},
    ),
    "two versions of a document at one revision": (
        f"UPDATE publication SET since_revision = 1 WHERE document_id = {A} AND until_revision IS NULL",
        {"publication_overlap"},
    ),
    "a version that came above the head": (
        f"UPDATE publication SET since_revision = 99 WHERE document_id = {A} AND until_revision IS NULL",
        {"publication_wrong"},
    ),
    "a version that went above the head": (
        f"UPDATE publication SET until_revision = 99 WHERE document_id = {HIDDEN} AND until_revision = 9",
        {"publication_wrong"},
    ),
    "no live space": (
        "UPDATE space SET state = 'retired' WHERE state = 'live'",
        {"live_space_wrong"},
    ),
    "another live space": (
        "UPDATE space SET state = 'live' WHERE state = 'building'",
        {"live_space_wrong"},
    ),
}


@pytest.mark.parametrize("name", MUTATIONS)
def test_a_broken_row_is_named(store: Store, name: str) -> None:
    statement, codes = MUTATIONS[name]
    assert store.execute(statement) == 1
    assert store.check(deep=False) == codes
