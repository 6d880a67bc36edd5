"""What must not start says why in one line, with an exit code for service managers, and leaves all as it is."""

from __future__ import annotations

import shutil
import socket
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.server import Ended, Server, run_command
from fakes.small_files import make_files, to_upload

pytestmark = pytest.mark.faults

TRY_LATER, CONFIGURATION = 75, 78


def assert_refused(ended: Ended, exit_code: int, code: str, *named: str) -> None:
    """One line on stderr that starts with the stable code and names what is wrong."""
    assert ended.code == exit_code, ended
    (line,) = ended.err.splitlines()
    assert line.startswith(f"{code}: ")
    assert all(name in line for name in named), line
    assert not ended.out


def list_tree(folder: Path) -> dict[str, bytes]:
    """Every file of a folder with its bytes, but for the lock's text and SQLite's own shared memory."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name not in ("lock", "catalog.sqlite3-shm"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture(scope="module")
def rested(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with two documents that nobody holds."""
    with Server(tmp_path_factory.mktemp("rested") / "store") as server:
        client = server.open_client()
        client.create()
        client.upload(to_upload(make_files(2)))
        client.wait_until_idle()
        assert server.stop() == 0
    return server.data_dir


@pytest.fixture
def store(rested: Path, tmp_path: Path) -> Path:
    return shutil.copytree(rested, tmp_path / "store")


@pytest.fixture
def taken_port() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


def test_a_port_in_use(tmp_path: Path, taken_port: int) -> None:
    ended = run_command(tmp_path / "store", "serve", port=taken_port)
    assert_refused(ended, TRY_LATER, "port_in_use", f"127.0.0.1:{taken_port}", "KB_PORT")
    assert not (tmp_path / "store").exists()


def test_a_directory_that_a_server_holds(store: Path) -> None:
    with Server(store, workers=0) as server:
        ended = run_command(store, "serve")
        assert_refused(ended, TRY_LATER, "data_dir_owned", f"pid {server.process.pid}", str(store))
        assert httpx.get(f"{server.url}/health/ready", trust_env=False).status_code == 200
        server.kill()
        assert server.start().process.poll() is None  # the kernel frees the lock of a killed holder


@pytest.mark.parametrize("command", ["serve", "worker", "check"])
@pytest.mark.parametrize("loss", ["empty", "missing"])
def test_a_database_lost_beside_its_files(store: Path, command: str, loss: str) -> None:
    database = store / "catalog.sqlite3"
    database.write_bytes(b"") if loss == "empty" else database.unlink()
    before = list_tree(store)
    assert_refused(run_command(store, command), CONFIGURATION, "catalog_lost", str(store), "backup")
    assert list_tree(store) == before


def test_a_database_lost_together_with_the_name_of_the_store(store: Path) -> None:
    """Nothing but the files says that there was a store: a fresh schema over them would hide them for ever."""
    (store / "catalog.sqlite3").unlink()
    (store / "instance").unlink()
    assert_refused(run_command(store, "serve"), CONFIGURATION, "catalog_lost", str(store))


def test_a_database_of_garbage(store: Path) -> None:
    (store / "catalog.sqlite3").write_bytes(b"not a database " * 1000)
    before = list_tree(store)
    assert_refused(run_command(store, "serve"), CONFIGURATION, "catalog_damaged", "backup")
    assert list_tree(store) == before


def test_a_database_of_another_store(store: Path, tmp_path: Path) -> None:
    with Server(tmp_path / "other", workers=0) as other:
        other.stop()
    shutil.copy(other.data_dir / "catalog.sqlite3", store / "catalog.sqlite3")
    assert_refused(run_command(store, "serve"), CONFIGURATION, "catalog_foreign", str(store))


def test_a_database_of_a_newer_program(store: Path) -> None:
    with closing(sqlite3.connect(store / "catalog.sqlite3")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
        connection.commit()
    assert_refused(run_command(store, "serve"), CONFIGURATION, "catalog_newer", "9999")


def test_an_address_that_others_reach_without_a_key(tmp_path: Path) -> None:
    ended = run_command(tmp_path / "store", "serve", host="0.0.0.0")
    assert_refused(ended, CONFIGURATION, "key_required", "KB_HOST=0.0.0.0")
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize(
    ("variable", "value"),
    [("workers", "many"), ("port", "70000"), ("lease_seconds", "0"), ("crash", "up.nowhere:1"), ("llm_base_url", "x")],
)
def test_a_setting_that_cannot_be_meant(tmp_path: Path, variable: str, value: str) -> None:
    settings: dict[str, Any] = {variable: value}
    ended = run_command(tmp_path / "store", "serve", **settings)
    assert_refused(ended, CONFIGURATION, "bad_setting", f"KB_{variable.upper()}")


def test_two_builds_of_faiss(tmp_path: Path) -> None:
    planted = tmp_path / "planted" / "faiss_gpu-1.15.1.dist-info"
    planted.mkdir(parents=True)
    (planted / "METADATA").write_text("Metadata-Version: 2.1\nName: faiss-gpu\nVersion: 1.15.1\n")
    ended = run_command(tmp_path / "store", "serve", python_path=planted.parent)
    assert_refused(ended, CONFIGURATION, "faiss_conflict", "faiss-cpu", "faiss-gpu")
    assert not (tmp_path / "store").exists()


def test_a_worker_without_a_store(tmp_path: Path) -> None:
    ended = run_command(tmp_path / "store", "worker")
    assert_refused(ended, TRY_LATER, "data_dir_empty", str(tmp_path / "store"), "kb serve")
    assert not (tmp_path / "store").exists()
