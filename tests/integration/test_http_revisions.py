"""Revisions over HTTP on a real store."""

import pytest
from fakes.local_server import KB, build_store, copy_store

REVISIONS = f"{KB}/team/revisions"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """1: a, b · 2: a changed · 3: b deleted · 4: c"""

    def fill(server):
        server.create("team")
        for files in ({"a.txt": b"The first edition.", "b.txt": b"Another one."}, {"a.txt": b"The second edition."}):
            server.upload("team", files)
            server.work()
        server.request("POST", f"{KB}/team/documents/delete", json={"path_prefix": "b"})
        server.upload("team", {"c.txt": b"A late one."})
        server.work()

    return build_store(tmp_path_factory.mktemp("revisions") / "store", fill)


@pytest.fixture
def server(built, tmp_path):
    server = copy_store(built, tmp_path / "store")
    yield server
    server.close()


def restore(server, number, **parts):
    answer = server.request("POST", f"{REVISIONS}/{number}/restore", **parts)
    assert answer.status_code == 202, answer.text
    server.work()
    return server.request("GET", f"/api/v1/jobs/{answer.json()['job_id']}").json()


def search(server):
    found = server.request("POST", f"{KB}/team/search", json={"query": "edition one"}).json()
    return {passage["document"]["path"]: passage["text"] for passage in found["passages"]}


def test_revisions_are_listed_newest_first_in_pages(server):
    page = server.request("GET", REVISIONS, params={"limit": 3}).json()
    assert [(one["number"], one["kind"]) for one in page["items"]] == [(4, "upload"), (3, "delete"), (2, "upload")]
    assert set(page["items"][0]) == {
        "number", "kind", "created_at", "job_id", "added", "changed", "removed", "gate", "embedding_model",
        "restorable",
    }  # fmt: skip
    rest = server.request("GET", REVISIONS, params={"cursor": page["next_cursor"]}).json()
    assert [one["number"] for one in rest["items"]] == [1]
    assert rest["next_cursor"] is None
    counts = [(one["added"], one["changed"], one["removed"]) for one in page["items"] + rest["items"]]
    assert counts == [(1, 0, 0), (0, 0, 1), (0, 1, 0), (2, 0, 0)]
    assert (page["items"][1]["job_id"], page["items"][1]["restorable"]) == (None, True)


def test_one_revision_names_its_paths(server):
    one = server.request("GET", f"{REVISIONS}/2").json()
    assert one["paths"] == {"added": [], "changed": ["a.txt"], "removed": []}
    assert server.request("GET", f"{REVISIONS}/1").json()["paths"]["added"] == ["a.txt"]  # the other was deleted


def test_a_restore_is_a_job_and_one_more_revision(server):
    job = restore(server, 1)
    assert (job["kind"], job["state"], job["total"], job["done"]) == ("restore", "succeeded", 1, 1)
    assert job["result"] == {"restored": 1, "revision": 5, "added": 0, "changed": 1, "removed": 1, "gate": None}
    assert search(server) == {"a.txt": "The first edition."}
    listed = server.request("GET", f"{KB}/team/documents").json()["items"]
    assert [(one["path"], one["version"], one["live_version"]) for one in listed] == [("a.txt", 1, 1)]
    content = server.request("GET", f"{KB}/team/documents/{listed[0]['id']}/content")
    assert content.content == b"The first edition."
    restore(server, 4, json={"gate": False})
    assert search(server) == {"a.txt": "The second edition.", "c.txt": "A late one."}


def test_a_hidden_document_is_gone_but_for_what_cites_it(server):
    (document,) = server.request("GET", f"{KB}/team/documents", params={"path_prefix": "c"}).json()["items"]
    restore(server, 1)
    base = f"{KB}/team/documents/{document['id']}"
    for path in ("", "/content", "/chunks", "/text"):
        answer = server.request("GET", base + path)
        assert (answer.status_code, answer.json()["code"]) == (404, "document_not_found"), path
    assert server.request("DELETE", base).status_code == 404
    assert server.request("GET", f"{base}/text", params={"version": 1}).json()["text"] == "A late one."
    assert server.request("GET", f"{base}/text", params={"version": 2}).json()["code"] == "no_version"
    server.create("other")
    elsewhere = server.request("GET", base.replace("team", "other") + "/text", params={"version": 1})
    assert (elsewhere.status_code, elsewhere.json()["code"]) == (404, "document_not_found")
    assert server.request("GET", f"{KB}/team").json()["documents"] == 1


@pytest.mark.parametrize("number", ["0", "5", "99", "-1", "x", "1.5", "9" * 30, "%20", "１"])
@pytest.mark.parametrize(("method", "rest"), [("GET", ""), ("POST", "/restore")])
def test_a_revision_that_is_not_there(server, number, method, rest):
    answer = server.request(method, f"{REVISIONS}/{number}{rest}")
    assert (answer.status_code, answer.json()["code"]) == (404, "revision_not_found")


def test_what_is_no_longer_kept_is_gone(server):
    with server.store.catalog.database.write() as connection:
        connection.exec_driver_sql("UPDATE revision SET created_at = '2020-01-01 00:00:00.000000'")
    server.store.garbage.sweep(7)
    answer = server.request("POST", f"{REVISIONS}/1/restore")
    assert (answer.status_code, answer.json()["code"]) == (410, "revision_gone")
    assert server.request("GET", f"{REVISIONS}/1").json()["restorable"] is False


def test_another_restore_has_to_wait(server):
    first = server.request("POST", f"{REVISIONS}/1/restore").json()
    assert server.request("POST", f"{REVISIONS}/1/restore").json() == first
    answer = server.request("POST", f"{REVISIONS}/2/restore")
    assert (answer.status_code, answer.json()["code"]) == (409, "restore_running")
    assert first["job_id"] in answer.json()["detail"]


@pytest.mark.parametrize(
    ("parts", "status", "code"),
    [
        ({"json": {"gate": "no"}}, 422, "bad_gate"),
        ({"json": {"revision": 1}}, 422, "unknown_field"),
        ({"json": []}, 422, "bad_body"),
        ({"content": b"{", "headers": {"content-type": "application/json"}}, 400, "bad_json"),
        ({"content": b"gate=false"}, 415, "unsupported_media_type"),
    ],
)
def test_a_body_that_cannot_be_meant(server, parts, status, code):
    answer = server.request("POST", f"{REVISIONS}/1/restore", **parts)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert server.request("GET", f"{REVISIONS}?limit=1").json()["items"][0]["number"] == 4
