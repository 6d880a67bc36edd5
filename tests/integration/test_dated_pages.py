"""The day that a page tells of itself is metadata of a source's document; an upload's metadata is its sender's."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer

PAGE = (
    '<html><head><title>Dome</title><meta property="article:published_time" content="2024-05-06T07:08:09Z"></head>'
    "<body><p>The observatory opens its dome on every clear evening, and visitors may see it.</p></body></html>"
)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "roots" / "docs"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def server(tmp_path: Path, folder: Path) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path / "store", allowed_roots=str(folder.parent))
    server.create("b")
    yield server
    server.close()


def sync(server: LocalServer) -> None:
    assert server.request("POST", f"{KB}/b/sources/docs/sync", json={}).status_code == 202
    server.work()


def read_metadata(server: LocalServer) -> dict[str, dict]:
    found = server.request("GET", f"{KB}/b/documents").json()["items"]
    return {document["path"]: document["metadata"] for document in found}


def test_a_page_of_a_source_has_its_day_wherever_it_moves(server: LocalServer, folder: Path) -> None:
    (folder / "dome.html").write_text(PAGE)
    (folder / "plain.txt").write_text("Published on 2024-05-06, as it says.")
    made = server.request("POST", f"{KB}/b/sources", json={"name": "docs", "kind": "folder", "uri": str(folder)})
    assert made.status_code == 201, made.text
    sync(server)
    assert read_metadata(server) == {"docs/dome.html": {"date": "2024-05-06"}, "docs/plain.txt": {}}
    (folder / "dome.html").rename(folder / "moved.html")
    (folder / "copy.html").write_text(PAGE)
    sync(server)
    dated = {"date": "2024-05-06"}
    assert read_metadata(server) == {"docs/moved.html": dated, "docs/copy.html": dated, "docs/plain.txt": {}}


def test_an_upload_has_what_its_sender_says(server: LocalServer) -> None:
    for metadata in ("{}", '{"date": "2020-01-01"}'):
        for status in ("pending", "unchanged"):
            answer = server.upload("b", {"dome.html": PAGE.encode()}, data={"metadata": metadata})
            assert answer.json()["documents"][0]["status"] == status
            server.work()
    assert read_metadata(server) == {"dome.html": {"date": "2020-01-01"}}
