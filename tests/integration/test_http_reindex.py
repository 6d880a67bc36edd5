"""Re-indexing over HTTP on a real store, with the worker's own handlers."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer

from api.bootstrap.indexing import Indexing, build_gate, build_runners
from ingest.indexing import Indexer
from kb.types import JobKind
from retrieval.generations import find_space_folder, list_revisions

FILES = {f"{i}.txt": f"第{i}章说的是第{i}件事。Chapter {i} is about thing {i}. ".encode() * 20 for i in range(4)}
FULL = {"mode": "full"}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    local = LocalServer(tmp_path / "data")
    local.create("k")
    local.upload("k", FILES)
    local.work()
    yield local
    local.close()


@pytest.fixture
def changed(server: LocalServer) -> LocalServer:
    """The same, with another chunk size wished for."""
    assert server.request("PATCH", f"{KB}/k", json={"chunk_tokens": 32}).status_code == 200
    return server


def reindex(server: LocalServer, body: dict[str, object]) -> str:
    answer = server.request("POST", f"{KB}/k/reindex", json=body)
    assert answer.status_code == 202, answer.text
    job_id: str = answer.json()["job_id"]
    return job_id


def get_job(server: LocalServer, job_id: str) -> dict:
    return server.request("GET", f"/api/v1/jobs/{job_id}").json()


def search(server: LocalServer) -> dict:
    return server.request("POST", f"{KB}/k/search", json={"query": "第2件事", "top_k": 3}).json()


def test_a_full_re_index_from_the_request_to_the_swap(changed: LocalServer) -> None:
    before = changed.request("GET", f"{KB}/k").json()
    assert search(changed)["revision"] == before["revision"]
    job_id = reindex(changed, FULL)
    changed.work()
    job = get_job(changed, job_id)
    assert (job["kind"], job["state"], job["done"], job["total"]) == ("reindex", "succeeded", 4, 4)
    after = changed.request("GET", f"{KB}/k").json()
    assert after["revision"] == job["result"]["revision"] == before["revision"] + 1
    assert after["chunks"] == job["result"]["chunks"] > before["chunks"]
    found = search(changed)
    assert found["passages"][0]["document"]["path"] == "2.txt"
    assert found["degraded"] == []
    head = changed.store.catalog.feed.get_head(before["id"])
    folder = find_space_folder(changed.folder.indexes, before["id"], head.space_id)
    assert list_revisions(folder) == [before["revision"]]  # written before the swap


def test_nothing_changed(server: LocalServer) -> None:
    job_id = reindex(server, FULL)
    server.work()
    assert get_job(server, job_id)["message"].startswith("nothing changed")
    assert server.request("GET", f"{KB}/k").json()["revision"] == 1


def test_changed_without_sources(server: LocalServer) -> None:
    job_id = reindex(server, {"mode": "changed"})
    server.work()
    job = get_job(server, job_id)
    assert (job["state"], job["result"]) == ("succeeded", {"sync_jobs": []})


def test_two_requests_are_one_job(server: LocalServer) -> None:
    assert reindex(server, FULL) == reindex(server, {"mode": "full", "gate": False})
    server.work()
    kinds = [job.kind for _, job in server.store.catalog.jobs.list_jobs(10)]
    assert kinds.count(JobKind.REINDEX) == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({}, 422, "missing_field"),
        ({"mode": "all"}, 422, "bad_mode"),
        ({"mode": "full", "gate": 1}, 422, "bad_gate"),
        ({"mode": "full", "embedding_model": "/etc"}, 422, "bad_embedding_model"),
        ({"mode": "full", "embedding_model": ""}, 422, "bad_embedding_model"),
        ({"mode": "changed", "embedding_model": "builtin"}, 422, "bad_embedding_model"),
        ({"mode": "full", "embedding_model": "nobody/has-this"}, 503, "embedding_unavailable"),
        ({"mode": "full", "when": "now"}, 422, "unknown_field"),
    ],
)
def test_what_cannot_be_asked(server: LocalServer, body: dict[str, object], status: int, code: str) -> None:
    answer = server.request("POST", f"{KB}/k/reindex", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert [job.kind for _, job in server.store.catalog.jobs.list_jobs(10)] == [JobKind.UPLOAD]


def test_there_is_no_such_knowledge_base(server: LocalServer) -> None:
    answer = server.request("POST", f"{KB}/nope/reindex", json=FULL)
    assert (answer.status_code, answer.json()["code"]) == (404, "knowledge_base_not_found")


def test_housekeeping_takes_the_old_space_with_its_index_files(changed: LocalServer) -> None:
    store = changed.store
    kb_id = store.catalog.knowledge_bases.find("k").id
    old = store.catalog.feed.get_head(kb_id).space_id
    folder = find_space_folder(changed.folder.indexes, kb_id, old)
    folder.mkdir(parents=True, exist_ok=True)
    reindex(changed, FULL)
    changed.work()
    indexer = Indexer(store.catalog, store.blobs, store.texts, store.encoders, None)  # type: ignore[arg-type]
    gate = build_gate(store)
    house = Indexing(store, build_runners(store, indexer, gate), gate)
    house.keep_house()
    assert folder.exists()
    with store.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE space SET retired_at = '2020-01-01' WHERE state = 'retired'")
    house.keep_house()
    assert not folder.exists()
    assert store.catalog.spaces.list_unembedded(old, 10) == []
    assert search(changed)["passages"]


def test_a_deleted_knowledge_base_goes_with_both_spaces(changed: LocalServer) -> None:
    reindex(changed, FULL)
    changed.work()
    assert changed.request("DELETE", f"{KB}/k").status_code == 204
    changed.work()
    with changed.store.catalog.database.read() as connection:
        for table in ("space", "chunk", "vector", "change_log", "revision"):
            assert connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one() == 0
