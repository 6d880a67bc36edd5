"""Rules of refusal: kept by the catalog, set over HTTP, and what an answer makes of them without a chat model."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.store import Store, new_store

from kb.types import RefusalRule, RelevanceMeasure, SafetyLimits

RULE = RefusalRule(threshold=0.25, measure=RelevanceMeasure.VECTORS)
FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = new_store(tmp_path / "store")
    yield store
    store.close()


def test_a_rule_is_kept_beside_the_other_settings(store: Store) -> None:
    refusals, bases = store.catalog.refusals, store.catalog.knowledge_bases
    assert refusals.get_refusal(store.kb.id) is bases.get(store.kb.id).refusal is None
    bases.update(store.kb.id, {}, {"mrr_fall": 0.1})
    refusals.set_refusal(store.kb.id, RULE)
    assert refusals.get_refusal(store.kb.id) == bases.get(store.kb.id).refusal == RULE
    bases.update(store.kb.id, {}, {"vanish_share": 0.2}, 64)
    assert bases.get(store.kb.id).limits == SafetyLimits(mrr_fall=0.1, vanish_share=0.2)
    assert bases.get(store.kb.id).refusal == RULE
    refusals.set_refusal(store.kb.id, None)
    assert refusals.get_refusal(store.kb.id) is None
    assert bases.get(store.kb.id).wanted_chunk_tokens == 64


def test_a_rule_holds_only_for_the_model_that_it_was_found_with(store: Store) -> None:
    refusals = store.catalog.refusals
    refusals.set_refusal(store.kb.id, RULE)
    store.execute("UPDATE space SET embedding_model = 'other'")
    assert refusals.get_refusal(store.kb.id) is store.catalog.knowledge_bases.get(store.kb.id).refusal is None
    refusals.set_refusal(store.kb.id, RULE)
    assert refusals.get_refusal(store.kb.id) == RULE


def test_nobody_has_no_rule(store: Store) -> None:
    store.catalog.refusals.set_refusal("nobody", RULE)
    assert store.catalog.refusals.get_refusal("nobody") is None


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("refusals") / "store")
    for name in ("k", "other"):
        server.create(name)
        server.upload(name, FILES)
        server.work()
    yield server
    server.close()


def set_rule(server: LocalServer, kb: str, rule: Any) -> Any:
    answer = server.request("PATCH", f"{KB}/{kb}", json={"refusal": rule})
    return answer.json()["refusal"] if answer.status_code == 200 else (answer.status_code, answer.json()["code"])


def test_a_rule_is_set_shown_left_alone_and_taken_away(server: LocalServer) -> None:
    rule = {"threshold": 0.5, "measure": "rerank"}
    assert set_rule(server, "k", rule) == rule
    assert server.request("PATCH", f"{KB}/k", json={"description": "x"}).json()["refusal"] == rule
    assert server.request("GET", f"{KB}/k").json()["refusal"] == rule
    assert set_rule(server, "k", None) is None
    assert set_rule(server, "k", {"threshold": 0.5}) == (422, "missing_field")
    for bad in (1.5, {"threshold": 1.5, "measure": "words"}, {"threshold": 0.5, "measure": "luck"}):
        assert set_rule(server, "k", bad) == (422, "bad_refusal")


@pytest.mark.parametrize(
    ("near", "far", "joint"),
    [("成人票每张多少元？", "长江的源头在哪里？", False), ("What does a boat cost?", "Who painted the ceiling?", True)],
)
def test_what_is_refused_follows_the_threshold(server: LocalServer, near: str, far: str, *, joint: bool) -> None:
    def call(verb: str, question: str, **more: Any) -> dict[str, Any]:
        body = {"query" if verb == "search" else "question": question, **more}
        path = f"/api/v1/{verb}" if joint else f"{KB}/k/{verb}"
        answer = server.request("POST", path, json=body | ({"knowledge_bases": ["k", "other"]} if joint else {}))
        assert answer.status_code == 200, answer.text
        return answer.json()

    told = {question: call("search", question, relevance=True)["relevance"] for question in (near, far)}
    assert {one["measure"] for one in told.values()} == {"vectors"}
    assert 0 <= told[far]["value"] < told[near]["value"] <= 1
    assert call("search", near)["relevance"] is None
    assert not call("ask", near)["refused"]

    above = {"threshold": told[near]["value"] + 0.001, "measure": "vectors"}
    set_rule(server, "k", above)
    assert call("ask", near)["refused"] is not joint  # of two, one without a rule
    set_rule(server, "other", above)
    assert call("ask", near)["refused"]
    assert call("ask", near)["passages"] != []
    below = {"threshold": told[near]["value"] - 0.001, "measure": "vectors"}
    set_rule(server, "k", below)
    assert not call("ask", near)["refused"]
    assert call("ask", far)["refused"]
    set_rule(server, "k", above | {"measure": "rerank"})  # there is no reranker
    assert not call("ask", near)["refused"]
    for name in ("k", "other"):
        set_rule(server, name, None)
