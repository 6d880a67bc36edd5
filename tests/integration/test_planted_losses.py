"""Every way to lose a document, planted among the samples in a real store and asked over HTTP: each is named.

Seven are rows of `LOSSES`; what a reranker drops hangs on what it prefers, and has a test of its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.rerank_server import MODEL, RerankServer, serve_reranks
from fakes.scans import MANUAL, SAMPLES, make_pdf

ZH, EN = "天窗为什么走到一半停住？", "Why did the dome shutter stop halfway?"
NEAR = {ZH: "手册/观测员手册.pdf", EN: "letters/2025-11-10-lochmoor-dome-drive.txt"}
LESS = {ZH: "历史/台史.txt", EN: "README.md"}
GONE = {ZH: "删除/天窗.md", EN: "deleted/shutter.md"}
PLANTED = {
    "坏/天窗手册.pdf": MANUAL.read_bytes()[:700],
    "broken/shutter.docx": b"PK\x03\x04" + b"\0" * 200,
    "扫描/天窗.pdf": make_pdf("s"),
    "scanned/shutter.pdf": make_pdf("ss"),
    GONE[ZH]: "天窗走到一半停住，因为限位开关坏了。\n".encode(),
    GONE[EN]: b"The dome shutter stopped halfway: the limit switch had failed.\n",
}


@dataclass(frozen=True, kw_only=True)
class Loss:
    """`stage` lost the document of each question, and its reason holds `told`. `options` are what loses it."""

    documents: dict[str, str]
    verdict: str
    stage: str
    told: str
    options: dict[str, Any] = field(default_factory=dict)


LOSSES = {
    "not parsed": Loss(
        documents={ZH: "坏/天窗手册.pdf", EN: "broken/shutter.docx"},
        verdict="not_parsed",
        stage="parsed",
        told="_malformed (",
    ),
    "scanned": Loss(
        documents={ZH: "扫描/天窗.pdf", EN: "scanned/shutter.pdf"},
        verdict="scanned",
        stage="parsed",
        told="failed with no_text (",
    ),
    "filtered": Loss(
        documents=NEAR,
        verdict="filtered",
        stage="fused",
        told="the filter excludes it by path_prefix 'public/': its path is ",
        options={"filter": {"path_prefix": "public/"}},
    ),
    "below top_k of the vectors": Loss(
        documents=NEAR,
        verdict="below_top_k",
        stage="fused",
        told="top_k 1 takes the first 1",
        options={"mode": "dense", "top_k": 1},
    ),
    "below top_k of the words": Loss(
        documents=LESS,
        verdict="below_top_k",
        stage="fused",
        told="top_k 1 takes the first 1",
        options={"mode": "lexical", "top_k": 1},
    ),
    "over the budget": Loss(
        documents=NEAR,
        verdict="over_budget",
        stage="budget",
        told="max_tokens 1 holds the first 1 hits (",
        options={"max_tokens": 1, "top_k": 100},
    ),
    "deleted": Loss(documents=GONE, verdict="deleted", stage="parsed", told="a user deleted it at 2"),
}
BOTH = pytest.mark.parametrize("question", [ZH, EN])


@pytest.fixture(scope="module")
def reranker() -> Iterator[RerankServer]:
    with serve_reranks() as server:
        yield server


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, reranker: RerankServer) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("losses") / "store", reranker=reranker.url, reranker_model=MODEL)
    samples = {path.relative_to(SAMPLES).as_posix(): path.read_bytes() for path in SAMPLES.rglob("*") if path.is_file()}
    server.create("k")
    server.upload("k", samples | PLANTED)
    server.work()
    for question, path in GONE.items():  # each is the best there is, until it is deleted
        assert explain(server, question, path)["verdict"] == "found"
        assert search(server, question)["passages"][0]["document"]["path"] == path
        [made] = server.request("GET", f"{KB}/k/documents?path_prefix={path}").json()["items"]
        assert server.request("DELETE", f"{KB}/k/documents/{made['id']}").status_code == 204
    yield server
    server.close()


def search(server: LocalServer, question: str, **options: Any) -> dict[str, Any]:
    """Not reranked unless `options` say so."""
    body = {"query": question, "rerank": False, **options}
    told: dict[str, Any] = server.request("POST", f"{KB}/k/search", json=body).json()
    return told


def explain(server: LocalServer, question: str, path: str, **options: Any) -> dict[str, Any]:
    body = {"query": question, "document": path, "rerank": False, **options}
    told: dict[str, Any] = server.request("POST", f"{KB}/k/explain", json=body).json()
    return told


@BOTH
@pytest.mark.parametrize("name", LOSSES)
def test_the_loss_is_named(server: LocalServer, name: str, question: str) -> None:
    loss = LOSSES[name]
    path = loss.documents[question]
    told = explain(server, question, path, **loss.options)
    stages = {stage["name"]: stage for stage in told["stages"]}
    assert (told["verdict"], told["document"]["path"]) == (loss.verdict, path)
    assert not stages[loss.stage]["present"]
    assert loss.told in stages[loss.stage]["reason"]
    names = list(stages)
    later = names[names.index(loss.stage) + 1 :]
    assert all(stages[one]["reason"] == f"not reached: lost before, at stage {loss.stage}" for one in later)
    found = {passage["document"]["path"] for passage in search(server, question, **loss.options)["passages"]}
    assert path not in found


@BOTH
@pytest.mark.parametrize("name", [name for name, loss in LOSSES.items() if loss.options])
def test_without_what_loses_it_the_document_is_found(server: LocalServer, name: str, question: str) -> None:
    loss = LOSSES[name]
    options = {"mode": loss.options.get("mode", "hybrid"), "top_k": 100, "max_tokens": 100_000}
    assert explain(server, question, loss.documents[question], **options)["verdict"] == "found"


@BOTH
@pytest.mark.parametrize(
    ("name", "leg"), [("below top_k of the vectors", "dense"), ("below top_k of the words", "lexical")]
)
def test_a_leg_tells_the_place_in_its_own_ranking(server: LocalServer, name: str, leg: str, question: str) -> None:
    loss = LOSSES[name]
    path = loss.documents[question]
    whole = search(server, question, mode=leg, top_k=100, merge=False, max_tokens=100_000)["passages"]
    order = [passage["document"]["path"] for passage in whole]
    told = {stage["name"]: stage for stage in explain(server, question, path, **loss.options)["stages"]}
    rank = order.index(path) + 1
    assert rank > 1
    assert (told[leg]["rank"], told["fused"]["rank"]) == (rank, rank)
    assert told[leg]["score"] == whole[rank - 1]["scores"][leg]


@BOTH
def test_what_has_filled_the_budget_is_named(server: LocalServer, question: str) -> None:
    best = search(server, question)["passages"][0]["document"]["path"]
    told = {
        stage["name"]: stage for stage in explain(server, question, NEAR[question], max_tokens=1, top_k=100)["stages"]
    }
    assert f"; filled by {best} " in told["budget"]["reason"]


@BOTH
def test_a_copy_of_a_better_one_is_named_with_it(server: LocalServer, question: str) -> None:
    """No loss of the text, but of the document: its own copy answers, and names it."""
    best = search(server, question)["passages"][0]["document"]["path"]
    server.upload("k", {f"copy of/{best}": (SAMPLES / best).read_bytes()})
    server.work()
    passages = search(server, question, top_k=3)["passages"]
    shown = {passage["document"]["path"] for passage in passages}
    [lost] = {best, f"copy of/{best}"} - shown
    [stands] = {best, f"copy of/{best}"} & shown
    told = explain(server, question, lost, top_k=3)
    fused = {stage["name"]: stage for stage in told["stages"]}["fused"]
    assert (told["verdict"], fused["present"]) == ("collapsed", False)
    assert fused["reason"].startswith(f"collapsed into hit {fused['rank']}, of {stands}, ")
    assert lost in {one["path"] for passage in passages for one in passage["duplicates"]}


@BOTH
def test_what_the_reranker_drops_is_named(server: LocalServer, reranker: RerankServer, question: str) -> None:
    """The best of the fused ranking, and the reranker prefers a text of another document."""
    fused = search(server, question, top_k=10, merge=False)["passages"]
    lost = fused[0]["document"]["path"]
    reranker.favourite = next(one["text"] for one in fused if one["document"]["path"] != lost)
    [first] = search(server, question, top_k=1, merge=False, rerank=True)["passages"]
    assert (first["text"], first["scores"]["rerank"]) == (reranker.favourite, 1000.0)
    told = explain(server, question, lost, top_k=1, rerank=True)
    stages = {stage["name"]: stage for stage in told["stages"]}
    assert (told["verdict"], stages["fused"]["present"], stages["reranked"]["present"]) == (
        "dropped_by_rerank",
        True,
        False,
    )
    assert explain(server, question, lost, top_k=1)["verdict"] == "found"
