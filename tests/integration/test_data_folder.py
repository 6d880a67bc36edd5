"""Who holds a data directory, and whether what lies in it belongs together."""

import os
import shutil
from pathlib import Path

import pytest
from fakes.store import Store, new_store, open_store, settings_for, write_sentences

from kb.config import Settings
from kb.data_folder import DataFolder
from kb.errors import StartRefused


def start(root: Path) -> Store:
    """A store with one document, closed again."""
    store = new_store(root)
    store.index({"a.txt": write_sentences(1)})
    store.close()
    return store


def refuse_start(root: Path) -> StartRefused:
    folder = DataFolder(root)
    folder.hold()
    with pytest.raises(StartRefused) as refused:
        folder.open_database(settings_for(root))
    folder.release()
    return refused.value


def refuse_attach(root: Path) -> StartRefused:
    with pytest.raises(StartRefused) as refused:
        DataFolder(root).attach_database(settings_for(root))
    return refused.value


def remove_database(root: Path) -> None:
    for path in root.glob("catalog.sqlite3*"):
        path.unlink()


def test_a_fresh_folder_gets_an_identity_that_stays(tmp_path: Path) -> None:
    store = open_store(tmp_path / "deep" / "store")
    known = (store.folder.root / "instance").read_text()
    assert store.query("SELECT id FROM instance")[0]["id"] == known
    epoch = store.catalog.feed.get_epoch()
    store.close()
    again = open_store(store.folder.root)
    assert ((store.folder.root / "instance").read_text(), again.catalog.feed.get_epoch()) == (known, epoch)
    assert again.kb == store.kb
    again.close()
    assert store.folder.root.stat().st_mode & 0o777 == 0o700


def test_a_second_holder_is_told_who_has_it(tmp_path: Path) -> None:
    first = new_store(tmp_path / "store")
    with pytest.raises(StartRefused) as refused:
        DataFolder(first.folder.root).hold()
    assert (refused.value.code, refused.value.exit_code) == ("data_dir_owned", 75)
    assert f"pid {os.getpid()}" in refused.value.detail
    first.close()
    second = DataFolder(first.folder.root)
    second.hold()
    second.release()


def test_a_worker_attaches_beside_the_holder(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    database = DataFolder(store.folder.root).attach_database(settings_for(store.folder.root))
    database.close()
    store.close()


def test_a_folder_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StartRefused) as refused:
        DataFolder(tmp_path / "file").hold()
    assert (refused.value.code, refused.value.exit_code) == ("data_dir_unusable", 78)


def test_nothing_to_attach_to(tmp_path: Path) -> None:
    refused = refuse_attach(tmp_path / "nothing")
    assert (refused.code, refused.exit_code) == ("data_dir_empty", 75)
    assert not (tmp_path / "nothing").exists()


@pytest.mark.parametrize("loss", ["missing", "0 bytes"])
@pytest.mark.parametrize("what_is_left", ["all", "no instance", "no files"])
def test_a_lost_database_is_not_a_fresh_start(tmp_path: Path, loss: str, what_is_left: str) -> None:
    root = start(tmp_path / "store").folder.root
    remove_database(root)
    if loss == "0 bytes":
        (root / "catalog.sqlite3").touch()
    if what_is_left == "no instance":
        (root / "instance").unlink()
    if what_is_left == "no files":
        shutil.rmtree(root / "blobs")
        shutil.rmtree(root / "texts")
    refused = refuse_start(root)
    assert (refused.code, refused.exit_code) == ("catalog_lost", 78)
    assert (root / "catalog.sqlite3").exists() == (loss == "0 bytes")
    if what_is_left != "no instance":
        assert refuse_attach(root).code == "catalog_lost"


def test_a_database_without_its_rows_is_lost_too(tmp_path: Path) -> None:
    root = start(tmp_path / "store").folder.root
    fresh = open_store(tmp_path / "fresh")
    fresh.execute("DELETE FROM instance")
    fresh.close()
    remove_database(root)
    shutil.copy(fresh.folder.root / "catalog.sqlite3", root)
    assert refuse_start(root).code == "catalog_lost"


def test_a_lost_instance_file_is_written_again(tmp_path: Path) -> None:
    root = start(tmp_path / "store").folder.root
    known = (root / "instance").read_text()
    (root / "instance").unlink()
    open_store(root).close()
    assert (root / "instance").read_text() == known


def test_a_database_of_another_store_is_refused(tmp_path: Path) -> None:
    root = start(tmp_path / "store").folder.root
    other = open_store(tmp_path / "other")
    other.close()
    shutil.copy(other.folder.root / "catalog.sqlite3", root)
    assert refuse_start(root).code == "catalog_foreign"
    assert refuse_attach(root).code == "catalog_foreign"


def test_a_database_of_a_newer_or_older_program_is_refused(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    store.execute("UPDATE alembic_version SET version_num = '9999'")
    store.close()
    root = store.folder.root
    assert refuse_start(root).code == "catalog_newer"
    assert (refuse_attach(root).code, refuse_attach(root).exit_code) == ("catalog_newer", 78)


def test_a_worker_waits_for_the_server_to_bring_an_older_database_up(tmp_path: Path) -> None:
    store = new_store(tmp_path / "store")
    store.execute("UPDATE alembic_version SET version_num = '0000'")
    store.close()
    refused = refuse_attach(store.folder.root)
    assert (refused.code, refused.exit_code) == ("catalog_older", 75)


def test_a_file_that_is_no_database_is_refused(tmp_path: Path) -> None:
    root = start(tmp_path / "store").folder.root
    remove_database(root)
    (root / "catalog.sqlite3").write_bytes(b"not a database at all" * 500)
    assert refuse_start(root).code == "catalog_damaged"
    assert refuse_attach(root).code == "catalog_damaged"
    assert (root / "catalog.sqlite3").read_bytes().startswith(b"not a database")


@pytest.mark.parametrize("url", ["no url", "postgresql://localhost/kb", "mysql://localhost/kb"])
def test_a_database_we_cannot_talk_to_is_refused(tmp_path: Path, url: str) -> None:
    folder = DataFolder(tmp_path / "store")
    folder.hold()
    with pytest.raises(StartRefused) as refused:
        folder.open_database(Settings(data_dir=tmp_path / "store", database_url=url))
    assert refused.value.code == "bad_setting"
    folder.release()
