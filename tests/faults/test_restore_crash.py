"""A worker that dies while it restores a revision: the next one goes on, and the revision is published once."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from fakes.http_client import wait_until
from fakes.server import Server, list_findings
from fakes.small_files import assert_absent, assert_answers, make_files, to_upload

pytestmark = pytest.mark.faults

OLD = make_files(6)
NEW = [replace(new, path=old.path) for old, new in zip(OLD[:3], make_files(3, start=100), strict=True)]
LATE = make_files(2, start=200)


@pytest.fixture(scope="module")
def indexed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Revision 1 has the old files; later ones replace three of them and add two."""
    with Server(tmp_path_factory.mktemp("indexed") / "store") as server:
        client = server.open_client()
        client.create()
        for files in (OLD[:4], OLD[4:], NEW, LATE):
            client.wait_for_job(client.upload(to_upload(files))["job_id"])
        assert server.stop() == 0
    return server.data_dir


@pytest.mark.parametrize("point", ["job.claimed", "publish.pre_commit", "publish.post_commit"])
def test_a_restore_that_is_killed_is_done_once(indexed: Path, tmp_path: Path, point: str) -> None:
    server = Server(tmp_path / "store")
    shutil.copytree(indexed, server.data_dir)
    try:
        client = server.start(crash=f"{point}:1").open_client()
        answer = client.http.post(f"{client.path}/revisions/2/restore")
        assert answer.status_code == 202
        wait_until(lambda: "code=-9" in server.read_log(), "a worker died by SIGKILL")
        server.kill()
        client = server.start().open_client()
        job = client.wait_for_job(answer.json()["job_id"])
        assert (job["state"], job["result"]["revision"], job["done"]) == ("succeeded", 5, 3)
        assert_answers(client, OLD)
        assert_absent(client, LATE)
        revisions = client.http.get(f"{client.path}/revisions").json()["items"]
        assert [one["kind"] for one in revisions] == ["restore", *["upload"] * 4]
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []
    finally:
        server.kill()
