"""Sources over HTTP on a real store: every call, its answer's shape, and the exact code of what goes wrong."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.local_server import KB, LocalServer

from kb.errors import InvalidInput
from kb.types import Source

FIELDS = {
    "id", "name", "kind", "uri", "include", "exclude", "max_pages", "depth", "schedule", "timezone", "next_run",
    "last_due", "created_at", "updated_at",
}  # fmt: skip
PLAN = {"added": 1, "changed": 0, "moved": 0, "removed": 0, "unchanged": 2, "paths": {"added": ["docs/a.txt"]}}


class FixedPlanner:
    """Says the same of every source but one whose folder is gone."""

    def __init__(self) -> None:
        self.asked: list[Source] = []

    def plan(self, source: Source) -> Mapping[str, Any]:
        self.asked.append(source)
        if source.name == "gone":
            raise InvalidInput("root_missing", "there is no folder any more")
        return PLAN


@pytest.fixture
def server(tmp_path: Path) -> Iterator[LocalServer]:
    (tmp_path / "roots" / "docs").mkdir(parents=True)
    server = LocalServer(tmp_path / "store", allowed_roots=str(tmp_path / "roots"))
    server.create("b")
    yield server
    server.close()


@pytest.fixture
def docs(tmp_path: Path) -> str:
    return str(tmp_path / "roots" / "docs")


def add(server: LocalServer, uri: str, name: str = "docs", **fields: Any) -> httpx.Response:
    return server.request("POST", f"{KB}/b/sources", json={"name": name, "kind": "folder", "uri": uri, **fields})


def change(server: LocalServer, name: str = "docs", /, **changes: Any) -> httpx.Response:
    return server.request("PATCH", f"{KB}/b/sources/{name}", json=changes)


def get_code(answer: httpx.Response) -> tuple[int, str]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    return answer.status_code, answer.json()["code"]


def test_a_source_from_creation_to_deletion(server: LocalServer, docs: str) -> None:
    answer = add(
        server, docs, " 资料 ", include=["*.md"], exclude=["tmp/**"], schedule="30  2 * * *", timezone="Asia/Shanghai"
    )
    assert answer.status_code == 201, answer.text
    made = answer.json()
    assert set(made) == FIELDS
    assert (made["name"], made["kind"], made["uri"], made["schedule"]) == ("资料", "folder", docs, "30 2 * * *")
    assert (made["include"], made["exclude"], made["timezone"]) == (["*.md"], ["tmp/**"], "Asia/Shanghai")
    next_run = datetime.fromisoformat(made["next_run"])
    assert (next_run.hour, next_run.minute) == (18, 30)
    assert made["next_run"].endswith("Z")
    assert next_run > datetime.now(UTC)
    for key in (made["id"], "资料"):
        assert server.request("GET", f"{KB}/b/sources/{key}").json() == made
    assert server.request("GET", f"{KB}/b/sources").json() == {"items": [made], "next_cursor": None}
    changed = change(server, "资料", schedule=None, include=[]).json()
    assert changed == {**made, "schedule": None, "next_run": None, "include": [], "updated_at": changed["updated_at"]}
    assert server.request("DELETE", f"{KB}/b/sources/资料").status_code == 204
    assert get_code(server.request("GET", f"{KB}/b/sources/资料")) == (404, "source_not_found")
    assert get_code(server.request("DELETE", f"{KB}/b/sources/{made['id']}")) == (404, "source_not_found")


def test_what_is_left_out_has_its_default(server: LocalServer, docs: str) -> None:
    made = add(server, docs).json()
    assert (made["include"], made["exclude"], made["schedule"], made["timezone"]) == ([], [], None, "UTC")
    assert (made["next_run"], made["last_due"]) == (None, None)
    assert server.store.catalog.jobs.list_jobs(9) == [], "nothing is read before it is asked for"
    assert change(server).json() == made


def test_sources_are_listed_in_pages(server: LocalServer, docs: str) -> None:
    for name in ("c", "a", "b"):
        add(server, docs, name)
    found, cursor = [], ""
    while cursor is not None:
        page = server.request("GET", f"{KB}/b/sources", params={"limit": 2, **({"cursor": cursor} if cursor else {})})
        found += [item["name"] for item in page.json()["items"]]
        cursor = page.json()["next_cursor"]
    assert found == ["a", "b", "c"]
    assert get_code(server.request("GET", f"{KB}/b/sources?cursor=forged")) == (400, "bad_cursor")


def test_a_new_schedule_is_planned_and_a_new_folder_checked(server: LocalServer, docs: str, tmp_path: Path) -> None:
    add(server, docs)
    planned = change(server, schedule="0 4 * * *").json()
    assert planned["next_run"].endswith("T04:00:00Z")
    assert change(server, timezone="Asia/Shanghai").json()["next_run"].endswith("T20:00:00Z")
    (tmp_path / "roots" / "new").mkdir()
    assert change(server, uri=str(tmp_path / "roots" / "new")).json()["uri"].endswith("/new")
    assert get_code(change(server, uri="/etc")) == (422, "root_not_allowed")
    assert get_code(change(server, schedule="0 24 * * *")) == (422, "bad_schedule")
    assert get_code(change(server, timezone="Mars")) == (422, "bad_timezone")
    now = server.request("GET", f"{KB}/b/sources/docs").json()
    assert (now["uri"], now["schedule"]) == (str(tmp_path / "roots" / "new"), "0 4 * * *")


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("name", "", "bad_name"),
        ("name", "..", "bad_name"),
        ("name", "a/b", "bad_name"),
        ("name", "a\\b", "bad_name"),
        ("name", "C:", "bad_name"),
        ("name", "长" * 86, "bad_name"),
        ("name", 5, "bad_name"),
        ("kind", "ftp", "bad_kind"),
        ("kind", "web", "bad_url"),
        ("kind", "sitemap", "bad_url"),
        ("uri", "", "bad_uri"),
        ("uri", "https://example.org/", "bad_uri"),
        ("uri", "x" * 5_000, "bad_uri"),
        ("uri", "/etc", "root_not_allowed"),
        ("include", "*.md", "bad_include"),
        ("include", [""], "bad_include"),
        ("exclude", ["x" * 1_025], "bad_exclude"),
        ("exclude", ["*"] * 101, "bad_exclude"),
        ("schedule", "sometimes", "bad_schedule"),
        ("schedule", "30 2 30 2 *", "bad_schedule"),
        ("schedule", "*" * 256, "bad_schedule"),
        ("schedule", 5, "bad_schedule"),
        ("timezone", "", "bad_timezone"),
        ("timezone", "Asia/Peking", "bad_timezone"),
        ("timezone", None, "bad_timezone"),
        ("depth", 3, "bad_depth"),
        ("max_pages", 3, "bad_max_pages"),
        ("width", 3, "unknown_field"),
    ],
)
def test_what_no_source_may_be(server: LocalServer, docs: str, field: str, value: object, code: str) -> None:
    body = {"name": "docs", "kind": "folder", "uri": docs, field: value}
    assert get_code(server.request("POST", f"{KB}/b/sources", json=body)) == (422, code)
    assert server.request("GET", f"{KB}/b/sources").json()["items"] == []


def test_where_a_source_may_not_lie(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "roots" / "file").write_text("x")
    (tmp_path / "roots" / "out").symlink_to("/etc")
    for name, code in (("nothing", "root_missing"), ("file", "root_not_a_folder"), ("out", "root_not_allowed")):
        assert get_code(add(server, str(tmp_path / "roots" / name))) == (422, code)


def test_the_data_directory_is_no_source(tmp_path: Path) -> None:
    server = LocalServer(tmp_path / "store", allowed_roots=str(tmp_path))
    server.create("b")
    for place in (tmp_path / "store", tmp_path / "store" / "blobs", tmp_path):
        assert get_code(add(server, str(place))) == (422, "root_in_data_dir")
    server.close()


def test_what_is_taken(server: LocalServer, docs: str) -> None:
    server.upload("b", {"mine/a.txt": b"x"})
    assert get_code(add(server, docs, "mine")) == (409, "path_taken")
    add(server, docs)
    assert get_code(add(server, docs)) == (409, "source_exists")


@pytest.mark.parametrize("changes", [{"name": "x"}, {"kind": "folder"}, {"next_run": None}])
def test_what_cannot_be_changed(server: LocalServer, docs: str, changes: dict[str, Any]) -> None:
    add(server, docs)
    assert get_code(change(server, **changes)) == (422, "unknown_field")


@pytest.mark.parametrize("method", ["GET", "PATCH", "DELETE", "POST"])
@pytest.mark.parametrize("place", ["b/sources/nothing", "nothing/sources/docs"])
def test_what_is_not_there(server: LocalServer, docs: str, method: str, place: str) -> None:
    add(server, docs)
    body = {"json": {}} if method in ("PATCH", "POST") else {}
    answer = server.request(method, f"{KB}/{place}{'/sync' if method == 'POST' else ''}", **body)
    code = "knowledge_base_not_found" if place.startswith("nothing") else "source_not_found"
    assert get_code(answer) == (404, code)


# -- sync ---------------------------------------------------------------------------------------------------------


def sync(server: LocalServer, name: str = "docs", **parts: Any) -> httpx.Response:
    return server.request("POST", f"{KB}/b/sources/{name}/sync", **parts)


def test_a_sync_is_one_job_however_often_it_is_asked_for(server: LocalServer, docs: str) -> None:
    made = add(server, docs).json()
    first = sync(server, json={})
    assert first.status_code == 202
    requests = [("POST", f"{KB}/b/sources/docs/sync", {"json": {"force": True}})] * 4
    others = [*server.gather(*requests), sync(server), sync(server, content=b""), sync(server, made["id"], json={})]
    assert {answer.text for answer in others} == {first.text}
    job = server.request("GET", f"/api/v1/jobs/{first.json()['job_id']}").json()
    assert (job["kind"], job["state"]) == ("sync", "queued")
    assert len(server.request("GET", "/api/v1/jobs?kb=b").json()["items"]) == 1


def test_a_dry_run_shows_the_plan_and_makes_no_job(server: LocalServer, docs: str) -> None:
    planner = FixedPlanner()
    server.app.state.services = replace(server.services, planner=planner)
    made = add(server, docs).json()
    answer = sync(server, json={"dry_run": True, "force": True})
    assert (answer.status_code, answer.json()) == (200, PLAN)
    assert [source.id for source in planner.asked] == [made["id"]]
    add(server, docs, "gone")
    assert get_code(sync(server, "gone", json={"dry_run": True})) == (422, "root_missing")
    assert server.request("GET", "/api/v1/jobs").json()["items"] == []


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ({"json": {"dry_run": "yes"}}, 422, "bad_dry_run"),
        ({"json": {"force": 1}}, 422, "bad_force"),
        ({"json": {"dryrun": True}}, 422, "unknown_field"),
        ({"json": []}, 422, "bad_body"),
        ({"content": b"dry_run=true"}, 415, "unsupported_media_type"),
    ],
)
def test_what_a_sync_cannot_be_told(
    server: LocalServer, docs: str, parts: dict[str, Any], status: int, code: str
) -> None:
    add(server, docs)
    assert get_code(sync(server, **parts)) == (status, code)
    assert server.request("GET", "/api/v1/jobs").json()["items"] == []


# -- documents ----------------------------------------------------------------------------------------------------


def give_document(server: LocalServer, source_id: str) -> str:
    """One indexed document of a source, as a sync would leave it; its id."""
    server.upload("b", {"x.txt": b"The quick fox jumps over the lazy dog."})
    server.work()
    document = server.request("GET", f"{KB}/b/documents").json()["items"][0]["id"]
    with server.store.catalog.database.write() as connection:
        statement = "UPDATE document SET source_id = ?, path = 'docs/x.txt' WHERE id = ?"
        connection.exec_driver_sql(statement, (source_id, document))
    return str(document)


def test_a_deleted_source_takes_its_documents_from_every_search(server: LocalServer, docs: str) -> None:
    document = give_document(server, add(server, docs).json()["id"])
    assert server.request("POST", f"{KB}/b/search", json={"query": "fox"}).json()["passages"]
    assert server.request("DELETE", f"{KB}/b/sources/docs").status_code == 204
    assert get_code(server.request("GET", f"{KB}/b/documents/{document}")) == (404, "document_not_found")
    assert server.request("POST", f"{KB}/b/search", json={"query": "fox"}).json()["passages"] == []
    assert server.list_files() == (0, 0)


def test_documents_may_be_kept(server: LocalServer, docs: str) -> None:
    document = give_document(server, add(server, docs).json()["id"])
    assert get_code(server.request("DELETE", f"{KB}/b/sources/docs?keep_documents=x")) == (422, "bad_keep_documents")
    assert server.request("DELETE", f"{KB}/b/sources/docs?keep_documents=true").status_code == 204
    kept = server.request("GET", f"{KB}/b/documents/{document}").json()
    assert (kept["path"], kept["source_id"], kept["status"]) == ("docs/x.txt", None, "ready")


def test_no_upload_goes_into_a_sources_folder(server: LocalServer, docs: str) -> None:
    add(server, docs)
    answer = server.upload("b", {"docs/a.txt": b"x", "docs.txt": b"y"})
    assert [document["path"] for document in answer.json()["documents"]] == ["docs.txt"]
    assert [(one["path"], one["code"]) for one in answer.json()["rejected"]] == [("docs/a.txt", "path_of_source")]
    refused = server.upload("b", {"docs/a.txt": b"x", "../b": b"y"})
    assert get_code(refused) == (422, "nothing_accepted")
    assert [one["code"] for one in refused.json()["rejected"]] == ["bad_path", "path_of_source"]
