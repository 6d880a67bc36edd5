"""Workers that die, stop or are told to end: their jobs go on, and nothing is published twice."""

from __future__ import annotations

import os
import signal
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from itertools import count
from pathlib import Path

import httpx
import pytest
from fakes.http_client import Client, wait_until
from fakes.server import AttachedWorker, Server, list_findings, query_catalog
from fakes.small_files import SmallFile, assert_answers, cut_requests, make_files, to_upload

pytestmark = pytest.mark.faults


def assert_published_once(data_dir: Path, documents: int) -> None:
    """Every document has one version, one publication, and is counted by one revision."""
    assert query_catalog(data_dir, "SELECT count(*), count(DISTINCT document_id) FROM version") == [
        (documents, documents)
    ]
    assert query_catalog(data_dir, "SELECT count(*), count(until_revision) FROM publication") == [(documents, 0)]
    assert query_catalog(data_dir, "SELECT sum(added), sum(changed), sum(removed) FROM revision") == [(documents, 0, 0)]
    assert list_findings(data_dir) == []


def wait_for_running(data_dir: Path, job_id: str) -> None:
    """Until the job has published something and has more to do."""
    progress = "SELECT 1 FROM job WHERE id = ? AND state = 'running' AND done > 0 AND done < total"
    wait_until(lambda: query_catalog(data_dir, progress, job_id), f"job {job_id} is half done")


def count_claims(data_dir: Path, job_id: str) -> int:
    ((fence,),) = query_catalog(data_dir, "SELECT fence FROM job WHERE id = ?", job_id)
    return int(fence)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    with Server(tmp_path / "store") as server:
        server.open_client().create()
        yield server


def test_a_killed_worker_is_replaced_and_its_job_goes_on_at_once(server: Server) -> None:
    """Its lease would run for another minute; that its owner is dead is seen at once."""
    files = make_files(200)
    client = server.open_client()
    job_id = client.upload(to_upload(files))["job_id"]
    wait_for_running(server.data_dir, job_id)
    (killed,) = server.list_workers()
    os.kill(killed, signal.SIGKILL)
    job = client.wait_for_job(job_id, seconds=40)
    assert (job["state"], job["done"], job["failed"]) == ("succeeded", len(files), 0)
    assert count_claims(server.data_dir, job_id) == 2
    assert f"worker.died pid={killed} code=-9" in server.read_log()
    assert killed not in server.list_workers()
    assert_answers(client, files[::10])
    assert_published_once(server.data_dir, len(files))


def test_a_stopped_worker_loses_its_job_and_its_late_writes_are_refused(tmp_path: Path) -> None:
    files = make_files(200)
    with Server(tmp_path / "store", lease_seconds=2) as server:
        client = server.open_client()
        client.create()
        job_id = client.upload(to_upload(files))["job_id"]
        (stopped,) = server.list_workers()
        stop_between_transactions(server.data_dir, stopped, job_id)
        with AttachedWorker(server.data_dir, lease_seconds=2):
            job = client.wait_for_job(job_id)
            assert (job["state"], job["done"]) == ("succeeded", len(files))
            assert count_claims(server.data_dir, job_id) == 2
        os.kill(stopped, signal.SIGCONT)
        late = make_files(1, start=500)  # whom it indexes: nobody else is left
        client.upload(to_upload(late))
        client.wait_until_idle()
        assert server.list_workers() == [stopped]
        assert f"job.lost id={job_id}" in server.read_log()
        assert_answers(client, [*files[::10], *late])
        assert_published_once(server.data_dir, len(files) + 1)


def stop_between_transactions(data_dir: Path, worker: int, job_id: str) -> None:
    """SIGSTOP in the middle of the job, but not while it holds SQLite's write lock: then nobody could take over."""

    def try_to_stop() -> bool:
        wait_for_running(data_dir, job_id)
        os.kill(worker, signal.SIGSTOP)
        if can_write(data_dir):
            return True
        os.kill(worker, signal.SIGCONT)
        return False

    wait_until(try_to_stop, "the worker stands still outside a transaction")


def can_write(data_dir: Path) -> bool:
    with closing(sqlite3.connect(data_dir / "catalog.sqlite3", timeout=0.5)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
        except sqlite3.OperationalError:
            return False
        connection.rollback()
        return True


def test_a_server_told_to_end_drains_and_its_jobs_resume(server: Server) -> None:
    requests = cut_requests(make_files(200), 10)
    clients = [server.open_client() for _ in requests]
    with ThreadPoolExecutor(4) as senders:
        sendings = [senders.submit(send, client, files) for client, files in zip(clients, requests, strict=True)]
        wait_until(lambda: any(sending.done() for sending in sendings), "a request is acknowledged")
        server.process.send_signal(signal.SIGTERM)
        acknowledged = [file for sending in sendings for file in sending.result()]
    assert server.wait_for_death() == 0
    assert acknowledged
    wait_until(lambda: not server.list_tree(), "no process is left", seconds=5)
    assert server.list_complaints() == []
    assert query_catalog(server.data_dir, "SELECT count(*) FROM job WHERE state = 'running'") == [(0,)]
    assert not list((server.data_dir / "blobs" / "tmp").iterdir())
    client = server.start().open_client()
    documents = client.wait_until_idle()
    assert {document["status"] for document in documents} == {"ready"}
    assert_answers(client, acknowledged[::5])
    assert_published_once(server.data_dir, len(documents))


def test_control_c_reaches_the_whole_group_and_nobody_complains(server: Server) -> None:
    """A terminal sends SIGINT to server, workers and parse children alike."""
    files = make_files(200)
    job_id = server.open_client().upload(to_upload(files))["job_id"]
    wait_for_running(server.data_dir, job_id)
    os.killpg(server.process.pid, signal.SIGINT)
    assert server.wait_for_death() == 0
    wait_until(lambda: not server.list_tree(), "no process is left", seconds=5)
    assert server.list_complaints() == []
    client = server.start().open_client()
    assert {document["status"] for document in client.wait_until_idle()} == {"ready"}
    assert_published_once(server.data_dir, len(files))


def send(client: Client, files: list[SmallFile]) -> list[SmallFile]:
    """The files if the server acknowledged them, none when it had stopped listening."""
    try:
        return files if client.send(to_upload(files)).status_code == 202 else []
    except httpx.TransportError:
        return []


def test_three_workers_publish_nothing_twice(tmp_path: Path) -> None:
    """Two of the server's own, and one that is attached."""
    with Server(tmp_path / "store", workers=2, seal_changes=40) as server, AttachedWorker(server.data_dir) as attached:
        client = server.open_client()
        client.create()
        first = wait_until_it_works(client, attached)
        files = make_files(200, start=1000)
        for part in cut_requests(files, 10):
            client.upload(to_upload(part))
        client.wait_until_idle()
        assert len(server.list_workers()) == 2
        assert_answers(client, files[::5])
        assert_published_once(server.data_dir, first + len(files))
        assert server.list_complaints() == []


def wait_until_it_works(client: Client, attached: AttachedWorker) -> int:
    """Upload single files until the attached worker has taken a job; how many there were."""
    numbers = count()

    def upload_one() -> bool:
        client.wait_for_job(client.upload(to_upload(make_files(1, start=next(numbers))))["job_id"])
        return "job.started" in attached.read_log()

    wait_until(upload_one, "the attached worker has taken a job")
    return next(numbers)
