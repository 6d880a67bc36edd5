"""`kb check` as a user calls it, beside a process that holds the folder."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.store import Store, new_store, write_sentences

from api.cli.main import kb
from ingest.owner import name_owner
from retrieval.sealing import seal_generation


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Store]:
    """An open store with one document and a sealed index; `kb check` finds it by KB_DATA_DIR."""
    store = new_store(tmp_path / "store")
    store.index({"a.txt": write_sentences(1, 2)})
    seal_generation(store.catalog.feed, store.kb.id, store.folder.indexes)
    monkeypatch.setenv("KB_DATA_DIR", str(store.folder.root))
    yield store
    store.close()


def run_check(*options: str) -> Result:
    return CliRunner().invoke(kb, ["check", *options])


def list_files(store: Store) -> set[str]:
    return {str(path) for path in store.folder.root.rglob("*") if path.is_file()}


def test_a_healthy_store(store: Store) -> None:
    result = run_check("--deep")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing found\n")
    result = run_check("--deep", "--json")
    assert (result.exit_code, json.loads(result.stdout)) == (0, {"findings": [], "notes": []})


def test_a_finding(store: Store) -> None:
    store.execute("DELETE FROM vector WHERE rowid = 1")
    result = run_check()
    assert result.exit_code == 1
    assert result.stdout.startswith("chunk_without_vector (1): chunk ")
    document = json.loads(run_check("--json").stdout)
    assert [(f["code"], f["count"]) for f in document["findings"]] == [("chunk_without_vector", 1)]


@pytest.mark.parametrize("kind", ["dense", "ids", "lexical/meta.json", "manifest.json"])
def test_a_damaged_index_is_named_and_left_as_it_is(store: Store, kind: str) -> None:
    (path,) = store.folder.indexes.rglob(f"1.{kind}")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    before = list_files(store)
    result = run_check("--json")
    (finding,) = json.loads(result.stdout)["findings"]
    assert (result.exit_code, finding["code"]) == (1, "index_damaged")
    assert "generation 1" in finding["detail"]
    assert list_files(store) == before


def test_an_index_of_another_epoch_is_named(store: Store) -> None:
    store.execute("UPDATE instance SET epoch = 'restored'")
    (finding,) = json.loads(run_check("--json").stdout)["findings"]
    assert (finding["code"], "manifest: foreign" in finding["detail"]) == ("index_damaged", True)


def test_a_lost_part_of_an_index_is_named(store: Store) -> None:
    next(store.folder.indexes.rglob("1.dense")).unlink()
    (finding,) = json.loads(run_check("--json").stdout)["findings"]
    assert (finding["code"], "1.dense: lost" in finding["detail"]) == ("index_damaged", True)


def test_a_dead_worker_is_a_note_and_no_finding(store: Store) -> None:
    store.upload({"b.txt": write_sentences(3)})
    store.claim(owner=name_owner() + "0")  # this process id, but started at another time
    result = run_check("--json")
    document = json.loads(result.stdout)
    assert (result.exit_code, document["findings"]) == (0, [])
    assert "the next worker resumes it" in document["notes"][0]


def test_a_living_worker_is_not_even_a_note(store: Store) -> None:
    store.upload({"b.txt": write_sentences(3)})
    store.claim(owner=name_owner())
    assert json.loads(run_check("--json").stdout)["notes"] == []


def test_a_lost_database_refuses_with_its_own_exit_code(store: Store) -> None:
    store.catalog.close()
    for path in store.folder.root.glob("catalog.sqlite3*"):
        path.unlink()
    result = run_check()
    assert result.exit_code == 78
    assert result.stderr.startswith("catalog_lost: ")
    assert not (store.folder.root / "catalog.sqlite3").exists()


def test_an_empty_folder_is_to_be_tried_later(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KB_DATA_DIR", str(tmp_path / "nothing"))
    result = run_check()
    assert result.exit_code == 75
    assert result.stderr.startswith("data_dir_empty: ")
    assert not (tmp_path / "nothing").exists()
