"""A worker killed at every step of a sync: nothing of the night is seen before its end, and the next worker ends it."""

from __future__ import annotations

import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest
from fakes.http_client import Client, wait_until
from fakes.server import Server, list_findings
from fakes.small_files import SmallFile, assert_absent, assert_answers, make_files, with_prefix

pytestmark = pytest.mark.faults

KEPT = make_files(12)
LATER = make_files(12, start=100)
GONE, CHANGED = KEPT[0], KEPT[1]
# where it dies: in the middle of several files, batches or rows
STEPS = [
    "job.claimed:1", "up.mid_write:3", "up.pre_fsync:2", "up.pre_rename:4", "up.post_rename:4", "parse.done:5",
    "stage.mid_rows:4", "stage.done:1", "publish.pre_commit:1", "publish.post_commit:1",
]  # fmt: skip


@pytest.fixture(scope="module")
def synced(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store that has seen its folder once, at rest, beside the folder."""
    home = tmp_path_factory.mktemp("synced")
    folder = home / "docs"
    write(folder, KEPT)
    with Server(home / "store", allowed_roots=home) as server:
        client = server.open_client()
        client.create()
        body = {"name": "docs", "kind": "folder", "uri": str(folder)}
        assert client.http.post(f"{client.path}/sources", json=body).status_code == 201
        assert sync(client)["state"] == "succeeded"
        assert server.stop() == 0
    return home


def write(folder: Path, files: Iterable[SmallFile]) -> None:
    for file in files:
        (folder / file.path).parent.mkdir(parents=True, exist_ok=True)
        (folder / file.path).write_bytes(file.data)


def request_sync(client: Client) -> str:
    job_id: str = client.http.post(f"{client.path}/sources/docs/sync", json={}).json()["job_id"]
    return job_id


def sync(client: Client) -> dict[str, Any]:
    return client.wait_for_job(request_sync(client))


@pytest.mark.parametrize("step", STEPS)
def test_a_sync_killed_there_is_ended_by_the_next_worker(synced: Path, tmp_path: Path, step: str) -> None:
    home = tmp_path / "home"
    shutil.copytree(synced, home)
    folder = synced / "docs"  # the source's path, which the copy of the store still names
    server = Server(home / "store", allowed_roots=synced)
    try:
        write(folder, LATER)
        (folder / CHANGED.path).write_bytes(LATER[0].data)
        (folder / GONE.path).unlink()
        server.start(crash=step)
        job_id = request_sync(server.open_client())
        wait_until(lambda: "code=-9" in server.read_log(), "a worker died by SIGKILL")
        server.kill()
        client = server.start().open_client()
        job = client.wait_for_job(job_id)
        names = ("added", "changed", "moved", "removed", "failed")
        counts = {name: job["result"][name] for name in names}
        assert (job["state"], counts) == (
            "succeeded",
            {"added": 12, "changed": 1, "moved": 0, "removed": 1, "failed": 0},
        )
        assert_answers(client, with_prefix("docs", [*KEPT[2:], *LATER[1:]]))
        assert_absent(client, with_prefix("docs", [GONE]))
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []
    finally:
        server.kill()
        shutil.rmtree(folder)
        write(folder, KEPT)
