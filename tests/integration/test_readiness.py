"""`/health/ready` against parts that are really gone: what is down, what it costs, and how long it is kept."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.chat_server import ChatServer, send_status, serve_chat, stall_silently
from fakes.embedding_server import serve_embeddings
from fakes.local_server import LocalServer
from fakes.rerank_server import MODEL, serve_reranks

from api.bootstrap import readiness

NOWHERE = "http://127.0.0.1:1/v1"
CHAT = {"llm_base_url": NOWHERE, "llm_model": "m"}


@pytest.fixture(autouse=True)
def _no_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path / "store")
    yield server
    server.close()


def look(server: LocalServer) -> tuple[int, str, dict[str, Any]]:
    """Status, what is said of all, and the code of every part: None while it is up."""
    answer = server.request("GET", "/health/ready")
    body = answer.json()
    told = body["code"] if answer.status_code == 503 else body["status"]
    return answer.status_code, told, {part["name"]: part["code"] for part in body["parts"]}


FINE = {"database": None, "data_directory": None, "indexes": None}


def test_nothing_is_down(server: LocalServer) -> None:
    assert look(server) == (200, "ready", FINE)


def test_without_its_data_directory_it_serves_nothing(server: LocalServer) -> None:
    (server.folder.blobs / "tmp").rmdir()
    code = "data_directory_unavailable"
    assert look(server) == (503, code, FINE | {"data_directory": code})
    assert server.request("GET", "/health/ready").headers["retry-after"] == "5"


def test_a_damaged_database(server: LocalServer) -> None:
    server.request("GET", "/health/ready")
    path = server.folder.root / "catalog.sqlite3"
    server.store.catalog.close()
    for beside in path.parent.glob("catalog.sqlite3*"):
        beside.write_bytes(b"no database" * 1_000)
    status, told, parts = look(server)
    assert (status, told) == (503, parts["database"])
    assert told in {"database_damaged", "database_unavailable"}


def test_indexes_that_are_no_folder(server: LocalServer) -> None:
    if server.folder.indexes.exists():
        shutil.rmtree(server.folder.indexes)
    server.folder.indexes.write_text("a file")
    assert look(server) == (503, "index_unavailable", FINE | {"indexes": "index_unavailable"})


def test_without_its_servers_it_serves_less(tmp_path: Path) -> None:
    settings = {"embedding": NOWHERE, "embedding_model": "bge"}
    server = LocalServer(tmp_path / "store", **CHAT, **settings)
    server.run(server.services.chat.open())
    down = {"embedding_server": "embedding_unavailable", "chat_server": "llm_unavailable"}
    assert look(server) == (200, "degraded", FINE | down)
    server.run(server.services.chat.close())
    server.close()


CASES = [
    ({"data": [{"id": "m"}]}, None),
    ({"data": []}, None),
    (send_status(500), None),  # it answers; whether it can chat, only a question shows
    ({"data": [{"id": "other"}]}, "llm_model_unknown"),
    (send_status(401), "llm_key_refused"),
]


@pytest.mark.parametrize(("told", "code"), CASES)
def test_what_a_chat_server_says_of_itself(tmp_path: Path, told: Any, code: str | None) -> None:
    async def main() -> None:
        async with serve_chat(send_status(500)) as chat:
            chat.told = {"/v1/models": told}
            assert await ask_chat(chat) == code

    async def ask_chat(chat: ChatServer) -> str | None:
        server = LocalServer(tmp_path / "store", llm_base_url=chat.url, llm_model="m")
        await server.services.chat.open()
        try:
            parts = (await server.call("GET", "/health/ready")).json()["parts"]
        finally:
            await server.services.chat.close()
            server.close()
        return {part["name"]: part["code"] for part in parts}["chat_server"]

    asyncio.run(main())


def test_a_chat_server_that_hangs_holds_nothing_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "PATIENCE_S", 0.2)

    async def main() -> None:
        async with serve_chat(send_status(500)) as chat:
            chat.told = {"/v1/models": stall_silently()}
            server = LocalServer(tmp_path / "store", llm_base_url=chat.url, llm_model="m")
            await server.services.chat.open()
            first, second = await asyncio.gather(*(server.call("GET", "/health/ready") for _ in range(2)))
            assert first.json() == second.json()
            assert first.json()["parts"][-1]["code"] == "llm_timeout"
            assert len(chat.asked) == 1  # one look for all who ask meanwhile
            await server.services.chat.close()
            server.close()

    asyncio.run(main())


def test_an_answer_is_kept_for_a_while(server: LocalServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(readiness, "KEPT_S", 3_600.0)
    assert look(server)[0] == 200
    (server.folder.blobs / "tmp").rmdir()
    assert look(server)[0] == 200
    monkeypatch.setattr(readiness, "KEPT_S", 0.0)
    assert look(server)[0] == 503


def test_an_embedding_server_is_not_asked_to_embed(tmp_path: Path) -> None:
    with serve_embeddings() as embedding:
        server = LocalServer(tmp_path / "store", embedding=embedding.url, embedding_model="bge")
        assert look(server) == (200, "ready", FINE | {"embedding_server": None})
        assert embedding.texts == []
        server.close()


def test_a_rerankers_server_is_a_part_that_can_be_missed(tmp_path: Path) -> None:
    with serve_reranks() as reranker:
        server = LocalServer(tmp_path / "store", reranker=reranker.url, reranker_model=MODEL)
        assert look(server) == (200, "ready", FINE | {"reranker_server": None})
    assert look(server) == (200, "degraded", FINE | {"reranker_server": "reranker_unavailable"})
    server.close()
