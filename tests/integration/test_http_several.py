"""One question to several knowledge bases over HTTP: two embedding models, two languages, one answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.tiny_model import build_bge_folder

ZH, EN = "职工年假有多少天？", "When does the dome open?"
SHARED = {"共用/门票.md": "# 门票\n\n成人票每张一百六十元。\n\nA boat for a day costs twelve pounds.\n".encode()}
FILES = {
    "制度": {"年假.md": "# 年假\n\n职工年假为十五天，须提前申请。\n".encode(), **SHARED},
    "manual": {"dome.md": b"# Dome\n\nThe dome opens at nine in the evening.\n", "boats.md": SHARED["共用/门票.md"]},
    "other": {"weather.txt": b"It rained on Monday, and the wind came from the west."},
}
HOME = {ZH: ("制度", "年假.md"), EN: ("manual", "dome.md")}
ALL = list(FILES)
BOTH = pytest.mark.parametrize("question", [ZH, EN])


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """`制度` and `other` with `builtin`, `manual` with a small model of 32 dimensions and two revisions."""
    folder = build_bge_folder(tmp_path_factory.mktemp("model") / "tiny")
    server = LocalServer(tmp_path_factory.mktemp("several") / "store", embedding=str(folder))
    for name, files in FILES.items():
        server.create(name, **({} if name == "manual" else {"embedding_model": "builtin"}))
        server.upload(name, files, data={"metadata": f'{{"kb": "{name}"}}'})
        server.work()
    server.upload("manual", {"late.txt": b"The shutter froze halfway."})
    server.work()
    yield server
    server.close()


@pytest.fixture(scope="module")
def ids(server: LocalServer) -> dict[str, str]:
    return {one["name"]: one["id"] for one in server.request("GET", KB).json()["items"]}


def post(server: LocalServer, call: str, names: list[str], **body: Any) -> dict[str, Any]:
    answer = server.request("POST", f"/api/v1/{call}", json={"knowledge_bases": names, **body})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    return told


def test_the_models_are_two(server: LocalServer) -> None:
    made = {one["name"]: (one["dimension"], one["revision"]) for one in server.request("GET", KB).json()["items"]}
    assert made == {"制度": (512, 1), "manual": (32, 2), "other": (512, 1)}


@BOTH
@pytest.mark.parametrize("names", [ALL, ALL[::-1]])
def test_the_best_passage_is_of_the_knowledge_base_that_knows(
    server: LocalServer, ids: dict[str, str], question: str, names: list[str]
) -> None:
    name, path = HOME[question]
    told = post(server, "search", names, query=question)
    best = told["passages"][0]
    alone = server.request("POST", f"{KB}/{name}/search", json={"query": question}).json()["passages"][0]
    assert best["document"]["path"] == path
    assert best["knowledge_base"] == alone["knowledge_base"] == {"id": ids[name], "name": name}
    same = ("text", "document", "chunk_ids", "page_start", "page_end", "start", "end", "heading", "version", "scores")
    assert {key: best[key] for key in same} == {key: alone[key] for key in same}
    assert [one["score"] for one in told["passages"]] == sorted(
        (one["score"] for one in told["passages"]), reverse=True
    )


def test_the_answer_has_every_field_of_the_contract(server: LocalServer, ids: dict[str, str]) -> None:
    told = post(server, "search", ALL, query=ZH)
    assert set(told) == {"passages", "revision", "revisions", "degraded", "timings_ms", "relevance"}
    assert told["revision"] == 2
    assert told["revisions"] == {ids["制度"]: 1, ids["manual"]: 2, ids["other"]: 1}
    assert set(told["timings_ms"]) == {"embed", "dense", "lexical", "fuse", "rerank", "merge", "total"}
    assert told["timings_ms"]["total"] > 0
    one = server.request("POST", f"{KB}/manual/search", json={"query": ZH}).json()
    assert (one["revision"], one["revisions"]) == (2, {ids["manual"]: 2})


@BOTH
def test_one_alone_answers_as_by_its_own_address(server: LocalServer, ids: dict[str, str], question: str) -> None:
    name, _ = HOME[question]
    alone = server.request("POST", f"{KB}/{name}/search", json={"query": question}).json()
    for names in ([name], [ids[name]], [name, name], [name, ids[name]]):
        told = post(server, "search", names, query=question)
        assert {**told, "timings_ms": None} == {**alone, "timings_ms": None}


@pytest.mark.parametrize("question", ["成人票多少钱", "What does a boat cost for a day?"])
def test_a_file_that_is_in_two_is_answered_with_once(server: LocalServer, ids: dict[str, str], question: str) -> None:
    found = post(server, "search", ALL, query=question)["passages"]
    [best] = [one for one in found if "twelve pounds" in one["text"]]
    [other] = best["duplicates"]
    places = {
        (one["knowledge_base"]["name"], path)
        for one, path in ((best, best["document"]["path"]), (other, other["path"]))
    }
    assert places == {("制度", "共用/门票.md"), ("manual", "boats.md")}
    assert set(other) == {"id", "path", "title", "knowledge_base"}
    assert other["knowledge_base"]["id"] == ids[other["knowledge_base"]["name"]]


@pytest.mark.parametrize("mode", ["hybrid", "dense", "lexical"])
def test_the_limits_hold_over_all(server: LocalServer, mode: str) -> None:
    everything = post(server, "search", ALL, query=EN, mode=mode, top_k=100, merge=False)["passages"]
    assert len(everything) == len({one["text"] for one in everything})
    for top_k in (1, 2, 3):
        found = post(server, "search", ALL, query=EN, mode=mode, top_k=top_k, merge=False)["passages"]
        assert len(found) <= top_k
        assert found[:1] == everything[:1]
    assert len(post(server, "search", ALL, query=EN, mode=mode, max_tokens=1)["passages"]) == min(1, len(everything))


def test_a_filter_is_held_against_each(server: LocalServer) -> None:
    found = post(server, "search", ALL, query="年假 dome 门票", filter={"metadata": {"kb": "manual"}})["passages"]
    assert {one["knowledge_base"]["name"] for one in found} == {"manual"}
    assert post(server, "search", ALL, query=EN, filter={"path_prefix": "none/"})["passages"] == []
    [best, *_] = post(server, "ask", ALL, question=ZH, filter={"metadata": {"kb": "other"}})["passages"] or [None]
    assert best is None or best["knowledge_base"]["name"] == "other"


def test_what_one_could_not_do_is_said_of_all(server: LocalServer) -> None:
    assert post(server, "search", ALL, query=ZH, rerank=True)["degraded"] == ["rerank"]


@BOTH
def test_an_answer_cites_with_the_knowledge_base(server: LocalServer, ids: dict[str, str], question: str) -> None:
    name, path = HOME[question]
    told = post(server, "ask", ALL, question=question)
    first = told["citations"][0]
    assert (first["document"]["path"], first["knowledge_base"]) == (path, {"id": ids[name], "name": name})
    assert (told["refused"], told["revision"], set(told["revisions"])) == (False, 2, set(ids.values()))
    text = server.request("GET", f"{KB}/{name}/documents/{first['document']['id']}/text").json()["text"]
    assert first["quote"] == text[first["start"] : first["end"]]
    streamed = server.request(
        "POST", "/api/v1/ask", json={"knowledge_bases": ALL, "question": question, "stream": True}
    )
    assert streamed.headers["content-type"].startswith("text/event-stream")
    assert streamed.text.count("event: done") == 1
    assert f'"knowledge_base":{{"id":"{ids[name]}","name":"{name}"}}' in streamed.text


@pytest.mark.parametrize(("call", "field"), [("search", "query"), ("ask", "question")])
@pytest.mark.parametrize(
    ("names", "status", "code", "told"),
    [
        (["制度", "没有这个库"], 404, "knowledge_base_not_found", "没有这个库"),
        (["nope", "manual"], 404, "knowledge_base_not_found", "nope"),
        ([], 422, "bad_knowledge_bases", "knowledge_bases"),
        (["制度"] * 17, 422, "bad_knowledge_bases", "knowledge_bases"),
        ("制度", 422, "bad_knowledge_bases", "knowledge_bases"),
        ([1], 422, "bad_knowledge_bases", "knowledge_bases"),
        (None, 422, "bad_knowledge_bases", "knowledge_bases"),
    ],
)
def test_what_cannot_be_asked(
    server: LocalServer, call: str, field: str, names: object, status: int, code: str, told: str
) -> None:
    answer = server.request("POST", f"/api/v1/{call}", json={"knowledge_bases": names, field: "年假"})
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert told in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"query": "x"}, "missing_field"),
        ({"query": " ", "knowledge_bases": ["manual"]}, "question_empty"),
        ({"query": "x", "knowledge_bases": ["manual"], "kb": "manual"}, "unknown_field"),
        ({"query": "x", "knowledge_bases": ["manual", "other"], "top_k": 0}, "bad_top_k"),
        ({"query": "x", "knowledge_bases": ["manual", "other"], "filter": {"path": "a"}}, "unknown_field"),
    ],
)
def test_the_other_fields_are_those_of_a_search(server: LocalServer, body: dict[str, Any], code: str) -> None:
    answer = server.request("POST", "/api/v1/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (422, code)


def test_a_model_that_is_not_there_costs_its_vectors_alone(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "store", embedding=str(build_bge_folder(tmp_path / "tiny")))
    for name in ("制度", "manual"):
        server.create(name, **({} if name == "manual" else {"embedding_model": "builtin"}))
        server.upload(name, FILES[name])
        server.work()
    server.close()
    (tmp_path / "tiny").rename(tmp_path / "gone")
    server = LocalServer(tmp_path / "store", embedding="builtin")
    told = post(server, "search", ["制度", "manual"], query=EN)
    dense = {(one["knowledge_base"]["name"], one["scores"]["dense"] is None) for one in told["passages"]}
    assert (told["degraded"], told["passages"][0]["document"]["path"]) == (["dense"], "dome.md")
    assert dense == {("制度", False), ("manual", True)}
    body = {"query": EN, "knowledge_bases": ["制度", "manual"], "mode": "dense"}
    answer = server.request("POST", "/api/v1/search", json=body)
    assert (answer.status_code, answer.json()["code"]) == (503, "embedding_unavailable")
    server.close()
