"""kill -9 of server and workers together, between requests and in the middle of one: what was acknowledged is kept."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from fakes.http_client import wait_until
from fakes.server import Server, list_findings
from fakes.small_files import SmallFile, assert_answers, cut_requests, make_files, to_upload

pytestmark = pytest.mark.faults

FILES = 200
REQUESTS = 10
KILLED_AFTER = (1, 4, 8)  # acknowledged requests: while the first documents are parsed, in between, near the end
KILLED_DURING = (3, 7)  # the request that is under way at the kill; counted from 1


def test_whatever_was_acknowledged_survives_kills_of_the_whole_tree(tmp_path: Path) -> None:
    requests = cut_requests(make_files(FILES), REQUESTS)
    acknowledged: list[SmallFile] = []
    with Server(tmp_path / "store", seal_changes=40) as server:
        server.open_client().create()
        for number, files in enumerate(requests, 1):
            if number in KILLED_DURING:
                kill_during_upload(server, files)
            server.open_client().upload(to_upload(files))
            acknowledged += files
            if number in KILLED_AFTER:
                server.kill()
                server.start()
                status = {document["path"]: document["status"] for document in server.open_client().list_documents()}
                assert status.keys() >= {file.path for file in acknowledged}
        client = server.open_client()
        documents = client.wait_until_idle()
        assert len(documents) == FILES
        assert_answers(client, acknowledged)
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []


def kill_during_upload(server: Server, files: list[SmallFile]) -> None:
    """Kill while the request's files arrive, and start again; then all of them are there, or none."""
    temporary = server.data_dir / "blobs" / "tmp"
    before = set(temporary.iterdir())
    client = server.open_client()
    with ThreadPoolExecutor(1) as sender:
        sending = sender.submit(client.send, to_upload(files))
        wait_until(lambda: sending.done() or set(temporary.iterdir()) - before, "the upload is under way")
        server.kill()
        lost = sending.exception()
    assert lost is None or isinstance(lost, httpx.TransportError)
    server.start()
    recorded = {document["path"] for document in server.open_client().list_documents()}
    there = [file for file in files if file.path in recorded]
    assert there == ([] if lost is not None and not there else files)


def test_a_first_start_that_was_killed_half_way_is_no_loss(tmp_path: Path) -> None:
    """Killed as soon as a file of the new store appears: the next start takes what is there for no store of old."""
    server = Server(tmp_path / "store", workers=0)
    try:
        for name in ("lock", "catalog.sqlite3", "catalog.sqlite3-wal", "instance"):
            server.launch()
            wait_until(lambda name=name: (server.data_dir / name).exists(), f"{name} appears")  # type: ignore[misc]
            server.kill()
        server.start().open_client().create()
        assert list_findings(server.data_dir) == []
        assert server.list_complaints() == []
    finally:
        server.kill()
