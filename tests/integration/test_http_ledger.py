"""What became of each page, from the file to HTTP: of documents that are ready and of those that failed."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer
from fakes.scans import SCAN, make_pdf

from kb.checks import check_store

FILES = {"whole.pdf": make_pdf("tt"), "half.pdf": make_pdf("ts s"), "scan.pdf": SCAN.read_bytes(), "a.txt": b"A text."}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    local = LocalServer(tmp_path_factory.mktemp("ledger") / "data")
    local.create("k")
    local.upload("k", FILES)
    local.work()
    yield local
    local.close()


def list_documents(server: LocalServer, query: str = "") -> dict[str, dict[str, Any]]:
    answer = server.request("GET", f"{KB}/k/documents{query}")
    assert answer.status_code == 200, answer.text
    return {one["path"]: one for one in answer.json()["items"]}


def list_pages(server: LocalServer, document_id: str, query: str = "") -> dict[str, Any]:
    answer = server.request("GET", f"{KB}/k/documents/{document_id}/pages{query}")
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


@pytest.mark.parametrize(
    ("path", "status", "pages", "coverage", "verdicts"),
    [
        ("whole.pdf", "ready", 2, 1, {"indexed": 2}),
        ("half.pdf", "ready", 4, 0.25, {"indexed": 1, "scanned": 2, "empty": 1}),
        ("scan.pdf", "failed", 1, 0, {"scanned": 1}),
        ("a.txt", "ready", 1, 1, {"indexed": 1}),
    ],
)
def test_a_document_counts_its_pages_by_verdict(
    server: LocalServer, path: str, status: str, pages: int, coverage: float, verdicts: dict[str, int]
) -> None:
    found = list_documents(server)[path]
    told = (found["status"], found["pages"], found["coverage"], found["verdicts"])
    assert told == (status, pages, coverage, verdicts)


def test_the_ledger_of_a_document_that_is_partly_scanned(server: LocalServer) -> None:
    document = list_documents(server)["half.pdf"]
    ledger = list_pages(server, document["id"])
    assert ledger["next_cursor"] is None
    assert [(one["page"], one["verdict"]) for one in ledger["items"]] == [
        (1, "indexed"),
        (2, "scanned"),
        (3, "empty"),
        (4, "scanned"),
    ]
    text = server.request("GET", f"{KB}/k/documents/{document['id']}/text").json()
    assert [[one["start"], one["end"]] for one in ledger["items"]] == text["pages"]
    assert len(text["text"][ledger["items"][0]["start"] : ledger["items"][0]["end"]]) > 100


def test_a_scan_fails_and_its_ledger_says_why(server: LocalServer) -> None:
    document = list_documents(server, "?status=failed")["scan.pdf"]
    assert document["error"]["code"] == "no_text"
    ledger = list_pages(server, document["id"])["items"]
    assert ledger == [{"page": 1, "verdict": "scanned", "start": 0, "end": 0}]


def test_the_ledger_comes_page_by_page(server: LocalServer) -> None:
    document = list_documents(server)["half.pdf"]
    first = list_pages(server, document["id"], "?limit=3")
    rest = list_pages(server, document["id"], f"?limit=3&cursor={first['next_cursor']}")
    assert [one["page"] for one in first["items"] + rest["items"]] == [1, 2, 3, 4]
    assert rest["next_cursor"] is None


def test_what_is_partly_readable_can_be_asked_for(server: LocalServer) -> None:
    assert list(list_documents(server, "?coverage=partial")) == ["half.pdf"]
    answer = server.request("GET", f"{KB}/k/documents?coverage=0.5")
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_coverage")


def test_there_is_no_such_document(server: LocalServer) -> None:
    answer = server.request("GET", f"{KB}/k/documents/nope/pages")
    assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found")


def test_the_check_finds_nothing_wrong_with_a_ledger_without_a_text(server: LocalServer) -> None:
    store = server.store
    assert list(check_store(store.catalog.database, store.blobs, store.texts, deep=True)) == []


def test_another_version_has_a_ledger_of_its_own(server: LocalServer) -> None:
    """The newest attempt's, though an older version answers."""
    server.create("v")
    for pages in ("tt", "s"):
        server.upload("v", {"a.pdf": make_pdf(pages)})
        server.work()
    (found,) = server.request("GET", f"{KB}/v/documents").json()["items"]
    assert (found["status"], found["live_version"], found["verdicts"]) == ("failed", 1, {"scanned": 1})
    assert server.request("POST", f"{KB}/v/search", json={"query": "camera"}).json()["passages"]
