"""Searches through changes of the embedding model and through compactions, with uploads all the while: never an error,
a gap, a degraded answer, or scores of two models in one answer."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
from fakes.http_client import Client
from fakes.searches import Look, searching
from fakes.server import Server, list_findings
from fakes.tiny_model import build_bge_folder

COMPACTIONS = 20
QUESTION = "知识库 question 9"
FIXED = {
    f"{language}/{i}.txt": f"{text} {i}。".encode()
    for i in range(8)
    for language, text in (("zh", "知识库文档问题回答，天气很好"), ("en", "the knowledge base of question and answer"))
}
FEWEST = 6  # of the fixed documents, that an answer of 16 must hold

Score = tuple[str, float | None]  # path and cosine; as found by one search


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bge_folder(tmp_path_factory.mktemp("models") / "bge-tiny-zh")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model: Path) -> Iterator[Server]:
    store = tmp_path_factory.mktemp("encoders") / "store"
    with Server(store, seal_changes=1, embedding=model) as server:
        yield server


def read_scores(client: Client) -> frozenset[Score]:
    """The cosine of each of the fixed documents that an answer holds. Fails for an answer without the vectors."""
    answer = client.http.post(f"{client.path}/search", json={"query": QUESTION, "top_k": 16, "mode": "dense"})
    assert answer.status_code == 200, answer.text
    assert answer.json()["degraded"] == []
    found = ((p["document"]["path"], p["scores"]["dense"]) for p in answer.json()["passages"])
    return frozenset((path, round(score, 4)) for path, score in found if path in FIXED)


def reindex(client: Client, model: str) -> None:
    body = {"mode": "full", "embedding_model": model, "gate": False}
    job = client.wait_for_job(client.http.post(f"{client.path}/reindex", json=body).json()["job_id"])
    assert job["state"] == "succeeded", job
    assert client.http.get(client.path).json()["embedding_model"] == model


def count_compactions(client: Client) -> int:
    jobs = [job for job in client.list_jobs() if job["kind"] == "seal" and job["state"] == "succeeded"]
    return sum(job["message"].startswith("sealed revision") for job in jobs)


def upload_one(client: Client, number: int) -> None:
    """Far from the question, so that it takes no place in an answer."""
    job = client.wait_for_job(client.upload({f"more/{number}.txt": f"zzz {number} qqq".encode()})["job_id"])
    assert job["state"] == "succeeded"


def is_one_model(look: frozenset[Score], models: list[dict[str, float]]) -> bool:
    return any(all(abs(scores[path] - score) <= 2e-3 for path, score in look) for scores in models)


def test_no_search_notices_more_than_that_the_answers_change(server: Server, model: Path) -> None:
    client = server.open_client("encoders")
    client.http.post("/api/v1/knowledge-bases", json={"name": "encoders", "embedding_model": "builtin"})
    client.wait_for_job(client.upload(FIXED)["job_id"])
    builtin = dict(read_all(client))
    number = count()
    looks: list[Look[Score]]
    with searching(lambda: server.open_client("encoders"), read_scores) as looks:
        while count_compactions(client) < COMPACTIONS:
            upload_one(client, next(number))
        for name in (str(model), "builtin", str(model)):
            upload_one(client, next(number))
            reindex(client, name)
            upload_one(client, next(number))
    tiny = dict(read_all(client))
    assert any(abs(tiny[path] - builtin[path]) > 0.05 for path in FIXED)
    assert len(looks) > 2 * COMPACTIONS
    for look in looks:
        assert len(look.found) >= FEWEST, look
        assert is_one_model(look.found, [builtin, tiny]), (look, builtin, tiny)
    assert any(is_one_model(look.found, [tiny]) for look in looks)
    assert any(is_one_model(look.found, [builtin]) for look in looks)
    assert list_findings(server.data_dir) == []


def read_all(client: Client) -> list[tuple[str, float]]:
    """The cosine of every fixed document."""
    answer = client.http.post(
        f"{client.path}/search", json={"query": QUESTION, "top_k": 100, "mode": "dense", "merge": False}
    ).json()
    found = {p["document"]["path"]: p["scores"]["dense"] for p in answer["passages"]}
    assert FIXED.keys() <= found.keys()
    return [(path, found[path]) for path in FIXED]
