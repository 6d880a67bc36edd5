"""Planted losses over HTTP on a real catalog and real indexes: each is named, with its values, in both languages."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.scans import SCAN, make_pdf

STAGES = ["parsed", "chunked", "dense", "lexical", "fused", "merged", "budget"]
ZH, EN = "职工年假有多少天", "How many days of annual leave"
TARGETS = {ZH: "制度/年假.md", EN: "policy/leave.md"}
OTHERS = {ZH: "手册/天窗.md", EN: "manual/dome.md"}
FILES = {
    "制度/年假.md": "# 年假\n\n职工年假为十五天，须提前申请。\n".encode(),
    "policy/leave.md": b"# Leave\n\nEvery employee has fifteen days of annual leave a year.\n",
    "手册/天窗.md": "天窗停在半途时，先断电，再手摇。\n".encode(),
    "manual/dome.md": b"A shutter that froze halfway is cranked by hand.\n",
    "扫描.pdf": SCAN.read_bytes(),
    "scan.pdf": SCAN.read_bytes(),
    "坏.pdf": b"%PDF-1.4",
    "broken.pdf": b"%PDF-1.4",
    "half.pdf": make_pdf("ts"),
}
FAINT = {ZH: "杂记.txt", EN: "notes.txt"}  # one word of the question in much else
CROWDED = {ZH: "拥挤", EN: "crowded"}
MUCH_ELSE = {
    ZH: "观测站的穹顶朝南开。" * 8 + "那时还没有年假。" + "赤道仪停在东边。" * 8,
    EN: "The mirror was cleaned in spring. " * 8 + "It took days. " + "Clouds came from the west. " * 8,
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """`small` has the documents, `拥挤` and `crowded` those of one language behind sixty that repeat its question,
    `waiting` one that no worker has seen."""
    server = LocalServer(tmp_path_factory.mktemp("explain") / "store")
    bases = {"small": FILES}
    for question, kb in CROWDED.items():
        bases[kb] = {f"bulk/{i:03}.txt": f"{question} {i}".encode() for i in range(60)}
        bases[kb] |= {FAINT[question]: MUCH_ELSE[question].encode(), "other.txt": FILES[OTHERS[question]]}
    for kb, files in bases.items():
        server.create(kb)
        server.upload(kb, files, data={"metadata": '{"年": 2024}'})
        server.work()
    server.create("waiting")
    server.upload("waiting", {"新.md": "年假".encode(), "new.md": b"annual leave"})
    yield server
    server.close()


def explain(server: LocalServer, kb: str, query: str, document: str, **options: Any) -> dict[str, Any]:
    answer = server.request("POST", f"{KB}/{kb}/explain", json={"query": query, "document": document, **options})
    assert answer.status_code == 200, answer.text
    told: dict[str, Any] = answer.json()
    found = {passage["document"]["id"] for passage in search(server, kb, query, **options)}
    assert (told["verdict"] == "found") == (told["document"]["id"] in found)
    return told


def search(server: LocalServer, kb: str, query: str, **options: Any) -> list[dict[str, Any]]:
    answer = server.request("POST", f"{KB}/{kb}/search", json={"query": query, **options})
    passages: list[dict[str, Any]] = answer.json()["passages"]
    return passages


def get_stage(told: dict[str, Any], name: str) -> dict[str, Any]:
    stage: dict[str, Any] = next(stage for stage in told["stages"] if stage["name"] == name)
    return stage


def list_paths(server: LocalServer, kb: str, query: str, mode: str) -> list[str]:
    """The whole ranking of a leg, from a search that asks for as much as it may."""
    found = search(server, kb, query, mode=mode, top_k=100, merge=False, max_tokens=100_000)
    return list(dict.fromkeys(passage["document"]["path"] for passage in found))


BOTH = pytest.mark.parametrize("question", [ZH, EN])


@BOTH
def test_the_shape_of_the_contract(server: LocalServer, question: str) -> None:
    told = explain(server, "small", question, TARGETS[question])
    assert set(told) == {"document", "stages", "verdict", "revision", "degraded"}
    assert [stage["name"] for stage in told["stages"]] == STAGES
    assert all(set(stage) == {"name", "present", "rank", "score", "reason"} for stage in told["stages"])
    assert all(stage["present"] and stage["reason"] for stage in told["stages"])
    assert (told["verdict"], told["degraded"]) == ("found", [])
    best = search(server, "small", question)[0]
    assert told["document"] == best["document"]
    scores = [get_stage(told, name)["score"] for name in ("dense", "lexical", "fused")]
    assert scores == [best["scores"][name] for name in ("dense", "lexical", "fused")]
    assert [get_stage(told, name)["rank"] for name in ("parsed", "chunked", "lexical", "budget")] == [None, None, 1, 1]
    by_id = explain(server, "small", question, told["document"]["id"])
    assert by_id == told


@pytest.mark.parametrize(("question", "path"), [(ZH, "坏.pdf"), (EN, "broken.pdf")])
def test_not_parsed(server: LocalServer, question: str, path: str) -> None:
    told = explain(server, "small", question, path)
    assert told["verdict"] == "not_parsed"
    assert get_stage(told, "parsed")["reason"].startswith("version 1 failed with pdf_malformed (")
    assert not any(stage["present"] for stage in told["stages"])


@pytest.mark.parametrize(("question", "path"), [(ZH, "扫描.pdf"), (EN, "scan.pdf")])
def test_scanned_pages_alone(server: LocalServer, question: str, path: str) -> None:
    told = explain(server, "small", question, path)
    reason = get_stage(told, "parsed")["reason"]
    assert told["verdict"] == "scanned"
    assert reason.startswith("version 1 failed with no_text (")
    assert reason.endswith("; 1 page: 1 scanned")


def test_pages_that_are_scanned_are_counted_beside_those_that_answer(server: LocalServer) -> None:
    reason = get_stage(explain(server, "small", "camera", "half.pdf"), "parsed")["reason"]
    assert reason.endswith("; 2 pages: 1 indexed, 1 scanned")


@pytest.mark.parametrize(("question", "path"), [(ZH, "新.md"), (EN, "new.md")])
def test_pending(server: LocalServer, question: str, path: str) -> None:
    told = explain(server, "waiting", question, path)
    assert (told["verdict"], told["revision"]) == ("pending", 0)
    assert get_stage(told, "parsed")["reason"].startswith("version 1 is pending: ")


@BOTH
@pytest.mark.parametrize(
    ("only", "wanted"),
    [
        ({"path_prefix": "bulk/"}, "path_prefix 'bulk/': its path is '{path}'"),
        ({"language": "fr"}, "language 'fr': its language is '{language}'"),
        ({"metadata": {"年": 2025}}, "metadata.年 2025: it has 2024"),
        (
            {"metadata": {"team": "a"}, "language": "fr"},
            "language 'fr': its language is '{language}'; metadata.team 'a'",
        ),
    ],
)
def test_filtered_out(server: LocalServer, question: str, only: dict[str, Any], wanted: str) -> None:
    path, language = TARGETS[question], "zh" if question == ZH else "en"
    told = explain(server, "small", question, path, filter=only)
    stage = get_stage(told, "fused")
    assert (told["verdict"], stage["present"], stage["rank"]) == ("filtered", False, None)
    assert stage["reason"].startswith("the filter excludes it by " + wanted.format(path=path, language=language))
    assert get_stage(told, "lexical")["present"]


@BOTH
def test_below_the_candidates_of_the_vectors(server: LocalServer, question: str) -> None:
    path = FAINT[question]
    rank = list_paths(server, CROWDED[question], question, "dense").index(path) + 1
    told = explain(server, CROWDED[question], question, path, mode="dense")
    stage = get_stage(told, "dense")
    assert rank > 50
    assert (told["verdict"], stage["present"], stage["rank"]) == ("below_candidates_dense", False, rank)
    assert stage["reason"].startswith(f"place {rank}, below the 50 candidates asked for, ")


@BOTH
def test_below_the_candidates_of_the_words(server: LocalServer, question: str) -> None:
    path = FAINT[question]
    rank = list_paths(server, CROWDED[question], question, "lexical").index(path) + 1
    told = explain(server, CROWDED[question], question, path, mode="lexical")
    stage = get_stage(told, "lexical")
    assert rank > 50
    assert (told["verdict"], stage["present"], stage["rank"]) == ("below_candidates_lexical", False, rank)
    assert explain(server, CROWDED[question], question, path)["verdict"] == "below_candidates"


@BOTH
def test_without_a_common_word(server: LocalServer, question: str) -> None:
    told = explain(server, "small", question, OTHERS[question], mode="lexical")
    assert told["verdict"] == "no_match_lexical"
    assert get_stage(told, "lexical")["reason"].startswith("it holds none of the question's terms (")


@BOTH
def test_below_top_k(server: LocalServer, question: str) -> None:
    path = OTHERS[question]
    order = [passage["document"]["path"] for passage in search(server, "small", question, top_k=100, merge=False)]
    rank = order.index(path) + 1
    told = explain(server, "small", question, path, top_k=rank - 1)
    stage = get_stage(told, "fused")
    assert (told["verdict"], stage["present"], stage["rank"]) == ("below_top_k", False, rank)
    assert stage["reason"] == f"place {rank} of what may be seen; top_k {rank - 1} takes the first {rank - 1}"
    assert explain(server, "small", question, path, top_k=rank)["verdict"] == "found"


@BOTH
@pytest.mark.parametrize("merge", [True, False])
def test_over_the_budget(server: LocalServer, question: str, *, merge: bool) -> None:
    path = OTHERS[question]
    told = explain(server, "small", question, path, max_tokens=1, merge=merge)
    stage = get_stage(told, "budget")
    assert (told["verdict"], stage["present"]) == ("over_budget", False)
    assert stage["reason"].startswith("max_tokens 1 holds the first 1 hits (")
    assert f"; filled by {TARGETS[question]} " in stage["reason"]
    assert get_stage(told, "merged")["present"]


def test_deleted_and_uploaded_again(server: LocalServer) -> None:
    server.create("deleted")
    for path, question in (("制度/年假.md", ZH), ("policy/leave.md", EN)):
        (made,) = server.upload("deleted", {path: FILES[path]}).json()["documents"]
        server.work()
        assert explain(server, "deleted", question, path)["verdict"] == "found"
        assert server.request("DELETE", f"{KB}/deleted/documents/{made['id']}").status_code == 204
        for name in (path, made["id"]):
            told = explain(server, "deleted", question, name)
            assert (told["verdict"], told["document"]["id"]) == ("deleted", made["id"])
            assert get_stage(told, "parsed")["reason"].startswith("a user deleted it at 2")
        (again,) = server.upload("deleted", {path: FILES[path]}).json()["documents"]
        server.work()
        told = explain(server, "deleted", question, path)
        assert (told["verdict"], told["document"]["id"]) == ("found", again["id"])
        assert explain(server, "deleted", question, made["id"])["verdict"] == "deleted"


def test_a_document_that_a_restore_took_away(server: LocalServer) -> None:
    server.create("restored")
    for path in TARGETS.values():
        server.upload("restored", {path: FILES[path]})
        server.work()
    assert server.request("POST", f"{KB}/restored/revisions/1/restore").status_code == 202
    server.work()
    told = explain(server, "restored", EN, TARGETS[EN])
    assert (told["verdict"], told["revision"]) == ("removed", 3)
    assert get_stage(told, "parsed")["reason"].startswith("a sync or a restore took it away with revision 3 at 2")


def test_the_version_that_answers_is_the_one_explained(server: LocalServer) -> None:
    server.create("versions")
    for data in (FILES["policy/leave.md"], b"%PDF-1.4"):
        server.upload("versions", {"a": data})
        server.work()
    told = explain(server, "versions", EN, "a")
    reason = get_stage(told, "parsed")["reason"]
    assert told["verdict"] == "found"
    assert reason.startswith(
        "version 1 answers at revision 1; 1 page: 1 indexed; version 2 failed with pdf_malformed ("
    )


@BOTH
def test_a_rerank_is_a_stage_only_when_it_was_asked_for(server: LocalServer, question: str) -> None:
    told = explain(server, "small", question, TARGETS[question], rerank=True)
    assert [stage["name"] for stage in told["stages"]] == [*STAGES[:5], "reranked", *STAGES[5:]]
    assert told["degraded"] == ["rerank"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"query": "年假", "document": "没有.md"}, 404, "document_not_found"),
        ({"query": "年假", "document": "bulk/000.txt"}, 404, "document_not_found"),
        ({"query": "年假", "document": ""}, 422, "bad_document"),
        ({"query": "年假", "document": "x" * 1_025}, 422, "bad_document"),
        ({"query": "年假"}, 422, "missing_field"),
        ({"query": " ", "document": "a"}, 422, "question_empty"),
        ({"query": "年假", "document": "a", "top_k": 0}, 422, "bad_top_k"),
        ({"query": "年假", "document": "a", "nope": 1}, 422, "unknown_field"),
    ],
)
def test_what_cannot_be_explained(server: LocalServer, body: dict[str, Any], status: int, code: str) -> None:
    answer = server.request("POST", f"{KB}/small/explain", json=body)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_document_of_another_knowledge_base_is_not_there(server: LocalServer) -> None:
    told = explain(server, "拥挤", ZH, "bulk/000.txt")
    answer = server.request("POST", f"{KB}/small/explain", json={"query": ZH, "document": told["document"]["id"]})
    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")


def test_a_path_typed_on_a_mac_is_the_same_path(server: LocalServer) -> None:
    server.create("mac")
    server.upload("mac", {"caf\u00e9.txt": "年假".encode()})
    server.work()
    assert explain(server, "mac", "年假", "cafe\u0301.txt")["verdict"] == "found"
