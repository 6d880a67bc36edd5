"""The whole server with a reranker: a local model, one behind a server that goes away, one that is not there."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.http_client import Client, wait_until
from fakes.rerank_server import MODEL, RerankServer, serve_reranks
from fakes.rerankers import share_pairs
from fakes.server import Server, run_command
from fakes.tiny_model import build_xlm_reranker
from sentence_transformers import CrossEncoder

KEY = "sk-Canary.of_the_rerank_server"
FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "通知.txt": "开放夜门票另有规定，见门口的牌子。".encode(),
    "天气.txt": "今天天气很好，适合观星。".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
    "pier.txt": b"The boat for the day is at the pier.",
    "weather.txt": b"The weather is good today, what a day.",
}
QUESTIONS = {"开放夜的成人票多少钱？": "价目.md", "What does a boat cost for a day?": "fees.txt"}
BOTH = pytest.mark.parametrize("question", QUESTIONS)


def fill(server: Server) -> Client:
    client = server.open_client("k")
    client.create()
    client.upload(FILES)
    client.wait_until_idle()
    return client


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_xlm_reranker(tmp_path_factory.mktemp("models") / "bge-reranker-base")


@pytest.fixture(scope="module")
def local(model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with Server(tmp_path_factory.mktemp("local") / "store", reranker=model) as server:
        yield fill(server)


def explain(client: Client, question: str, document: str, **wishes: object) -> dict:
    answer = client.http.post(f"{client.path}/explain", json={"query": question, "document": document, **wishes})
    assert answer.status_code == 200, answer.text
    return answer.json()


@BOTH
def test_a_local_model_orders_the_passages(local: Client, model: Path, question: str) -> None:
    found = local.search_whole(question, merge=False)
    passages = found["passages"]
    assert (found["degraded"], len(passages)) == ([], len(FILES))
    scores = [passage["scores"]["rerank"] for passage in passages]
    assert scores == [passage["score"] for passage in passages] == sorted(scores, reverse=True)
    oracle = CrossEncoder(str(model), device="cpu").predict([(question, passage["text"]) for passage in passages])
    np.testing.assert_allclose(scores, oracle, atol=2e-2)  # bfloat16 where the processor has it
    assert found["timings_ms"]["rerank"] > 0
    fused = local.search_whole(question, merge=False, rerank=False)["passages"]
    assert fused[0]["document"]["path"] == QUESTIONS[question]
    assert {passage["scores"]["rerank"] for passage in fused} == {None}
    assert [p["document"]["path"] for p in passages] != [p["document"]["path"] for p in fused]


@BOTH
def test_explain_and_ask_follow_its_order(local: Client, question: str) -> None:
    order = [passage["document"]["path"] for passage in local.search(question, merge=False)]
    told = explain(local, question, order[-1], top_k=1)
    stage = next(stage for stage in told["stages"] if stage["name"] == "reranked")
    assert (told["verdict"] in {"dropped_by_rerank", "below_top_k"}, stage["present"]) == (True, False)
    assert stage["rank"] == len(order)
    assert explain(local, question, order[0], top_k=1)["verdict"] == "found"
    without = [passage["document"]["path"] for passage in local.search(question, merge=False, rerank=False)]
    if order[0] != without[0]:
        assert explain(local, question, without[0], top_k=1)["verdict"] == "dropped_by_rerank"
    asked = local.ask(question)
    assert asked["passages"][0]["document"]["path"] == order[0]
    assert asked["passages"][0]["scores"]["rerank"] is not None


def test_a_model_that_is_not_there_costs_the_rerank_and_says_so(tmp_path: Path) -> None:
    with Server(tmp_path / "store", reranker="BAAI/bge-absent-reranker") as server:
        client = fill(server)
        for question, path in QUESTIONS.items():
            found = client.search_whole(question)
            assert found["degraded"] == ["rerank"]
            assert found["passages"][0]["document"]["path"] == path
            reason = next(s for s in explain(client, question, path)["stages"] if s["name"] == "reranked")["reason"]
            assert "'BAAI/bge-absent-reranker'" in reason
        assert any("set KB_RERANKER to that folder" in line for line in server.list_complaints())


def test_a_server_that_goes_away_and_comes_back(tmp_path: Path) -> None:
    with serve_reranks() as reranks:
        reranks.key = KEY
        settings = {"reranker": reranks.url, "reranker_model": MODEL, "reranker_api_key": KEY, "log_level": "debug"}
        with Server(tmp_path / "store", **settings) as server:
            client = fill(server)
            assert_reranked(client, reranks)
            reranks.stop()
            for question, path in QUESTIONS.items():
                found = client.search_whole(question)
                assert (found["degraded"], found["passages"][0]["document"]["path"]) == (["rerank"], path)
            reranks.start()
            wait_until(lambda: not client.search_whole("boat")["degraded"], "the reranker is asked again")
            assert_reranked(client, reranks)
            assert KEY not in server.read_log()


def assert_reranked(client: Client, reranks: RerankServer) -> None:
    for question in QUESTIONS:
        found = client.search_whole(question, merge=False)
        assert found["degraded"] == []
        for passage in found["passages"]:
            assert passage["score"] == pytest.approx(share_pairs(question, passage["text"]))
        assert reranks.bodies[-1]["query"] == question
        assert len(reranks.bodies[-1]["documents"]) == len(FILES)


def test_on_the_command_line(local: Client) -> None:
    question = next(iter(QUESTIONS))
    where = {"url": str(local.http.base_url)}
    found = {}
    for word in ("--rerank", "--no-rerank"):
        done = run_command(Path(), "search", question, "--kb", "k", "--no-merge", "--json", word, **where)
        assert done.code == 0, done.err
        found[word] = [passage["scores"]["rerank"] for passage in json.loads(done.out)["passages"]]
    assert None not in found["--rerank"]
    assert set(found["--no-rerank"]) == {None}


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"reranker": "http://127.0.0.1:1/v1"}, "KB_RERANKER_MODEL names no model"),
        ({"reranker_model": "m"}, "KB_RERANKER is no http(s)://…/v1"),
        ({"reranker": "BAAI/bge-reranker-base", "reranker_model": "m"}, "KB_RERANKER is no http(s)://…/v1"),
        ({"reranker": f"http://u:{KEY}@127.0.0.1/v1", "reranker_model": "m"}, "put the key into KB_RERANKER_API_KEY"),
        (
            {"reranker": "http://127.0.0.1/v1", "reranker_model": "m", "reranker_api_key": f"{KEY}\n"},
            "KB_RERANKER_API_KEY: Value error, a key is printable ASCII without a space",
        ),
    ],
)
def test_wrong_settings_end_the_start(tmp_path: Path, settings: dict[str, str], told: str) -> None:
    ended = run_command(tmp_path / "store", "serve", **settings)
    assert ended.code == 78
    assert "bad_setting" in ended.err
    assert told in ended.err
    assert KEY not in ended.out + ended.err
    assert not (tmp_path / "store").exists()
