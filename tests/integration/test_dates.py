"""Dates of passages: a document's own, of its metadata, and when its version came in."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fakes.local_server import KB, LocalServer

BOAT, TICKET = "A boat for a day costs twelve pounds.", "开放夜的成人票每张一百六十元。"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("dates") / "store")
    server.create("k")
    server.upload("k", {"boats.md": BOAT.encode()}, data={"metadata": '{"date": "2024-05-01T08:00:00Z"}'})
    server.upload("k", {"票.md": TICKET.encode()}, data={"metadata": '{"year": 2023, "date": {"of": "print"}}'})
    server.upload("k", {"year.md": b"Oars are lent free."}, data={"metadata": '{"date": 2019}'})
    server.work()
    yield server
    server.close()


def find(server: LocalServer, query: str) -> dict[str, Any]:
    told = server.request("POST", f"{KB}/k/search", json={"query": query, "top_k": 1, "filter": {"metadata": {}}})
    assert told.status_code == 200, told.text
    passage: dict[str, Any] = told.json()["passages"][0]
    return passage


@pytest.mark.parametrize(
    ("query", "date"), [("boat pounds", "2024-05-01"), ("开放夜的成人票", None), ("oars are lent", "2019")]
)
def test_a_passage_tells_its_dates(server: LocalServer, query: str, date: str | None) -> None:
    passage = find(server, query)
    assert passage["date"] == date
    added = datetime.fromisoformat(passage["added_at"])
    assert passage["added_at"].endswith("Z")
    assert timedelta() <= datetime.now(UTC) - added < timedelta(minutes=10)


def test_a_filter_by_metadata_tells_the_same(server: LocalServer) -> None:
    body = {"query": "boat", "filter": {"metadata": {"date": "2024-05-01T08:00:00Z"}}}
    [passage] = server.request("POST", f"{KB}/k/search", json=body).json()["passages"]
    assert passage["date"] == "2024-05-01"


def test_an_answer_shows_them_as_well(server: LocalServer) -> None:
    told = server.request("POST", f"{KB}/k/ask", json={"question": "What does a boat cost?"}).json()
    assert told["passages"][0]["date"] == "2024-05-01"


def test_another_version_has_dates_of_its_own(server: LocalServer) -> None:
    before = find(server, "boat pounds")["added_at"]
    server.upload("k", {"boats.md": BOAT.replace("twelve", "thirteen").encode()})
    server.work()
    after = find(server, "boat pounds")
    assert "thirteen" in after["text"]
    assert after["date"] is None
    assert after["added_at"] > before
