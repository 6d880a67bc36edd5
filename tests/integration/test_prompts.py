"""Prompts of a knowledge base's own: kept by the catalog, set over HTTP and by the command line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.store import Store, new_store

ZH, EN = "你是值班员。没有答案时只说：{missing}", "You are the porter. Without an answer say only: {missing}"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def test_texts_are_kept_beside_the_other_settings(store: Store) -> None:
    prompts, bases = store.catalog.prompts, store.catalog.knowledge_bases
    assert prompts.get_prompt(store.kb.id) == bases.get(store.kb.id).prompt == {}
    bases.update(store.kb.id, {}, {"mrr_fall": 0.1}, 64)
    prompts.set_prompt(store.kb.id, {"zh": ZH})
    prompts.set_prompt(store.kb.id, {"en": EN})
    assert prompts.get_prompt(store.kb.id) == bases.get(store.kb.id).prompt == {"zh": ZH, "en": EN}
    prompts.set_prompt(store.kb.id, {"zh": None})
    assert prompts.get_prompt(store.kb.id) == {"en": EN}
    prompts.set_prompt(store.kb.id, {"en": None, "zh": None})
    assert prompts.get_prompt(store.kb.id) == {}
    assert bases.get(store.kb.id).wanted_chunk_tokens == 64
    assert bases.get(store.kb.id).limits.mrr_fall == 0.1


def test_nobody_has_none(store: Store) -> None:
    store.catalog.prompts.set_prompt("nobody", {"zh": ZH})
    assert store.catalog.prompts.get_prompt("nobody") == {}


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path / "store")
    server.create("k")
    yield server
    server.close()


def change(server: LocalServer, prompt: Any) -> Any:
    told = server.request("PATCH", f"{KB}/k", json={"prompt": prompt})
    return told.json()["prompt"] if told.status_code == 200 else (told.status_code, told.json()["code"])


def test_a_prompt_is_set_shown_left_alone_and_taken_away(server: LocalServer) -> None:
    assert server.request("GET", f"{KB}/k").json()["prompt"] is None
    assert change(server, {"zh": f" {ZH}\r\n"}) == {"zh": ZH, "en": None}
    assert change(server, {"en": EN}) == {"zh": ZH, "en": EN}
    assert server.request("PATCH", f"{KB}/k", json={"description": "x"}).json()["prompt"] == {"zh": ZH, "en": EN}
    assert server.request("GET", KB).json()["items"][0]["prompt"] == {"zh": ZH, "en": EN}
    assert change(server, {"zh": None}) == {"zh": None, "en": EN}
    assert change(server, {}) == {"zh": None, "en": EN}
    assert change(server, None) is None


def test_a_bad_prompt_changes_nothing(server: LocalServer) -> None:
    change(server, {"zh": ZH})
    for bad in ("text", {"zh": "x"}, {"zh": ""}, {"zh": 5}, {"en": EN, "zh": "{missing} {x}"}):
        assert change(server, bad) == (422, "bad_prompt")
    assert change(server, {"fr": "{missing}"}) == (422, "unknown_field")
    told = server.request("PATCH", f"{KB}/k", json={"name": "other", "prompt": {"zh": "x"}})
    assert told.status_code == 422
    assert server.request("GET", f"{KB}/k").json()["prompt"] == {"zh": ZH, "en": None}
