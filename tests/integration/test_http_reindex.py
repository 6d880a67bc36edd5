"""Re-indexing over HTTP on a real store, with the worker's own handlers."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer, build_store, copy_store

from api.bootstrap.indexing import Indexing, build_gate, build_runners, build_worker
from ingest.indexing import Indexer
from kb.checks import check_store
from kb.types import Candidate, JobKind
from retrieval.generations import find_space_folder, list_revisions

FILES = {f"{i}.txt": f"第{i}章说的是第{i}件事。Chapter {i} is about thing {i}. ".encode() * 20 for i in range(4)}
FULL = {"mode": "full"}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    def fill(server: LocalServer) -> None:
        server.create("k")
        server.upload("k", FILES)
        server.work()

    return build_store(tmp_path_factory.mktemp("reindex") / "data", fill)


@pytest.fixture
def server(built: Path, tmp_path: Path) -> Iterator[LocalServer]:
    local = copy_store(built, tmp_path / "data")
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


class Onlooker:
    """A gate that looks on: what is told while the new space is whole and not swapped in yet."""

    def __init__(self, look: Callable[[], dict]) -> None:
        self.look = look
        self.seen: list[dict] = []

    def judge(self, candidate: Candidate) -> None:
        del candidate
        self.seen.append(self.look())


def list_tokens(server: LocalServer) -> list[int]:
    """Tokens of every chunk that answers."""
    found = []
    for document in server.request("GET", f"{KB}/k/documents").json()["items"]:
        chunks = server.request("GET", f"{KB}/k/documents/{document['id']}/chunks?limit=200").json()["items"]
        found += [chunk["tokens"] for chunk in chunks]
    return found


def test_another_chunk_size_waits_for_a_full_re_index(changed: LocalServer) -> None:
    def look() -> dict:
        base = changed.request("GET", f"{KB}/k").json()
        sizes = (base["chunk_tokens"], base["wanted_chunk_tokens"], base["chunks"])
        return {"sizes": sizes, "found": search(changed)["passages"], "tokens": list_tokens(changed)}

    before = look()
    assert before["sizes"][:2] == (100, 32)
    changed.upload("k", {"5.txt": FILES["2.txt"].replace(b"2", b"5")})  # into what answers now, by its own size
    changed.work()
    before = look()
    assert sum(before["tokens"]) / len(before["tokens"]) > 64
    reindex(changed, FULL)
    gate = Onlooker(look)
    worker, pool = build_worker(changed.store, gate)
    while worker.step():
        pass
    pool.close()
    assert gate.seen == [before]
    after = look()
    assert after["sizes"][:2] == (32, 32)
    assert sum(after["tokens"]) / len(after["tokens"]) < 48
    assert after["sizes"][2] == len(after["tokens"]) > len(before["tokens"])
    store = changed.store
    assert list(check_store(store.catalog.database, store.blobs, store.texts, deep=True)) == []


def test_the_wish_is_the_knowledge_bases_own(tmp_path: Path) -> None:
    """KB_CHUNK_TOKENS is what a new one starts with; a later start with another changes none that is there."""
    first = LocalServer(tmp_path / "data", chunk_tokens=48)
    assert first.create("k")["chunk_tokens"] == 48
    assert first.create("own", chunk_tokens=16)["wanted_chunk_tokens"] == 16
    first.upload("k", FILES)
    first.work()
    first.close()
    later = LocalServer(tmp_path / "data", chunk_tokens=64)
    job_id = reindex(later, FULL)
    later.work()
    assert get_job(later, job_id)["message"].startswith("nothing changed")
    assert later.request("GET", f"{KB}/own").json()["chunk_tokens"] == 16
    assert later.create("new")["chunk_tokens"] == 64
    later.close()


@pytest.mark.parametrize("size", [15, 257, 32.0, "32", True])
def test_a_chunk_size_out_of_range_is_refused(server: LocalServer, size: object) -> None:
    for method, path, body in (("PATCH", f"{KB}/k", {}), ("POST", KB, {"name": "new"})):
        answer = server.request(method, path, json={**body, "chunk_tokens": size})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_chunk_tokens")
    assert server.request("GET", f"{KB}/k").json()["wanted_chunk_tokens"] == 100


def test_other_changes_leave_the_wish(changed: LocalServer) -> None:
    changed.request("PATCH", f"{KB}/k", json={"description": "x", "vanish_share": 0.2})
    base = changed.request("GET", f"{KB}/k").json()
    assert (base["chunk_tokens"], base["wanted_chunk_tokens"], base["vanish_share"]) == (100, 32, 0.2)


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
    house = Indexing(store, build_runners(store, indexer, gate, None), gate)
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
