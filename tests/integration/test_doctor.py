"""`kb doctor` against real parts: a store, a chat server, a server; each fault on a line of its own."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.chat_server import (
    DONE,
    FINISH,
    USAGE,
    Reply,
    send_status,
    send_stream,
    serve_chat,
    stall_silently,
    write_event,
)
from fakes.rerank_server import MODEL, serve_reranks
from fakes.server import Server
from fakes.store import Store, new_store, write_sentences

from api.cli.main import kb
from retrieval.sealing import seal_generation

NOWHERE = "http://127.0.0.1:1"
ANSWER = send_stream(write_event("好"), FINISH, USAGE, DONE)
LISTED = {"data": [{"id": "m", "max_model_len": 8_192}]}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    store.index({"a.txt": write_sentences(1, 2)})
    seal_generation(store.catalog.feed, store.kb.id, store.folder.indexes)
    yield store
    store.close()


def run(data_dir: Path, *words: str, **settings: object) -> Result:
    given = {"data_dir": data_dir, "url": NOWHERE, **settings}
    clean = dict.fromkeys(name for name in os.environ if name.startswith("KB_"))
    environment = clean | {f"KB_{name.upper()}": str(value) for name, value in given.items()}
    return CliRunner().invoke(kb, ["doctor", *words], env=environment)


def examine(data_dir: Path, **settings: object) -> dict[str, tuple[str, str | None]]:
    """State and code of every step."""
    result = run(data_dir, "--json", **settings)
    steps = json.loads(result.stdout)["steps"]
    wrong = [step for step in steps if step["state"] == "wrong"]
    assert result.exit_code == (1 if wrong else 0)
    return {step["name"]: (step["state"], step["code"]) for step in steps}


def examine_chat(data_dir: Path, *replies: Reply, told: Any = LISTED, **settings: object) -> dict[str, Any]:
    async def main() -> dict[str, Any]:
        async with serve_chat(*(replies or (ANSWER,))) as chat:
            chat.told = {"/v1/models": told}
            given = {"llm_base_url": chat.url, "llm_model": "m", **settings}
            return await asyncio.to_thread(examine, data_dir, **given)

    found = asyncio.run(main())
    return {name: state for name, state in found.items() if name.startswith("chat")}


FINE = ("ok", None)


def test_a_reranker_is_asked_for_a_score(store: Store) -> None:
    with serve_reranks() as reranker:
        found = examine(store.folder.root, reranker=reranker.url, reranker_model=MODEL)
        assert found[f"reranker {MODEL}"] == FINE
    found = examine(store.folder.root, reranker=f"{NOWHERE}/v1", reranker_model=MODEL)
    assert found[f"reranker {MODEL}"] == ("wrong", "reranker_unavailable")
    assert examine(store.folder.root, reranker=f"{NOWHERE}/v1")["settings"] == ("wrong", "bad_setting")


def test_nothing_is_there_yet(tmp_path: Path) -> None:
    assert examine(tmp_path / "nothing") == {
        "settings": FINE,
        "data directory": FINE,
        "database": ("skipped", "data_dir_empty"),
        "faiss": FINE,
        "embedding model builtin": FINE,
        "chat server": ("skipped", None),
        "server": ("wrong", "unreachable"),
    }


def test_a_store_without_a_server(store: Store) -> None:
    result = run(store.folder.root)
    assert result.exit_code == 1
    lines = {line[6:22].strip(): line for line in result.stdout.splitlines()}
    assert "knowledge bases: 1, documents: 1, chunks: 2" in lines["database"]
    assert "dimensions, of" in result.stdout
    assert lines["server"].startswith("WRONG")
    assert "start it with `kb serve`" in lines["server"]
    assert result.stderr == "1 wrong; docs/errors.md explains the codes\n"


def test_a_damaged_index(store: Store) -> None:
    (path,) = store.folder.indexes.rglob("1.dense")
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert examine(store.folder.root)["indexes"] == ("wrong", "index_damaged")


def test_a_model_that_is_not_there(store: Store) -> None:
    found = examine(store.folder.root, embedding="BAAI/bge-that-is-not-there")
    assert found["embedding model BAAI/bge-that-is-not-there"] == ("wrong", "embedding_unavailable")
    assert found["embedding model builtin"] == FINE


def test_settings_that_cannot_be_meant(tmp_path: Path) -> None:
    assert examine(tmp_path, port="x") == {"settings": ("wrong", "bad_setting")}
    assert examine(tmp_path, llm_base_url="127.0.0.1:8000") == {"settings": ("wrong", "bad_setting")}
    assert examine(tmp_path, llm_base_url=f"{NOWHERE}/v1")["settings"] == ("wrong", "bad_setting")  # no model
    assert examine(tmp_path / "file" / "x")["data directory"] == FINE
    (tmp_path / "file").write_text("x")
    assert examine(tmp_path / "file")["data directory"] == ("wrong", "data_dir_unusable")


def test_a_chat_server_that_answers(tmp_path: Path) -> None:
    found = examine_chat(tmp_path)
    assert found == dict.fromkeys(["chat server", "chat model", "chat window", "chat answer"], FINE)


def test_a_chat_server_that_is_not_there(tmp_path: Path) -> None:
    found = examine(tmp_path, llm_base_url=f"{NOWHERE}/v1", llm_model="m")
    assert found["chat server"] == ("wrong", "llm_unavailable")
    assert "chat answer" not in found


@pytest.mark.parametrize(
    ("told", "reply", "step", "code"),
    [
        (send_status(401), send_status(401), "chat server", "llm_key_refused"),
        (stall_silently(), ANSWER, "chat server", "llm_timeout"),
        ({"data": [{"id": "other"}]}, ANSWER, "chat model", "llm_model_unknown"),
        (LISTED, send_status(400), "chat answer", "llm_rejected"),
        (LISTED, send_status(500), "chat answer", "llm_error"),
        (LISTED, stall_silently(), "chat answer", "llm_timeout"),
        (LISTED, send_stream(), "chat answer", "llm_error"),
    ],
)
def test_what_is_wrong_with_a_chat_server(tmp_path: Path, told: Any, reply: Reply, step: str, code: str) -> None:
    patience = {"llm_connect_seconds": 0.3, "llm_first_token_seconds": 0.3, "llm_retries": 0}
    found = examine_chat(tmp_path, reply, told=told, **patience)
    assert {name: state for name, state in found.items() if state[0] == "wrong"} == {step: ("wrong", code)}


def test_a_kind_that_does_not_mind_the_name(tmp_path: Path) -> None:
    found = examine_chat(tmp_path, told={"data": [{"id": "other"}]}, llm_profile="llamacpp")
    assert found["chat model"] == FINE


def test_a_server_says_what_is_down_in_it(tmp_path: Path) -> None:
    chat = {"llm_base_url": f"{NOWHERE}/v1", "llm_model": "m"}
    with Server(tmp_path / "store", workers=0, **chat) as server:
        found = examine(tmp_path / "store", url=server.url)
        assert found["server"] == FINE
        assert found["server: chat_server"] == ("wrong", "llm_unavailable")
    with Server(tmp_path / "store", workers=0) as server:
        result = run(tmp_path / "store", url=server.url)
        assert (result.exit_code, result.stderr) == (0, "nothing is wrong\n")
