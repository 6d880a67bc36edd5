"""Where the rooms meet: sealing that follows uploads and deletes, and knowledge bases with a model."""

import json
import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer

from api.bootstrap.indexing import Indexing, build_gate, build_runners
from api.bootstrap.services import check_chat, check_faiss
from api.bootstrap.store import check_embedding
from ingest.indexing import Indexer
from kb.errors import InvalidInput, StartRefused
from kb.types import JobKind
from retrieval.generations import find_space_folder, list_revisions
from retrieval.terms import name_form

FILES = {f"{i}.txt": f"第{i}章说的是第{i}件事。Chapter {i} is about thing {i}.".encode() for i in range(6)}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    local = LocalServer(tmp_path / "data", seal_changes=4)
    yield local
    local.close()


def list_seals(server: LocalServer, kb_id: str) -> list[int]:
    head = server.store.catalog.feed.get_head(kb_id)
    return list_revisions(find_space_folder(server.folder.indexes, kb_id, head.space_id))


def build_house(server: LocalServer) -> Indexing:
    store = server.store
    indexer = Indexer(store.catalog, store.blobs, store.texts, store.encoders, None)  # type: ignore[arg-type]
    gate = build_gate(store)
    return Indexing(store, build_runners(store, indexer, gate, None), gate)


def test_uploads_and_deletes_are_sealed_once_enough_has_changed(server: LocalServer) -> None:
    kb_id = server.create("k")["id"]
    server.upload("k", FILES)
    server.work()
    sealed = list_seals(server, kb_id)
    assert sealed == [server.store.catalog.feed.get_head(kb_id).revision]

    assert server.store.delete_documents(kb_id, path_prefix="0") == 1
    server.work()
    assert list_seals(server, kb_id) == sealed  # one chunk less is not worth a generation

    assert server.store.delete_documents(kb_id, path_prefix="") == len(FILES) - 1
    server.work()
    assert server.store.catalog.feed.get_head(kb_id).revision in list_seals(server, kb_id)
    kinds = [job.kind for _, job in server.store.catalog.jobs.list_jobs(10)]
    assert kinds == [JobKind.SEAL, JobKind.SEAL, JobKind.UPLOAD]


def test_a_large_index_is_sealed_after_a_fiftieth_of_it_changed_and_after_a_day_at_any_rate(
    server: LocalServer,
) -> None:
    kb_id = server.create("k")["id"]
    server.upload("k", {f"{i}.txt": f"Chapter {i}".encode() for i in range(300)})
    server.work()
    (first,) = list_seals(server, kb_id)
    server.upload("k", {f"new{i}.txt": f"New chapter {i}".encode() for i in range(5)})  # KB_SEAL_CHANGES is 4
    server.work()
    assert list_seals(server, kb_id) == [first]
    server.upload("k", {"new5.txt": b"New chapter 5"})  # six of 300
    server.work()
    second, _ = list_seals(server, kb_id)
    server.upload("k", {"new6.txt": b"New chapter 6"})
    server.work()
    assert list_seals(server, kb_id)[0] == second
    folder = find_space_folder(server.folder.indexes, kb_id, server.store.catalog.feed.get_head(kb_id).space_id)
    yesterday = time.time() - 25 * 3600
    os.utime(folder / f"{second}.manifest.json", (yesterday, yesterday))
    build_house(server).keep_house()
    server.work()
    assert list_seals(server, kb_id)[0] > second


def test_housekeeping_seals_again_what_has_tokens_of_another_form(server: LocalServer) -> None:
    small, large = server.create("small")["id"], server.create("large")["id"]
    server.upload("small", {"a.txt": b"Too little to be sealed."})
    server.upload("large", FILES)
    server.work()
    house = build_house(server)
    house.keep_house()
    server.work()
    (manifest,) = server.folder.indexes.rglob("*.manifest.json")
    before = manifest.read_text()
    manifest.write_text(before.replace(name_form(), "1"))

    house.keep_house()
    server.work()
    assert json.loads(manifest.read_text())["form"] == name_form()
    assert (list_seals(server, small), len(list_seals(server, large))) == ([], 1)
    kinds = [job.kind for _, job in server.store.catalog.jobs.list_jobs(10)]
    assert kinds == [JobKind.SEAL, JobKind.SEAL, JobKind.UPLOAD, JobKind.UPLOAD]


@pytest.mark.parametrize("name", ["/etc", "../model", "a", "a/b/c", "./b"])
def test_a_request_cannot_name_a_folder_as_its_model(server: LocalServer, name: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        server.store.create_knowledge_base("k", embedding_model=name)
    assert refused.value.code == "bad_embedding_model"


@pytest.mark.parametrize(
    ("installed", "code"),
    [(set(), "faiss_missing"), ({"faiss-cpu", "faiss-gpu"}, "faiss_conflict"), ({"faiss-gpu"}, None)],
)
def test_the_builds_of_faiss_are_checked(installed: set[str], code: str | None) -> None:
    if code is None:
        check_faiss(installed.__contains__)
        return
    with pytest.raises(StartRefused) as refused:
        check_faiss(installed.__contains__)
    assert refused.value.code == code


def test_a_chat_server_without_its_model_is_refused(server: LocalServer) -> None:
    check_chat(server.settings)
    with pytest.raises(StartRefused, match="KB_LLM_MODEL"):
        check_chat(server.settings.model_copy(update={"llm_base_url": "http://127.0.0.1:8000/v1"}))


REMOTE = {"embedding": "http://127.0.0.1:9/v1", "embedding_model": "text-embedding-3-small"}


def test_an_embedding_server_that_is_away_makes_no_knowledge_base(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "store", **REMOTE)
    try:
        for name in (None, "text-embedding-3-small"):
            answer = server.request("POST", KB, json={"name": "k", "embedding_model": name})
            assert (answer.status_code, answer.json()["code"]) == (503, "embedding_unavailable")
        answer = server.request("POST", KB, json={"name": "k", "embedding_model": REMOTE["embedding"]})
        assert (answer.status_code, answer.json()["code"]) == (422, "bad_embedding_model")
        assert server.create("words", embedding_model="builtin")["dimension"] == 512
    finally:
        server.close()


def test_an_embedding_server_and_its_model_are_named_together(server: LocalServer) -> None:
    def check(**settings: str) -> None:
        check_embedding(server.settings.model_copy(update=settings))

    check()
    check(**REMOTE)
    with pytest.raises(StartRefused, match="KB_EMBEDDING_MODEL names no model"):
        check(embedding=REMOTE["embedding"])
    with pytest.raises(StartRefused, match="KB_EMBEDDING is no"):
        check(embedding_model="m")
