"""The contract over HTTP on a real store: every call, its answer's shape, and the exact code of what goes wrong."""

import hashlib
import json
from datetime import datetime

import pytest
from fakes.archives import write_zip
from fakes.local_server import KB, LocalServer

GERMAN = "Straße, 100 %"
TEXT = "# 望远镜\n\n望远镜的口径是八米。它建于一九九八年。\n\n# Domes\n\nThe dome opens at night. It weighs 200 tons.\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """Read by many tests and changed by none: one indexed knowledge base `read`, an empty one."""
    server = LocalServer(tmp_path_factory.mktemp("server") / "store")
    server.create("read", description="for reading")
    server.create("empty")
    server.upload(
        "read", {"天文/口径.md": TEXT.encode(), "b.txt": b"\xcd\xfb\xd4\xb6\xbe\xb5", "broken.pdf": b"%PDF-1.4"}
    )
    server.work()
    yield server
    server.close()


@pytest.fixture
def fresh(tmp_path):
    server = LocalServer(tmp_path / "store")
    yield server
    server.close()


def list_documents(server, kb="read", query=""):
    return server.request("GET", f"{KB}/{kb}/documents{query}").json()["items"]


def get_code(answer):
    body = answer.json()
    assert answer.headers["content-type"] == "application/problem+json"
    assert set(body) >= {"type", "title", "status", "code", "detail"}
    assert body["status"] == answer.status_code
    return answer.status_code, body["code"]


# -- knowledge bases --------------------------------------------------------------------------------------------


def test_a_knowledge_base_from_creation_to_deletion(fresh):
    made = fresh.create(" 天文台 ", description="x", language="zh")
    assert set(made) == {
        "id", "name", "description", "language", "embedding_model", "dimension", "chunk_tokens", "wanted_chunk_tokens",
        "revision", "documents", "chunks", "gate", "vanish_share", "refusal", "prompt", "created_at",
    }  # fmt: skip
    assert (made["name"], made["language"], made["embedding_model"], made["dimension"]) == (
        "天文台",
        "zh",
        "builtin",
        512,
    )
    assert made["created_at"].endswith("Z")
    assert datetime.fromisoformat(made["created_at"]).utcoffset().total_seconds() == 0
    for key in (made["id"], "天文台"):
        assert fresh.request("GET", f"{KB}/{key}").json() == made
    changed = fresh.request("PATCH", f"{KB}/天文台", json={"name": "观测站", "description": "y"}).json()
    assert changed == {**made, "name": "观测站", "description": "y"}
    assert fresh.request("PATCH", f"{KB}/观测站", json={}).json() == changed
    assert get_code(fresh.request("GET", f"{KB}/天文台")) == (404, "knowledge_base_not_found")
    assert fresh.request("DELETE", f"{KB}/观测站").status_code == 204
    assert get_code(fresh.request("DELETE", f"{KB}/{made['id']}")) == (404, "knowledge_base_not_found")
    assert fresh.create("观测站")["id"] != made["id"]


def test_a_name_is_taken_once(fresh):
    fresh.create("a")
    fresh.create("b")
    assert get_code(fresh.request("POST", KB, json={"name": "a"})) == (409, "knowledge_base_exists")
    assert get_code(fresh.request("PATCH", f"{KB}/b", json={"name": "a"})) == (409, "knowledge_base_exists")


def test_lists_are_cut_into_pages(fresh):
    names = [f"kb {n}" for n in range(5)]
    for name in names:
        fresh.create(name)
    found, cursor, pages = [], "", 0
    while cursor is not None:
        page = fresh.request("GET", KB, params={"limit": 2} | ({"cursor": cursor} if cursor else {})).json()
        found += [item["name"] for item in page["items"]]
        cursor, pages = page["next_cursor"], pages + 1
    assert found == names
    assert pages == 3


@pytest.mark.parametrize("kb", ["0" * 32, "..%2f..", "%00", "x" * 10_000, "'; DROP TABLE document; --", "READ", "%ff"])
def test_what_is_no_knowledge_base(server, kb):
    answer = server.request("GET", f"{KB}/{kb}")
    assert answer.status_code == 404
    assert answer.json()["code"] in ("knowledge_base_not_found", "not_found")


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("limit=0", 422, "bad_limit"),
        ("limit=201", 422, "bad_limit"),
        ("limit=x", 422, "bad_limit"),
        ("limit=1.5", 422, "bad_limit"),
        ("limit=5.0", 422, "bad_limit"),
        ("limit=5_0", 422, "bad_limit"),
        ("limit=%2B5", 422, "bad_limit"),
        ("limit=%205", 422, "bad_limit"),
        ("limit=", 422, "bad_limit"),
        (f"limit={10**20}", 422, "bad_limit"),
        ("cursor=forged", 400, "bad_cursor"),
        ("cursor=", 400, "bad_cursor"),
        ("cursor=" + "x" * 5_000, 400, "bad_cursor"),
    ],
)
@pytest.mark.parametrize("path", [KB, f"{KB}/read/documents", "/api/v1/jobs"])
def test_limits_and_cursors_of_every_list(server, path, query, status, code):
    assert get_code(server.request("GET", f"{path}?{query}")) == (status, code)


# -- documents --------------------------------------------------------------------------------------------------


def test_a_document_tells_everything_of_the_contract(server):
    broken, document = (list_documents(server, query=f"?path_prefix={p}")[0] for p in ("broken", "天文/"))
    assert set(document) == {
        "id", "path", "title", "media_type", "size", "sha256", "status", "language", "encoding", "pages", "chunks",
        "coverage", "verdicts", "error", "version", "live_version", "metadata", "source_id", "source_state",
        "created_at", "updated_at",
    }  # fmt: skip
    assert (document["status"], document["error"], document["version"], document["live_version"]) == (
        "ready",
        None,
        1,
        1,
    )
    assert (document["language"], document["encoding"], document["pages"], document["coverage"]) == (
        "zh",
        "utf-8",
        1,
        1.0,
    )
    assert document["sha256"] == hashlib.sha256(TEXT.encode()).hexdigest()
    assert (broken["status"], broken["live_version"], broken["chunks"]) == ("failed", None, 0)
    assert set(broken["error"]) == {"code", "detail"}
    assert server.request("GET", f"{KB}/read/documents/{document['id']}").json() == document


@pytest.mark.parametrize(
    ("query", "paths"),
    [
        ("?status=ready", ["b.txt", "天文/口径.md"]),
        ("?status=failed", ["broken.pdf"]),
        ("?status=pending", []),
        ("?status=indexing", []),
        ("?path_prefix=b", ["b.txt", "broken.pdf"]),
        ("?path_prefix=%25", []),
        ("?status=ready&path_prefix=天文", ["天文/口径.md"]),
    ],
)
def test_documents_are_filtered(server, query, paths):
    assert [document["path"] for document in list_documents(server, query=query)] == paths


def test_a_status_there_is_not(server):
    assert get_code(server.request("GET", f"{KB}/read/documents?status=done")) == (422, "bad_status")


def test_content_comes_back_as_an_attachment(fresh):
    fresh.create("kb")
    script = b"<html><script>alert(1)</script></html>"
    body = fresh.upload("kb", {f"dir/报告 {GERMAN}.html": script}).json()
    answer = fresh.request("GET", f"{KB}/kb/documents/{body['documents'][0]['id']}/content")
    assert answer.content == script
    assert answer.headers["content-type"] == "text/html"
    assert answer.headers["content-length"] == str(len(script))
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["content-security-policy"] == "sandbox; default-src 'none'"
    assert answer.headers["content-disposition"] == (
        'attachment; filename="__ Stra_e, 100 _.html"; '
        "filename*=UTF-8''%E6%8A%A5%E5%91%8A%20Stra%C3%9Fe%2C%20100%20%25.html"
    )


def test_ranges_are_not_served(server):
    document = list_documents(server)[0]
    ranges = "bytes=" + ",".join(["0-1"] * 10_000)
    answer = server.request("GET", f"{KB}/read/documents/{document['id']}/content", headers={"range": ranges})
    assert (answer.status_code, len(answer.content)) == (200, document["size"])


def test_content_that_is_gone(fresh):
    fresh.create("kb")
    document = fresh.upload("kb", {"a.txt": b"text"}).json()["documents"][0]
    fresh.store.blobs.remove(document["sha256"])
    assert get_code(fresh.request("GET", f"{KB}/kb/documents/{document['id']}/content")) == (410, "content_gone")


def test_chunks_and_text_fit_each_other(server):
    document = list_documents(server, query="?path_prefix=天文")[0]
    at = f"{KB}/read/documents/{document['id']}"
    text = server.request("GET", f"{at}/text").json()
    assert set(text) == {"version", "text", "pages"}
    assert text["version"] == 1
    assert text["pages"] == [[0, len(text["text"])]]
    assert server.request("GET", f"{at}/text?version=1").json() == text
    chunks = server.request("GET", f"{at}/chunks?limit=1").json()
    assert len(chunks["items"]) == 1
    if chunks["next_cursor"]:
        chunks["items"] += server.request("GET", f"{at}/chunks?cursor={chunks['next_cursor']}").json()["items"]
    assert len(chunks["items"]) == document["chunks"] > 0
    for ordinal, chunk in enumerate(chunks["items"]):
        assert set(chunk) == {"id", "ordinal", "text", "start", "end", "page_start", "page_end", "heading", "tokens"}
        assert chunk["ordinal"] == ordinal
        assert chunk["text"] == text["text"][chunk["start"] : chunk["end"]]


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [("?version=2", 404, "no_version"), ("?version=0", 422, "bad_version"), ("?version=x", 422, "bad_version")],
)
def test_a_version_there_is_not(server, query, status, code):
    document = list_documents(server, query="?path_prefix=天文")[0]
    assert get_code(server.request("GET", f"{KB}/read/documents/{document['id']}/text{query}")) == (status, code)


def test_a_document_without_a_version_that_answers(server):
    document = list_documents(server, query="?path_prefix=broken")[0]
    at = f"{KB}/read/documents/{document['id']}"
    assert get_code(server.request("GET", f"{at}/text")) == (404, "no_version")
    assert server.request("GET", f"{at}/chunks").json() == {"items": [], "next_cursor": None}


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_a_document_of_another_knowledge_base_is_not_there(server, method):
    document = list_documents(server)[0]
    for kb, document_id in (("empty", document["id"]), ("read", "0" * 32)):
        found = server.request(method, f"{KB}/{kb}/documents/{document_id}")
        assert get_code(found) == (404, "document_not_found")
    for part in ("content", "chunks", "text"):
        found = server.request("GET", f"{KB}/empty/documents/{document['id']}/{part}")
        assert get_code(found) == (404, "document_not_found")


def test_a_deleted_document_never_answers_again(fresh):
    fresh.create("kb")
    fresh.upload("kb", {"a.txt": "望远镜的口径是八米。".encode(), "b.txt": b"The dome opens at night."})
    fresh.work()
    document = list_documents(fresh, "kb")[0]
    search = (f"{KB}/kb/search", {"query": "望远镜的口径", "mode": "lexical"})
    assert len(fresh.request("POST", search[0], json=search[1]).json()["passages"]) == 1
    at = f"{KB}/kb/documents/{document['id']}"
    assert fresh.request("DELETE", at).status_code == 204
    assert fresh.request("POST", search[0], json=search[1]).json()["passages"] == []
    assert get_code(fresh.request("DELETE", at)) == (404, "document_not_found")
    assert get_code(fresh.request("GET", at)) == (404, "document_not_found")
    assert fresh.list_files()[1] == 1


def test_documents_are_deleted_by_id_and_by_path(fresh):
    fresh.create("kb")
    body = fresh.upload("kb", {path: path.encode() for path in ("a/1.txt", "a/2.txt", "b/1.txt", "c.txt")}).json()
    ids = {document["path"]: document["id"] for document in body["documents"]}
    at = f"{KB}/kb/documents/delete"
    assert fresh.request("POST", at, json={"path_prefix": "a/"}).json() == {"deleted": 2}
    assert fresh.request("POST", at, json={"ids": [ids["b/1.txt"], ids["a/1.txt"], "0" * 32]}).json() == {"deleted": 1}
    assert [document["path"] for document in list_documents(fresh, "kb")] == ["c.txt"]


def test_ids_and_a_prefix_together_count_each_document_once(fresh):
    fresh.create("kb")
    fresh.create("other")
    files = {path: path.encode() for path in ("a/1.txt", "a/2.txt", "ab.txt", "caf\u00e9/1.txt", "c.txt")}
    ids = {document["path"]: document["id"] for document in fresh.upload("kb", files).json()["documents"]}
    foreign = fresh.upload("other", files).json()["documents"][0]["id"]
    at = f"{KB}/kb/documents/delete"
    chosen = [ids["a/1.txt"], ids["a/1.txt"], ids["c.txt"], foreign, "nobody", ""]
    assert fresh.request("POST", at, json={"ids": chosen, "path_prefix": "a/"}).json() == {"deleted": 3}
    assert fresh.request("POST", at, json={"ids": chosen, "path_prefix": "a/"}).json() == {"deleted": 0}
    assert fresh.request("POST", at, json={"path_prefix": "cafe\u0301/"}).json() == {"deleted": 1}
    assert [document["path"] for document in list_documents(fresh, "kb")] == ["ab.txt"]
    assert len(list_documents(fresh, "other")) == 5


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "missing_field"),
        ({"ids": []}, "missing_field"),
        ({"ids": [], "path_prefix": None}, "missing_field"),
        ({"path_prefix": ""}, "bad_path_prefix"),
        ({"path_prefix": "x" * 1_025}, "bad_path_prefix"),
        ({"path_prefix": "a\0"}, "bad_text"),
        ({"ids": ["0" * 32] * 10_001}, "bad_ids"),
        ({"ids": [1]}, "bad_ids"),
        ({"ids": None}, "bad_ids"),
        ({"ids": "all"}, "bad_ids"),
        ({"id": "x"}, "unknown_field"),
    ],
)
def test_a_deletion_that_does_not_say_of_what(server, body, code):
    before = len(list_documents(server))
    assert get_code(server.request("POST", f"{KB}/read/documents/delete", json=body)) == (422, code)
    assert len(list_documents(server)) == before


def test_ten_thousand_ids_are_deleted_at_once(fresh):
    fresh.create("kb")
    archive = write_zip({f"d/{number}.txt": b"text %d" % number for number in range(600)} | {"e.txt": b"e"})
    body = fresh.request("POST", f"{KB}/kb/documents", files=[("archive", ("a.zip", archive))]).json()
    ids = [document["id"] for document in body["documents"] if document["path"] != "e.txt"]
    at = f"{KB}/kb/documents/delete"
    unknown = [f"{number:032x}" for number in range(10_000 - len(ids))]
    assert fresh.request("POST", at, json={"ids": unknown + ids}).json() == {"deleted": 600}
    assert [document["path"] for document in list_documents(fresh, "kb")] == ["e.txt"]
    assert fresh.list_files() == (0, 1)


def test_a_document_is_tried_again(server):
    broken = list_documents(server, query="?path_prefix=broken")[0]
    assert get_code(server.request("POST", f"{KB}/read/documents/{'0' * 32}/retry")) == (404, "document_not_found")
    answer = server.request("POST", f"{KB}/read/documents/{broken['id']}/retry")
    assert answer.status_code == 202
    assert server.request("GET", f"/api/v1/jobs/{answer.json()['job_id']}").json()["total"] == 1
    assert get_code(server.request("POST", f"{KB}/read/documents/{broken['id']}/retry")) == (409, "busy")
    server.work()
    assert list_documents(server, query="?path_prefix=broken")[0]["version"] == 2


# -- jobs -------------------------------------------------------------------------------------------------------


def read_events(answer):
    blocks = [block for block in answer.text.split("\n\n") if block and not block.startswith(":")]
    pairs = [block.split("\ndata: ") for block in blocks]
    return [(name.removeprefix("event: "), json.loads(data)) for name, data in pairs]


def test_jobs_are_listed_followed_cancelled_and_tried_again(fresh):
    fresh.create("kb")
    job_id = fresh.upload("kb", {"a.txt": b"text one"}).json()["job_id"]
    job = fresh.request("GET", f"/api/v1/jobs/{job_id}").json()
    assert set(job) >= {
        "id", "kind", "knowledge_base", "state", "stage", "done", "total", "failed", "message", "started_at",
        "finished_at", "eta_s",
    }  # fmt: skip
    cancelled = fresh.request("POST", f"/api/v1/jobs/{job_id}/cancel").json()
    assert cancelled["state"] == "cancelled"
    assert get_code(fresh.request("POST", f"/api/v1/jobs/{job_id}/cancel")) == (409, "job_ended")
    assert list_documents(fresh, "kb")[0]["error"]["code"] == "cancelled"
    assert fresh.request("POST", f"/api/v1/jobs/{job_id}/retry").json()["state"] == "queued"
    assert get_code(fresh.request("POST", f"/api/v1/jobs/{job_id}/retry")) == (409, "job_not_ended")
    fresh.work()
    events = read_events(fresh.request("GET", f"/api/v1/jobs/{job_id}/events"))
    assert [name for name, _ in events] == ["done"]
    assert (events[0][1]["state"], events[0][1]["done"]) == ("succeeded", 1)


def test_jobs_are_filtered(server):
    kb_id = server.request("GET", f"{KB}/read").json()["id"]
    jobs = server.request("GET", "/api/v1/jobs?kb=read&state=succeeded").json()["items"]
    assert jobs
    assert {job["knowledge_base"] for job in jobs} == {kb_id}
    assert server.request("GET", "/api/v1/jobs?kb=empty").json()["items"] == []
    assert get_code(server.request("GET", "/api/v1/jobs?kb=none")) == (404, "knowledge_base_not_found")
    assert get_code(server.request("GET", "/api/v1/jobs?state=lost")) == (422, "bad_state")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("GET", "/events"), ("POST", "/cancel"), ("POST", "/retry")])
def test_a_job_there_is_not(server, method, path):
    assert get_code(server.request(method, f"/api/v1/jobs/none{path}")) == (404, "job_not_found")


# -- search and ask ---------------------------------------------------------------------------------------------


def test_a_search_answers_in_the_shape_of_the_contract(server):
    body = server.request("POST", f"{KB}/read/search", json={"query": "望远镜的口径是多少"}).json()
    assert set(body) == {"passages", "revision", "revisions", "degraded", "timings_ms", "relevance"}
    assert set(body["timings_ms"]) == {"embed", "dense", "lexical", "fuse", "rerank", "merge", "total"}
    assert body["degraded"] == []
    passage = body["passages"][0]
    assert set(passage) >= {
        "text", "score", "scores", "document", "chunk_ids", "page_start", "page_end", "start", "end", "heading",
    }  # fmt: skip
    assert set(passage["scores"]) == {"dense", "lexical", "fused", "rerank"}
    assert passage["document"]["path"] == "天文/口径.md"
    assert set(passage["document"]) == {"id", "path", "title"}
    text = server.request("GET", f"{KB}/read/documents/{passage['document']['id']}/text").json()["text"]
    assert passage["text"] == text[passage["start"] : passage["end"]]
    assert "八米" in passage["text"]


@pytest.mark.parametrize(
    ("filter", "found"),
    [
        ({"path_prefix": "天文/"}, True),
        ({"path_prefix": "none"}, False),
        ({"language": "en"}, False),
        ({"metadata": {"year": 1}}, False),
        ({}, True),
        (None, True),
    ],
)
def test_a_search_is_limited_by_its_filter(server, filter, found):  # noqa: A002
    body = server.request("POST", f"{KB}/read/search", json={"query": "口径", "filter": filter}).json()
    assert any(passage["document"]["path"] == "天文/口径.md" for passage in body["passages"]) == found


@pytest.mark.parametrize("query", ["the of and", "🔭", "' OR 1=1 --", "(a+)+$", '"* OR NEAR(', "^title:x~2", "\\", "٣"])
def test_any_text_is_a_query(server, query):
    for mode in ("hybrid", "dense", "lexical"):
        answer = server.request("POST", f"{KB}/read/search", json={"query": query, "mode": mode})
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize("field", ["search", "ask"])
@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"text": ""}, 422, "question_empty"),
        ({"text": " \n　"}, 422, "question_empty"),
        ({"text": "x" * 8_001}, 422, "question_too_long"),
        ({"text": None}, 422, "bad_text_field"),
        ({"top_k": 0}, 422, "bad_top_k"),
        ({"top_k": 101}, 422, "bad_top_k"),
        ({"top_k": "5"}, 422, "bad_top_k"),
        ({"top_k": 10**20}, 422, "bad_top_k"),
        ({"max_tokens": 0}, 422, "bad_max_tokens"),
        ({"max_tokens": 10**9}, 422, "bad_max_tokens"),
        ({"nope": 1}, 422, "unknown_field"),
    ],
)
def test_what_cannot_be_asked(server, field, changes, status, code):
    name = {"search": "query", "ask": "question"}[field]
    body = {name: "口径"} | {(name if key == "text" else key): value for key, value in changes.items()}
    code = f"bad_{name}" if code == "bad_text_field" else code
    assert get_code(server.request("POST", f"{KB}/read/{field}", json=body)) == (status, code)


@pytest.mark.parametrize("field", ["search", "ask"])
@pytest.mark.parametrize(
    ("content", "content_type", "status", "code"),
    [
        (b"", "application/json", 400, "bad_json"),
        (b"null", "application/json", 422, "bad_body"),
        (b"[]", "application/json", 422, "bad_body"),
        (b'{"query": NaN}', "application/json", 400, "bad_json"),
        (b"\xff", "application/json", 400, "bad_json"),
        (rb'{"query": "\ud800"}', "application/json", 422, "bad_text"),
        (b'{"query": "x"}', "text/plain", 415, "unsupported_media_type"),
        (b'{"query": "x"}', "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"[" * 900_000, "application/json; charset=utf-8", 400, "bad_json"),
        (b'"' + b"x" * 1_000_000 + b'"', "application/json", 413, "too_large"),
    ],
)
def test_bodies_that_are_no_request(server, field, content, content_type, status, code):
    headers = {"content-type": content_type}
    assert get_code(server.request("POST", f"{KB}/read/{field}", content=content, headers=headers)) == (status, code)


def test_an_empty_knowledge_base_answers_with_nothing(server):
    assert server.request("POST", f"{KB}/empty/search", json={"query": "x"}).json()["passages"] == []
    answer = server.request("POST", f"{KB}/empty/ask", json={"question": "What is it?"}).json()
    assert (answer["refused"], answer["citations"], answer["passages"]) == (True, [], [])


def test_an_answer_cites_in_the_shape_of_the_contract(server):
    body = server.request("POST", f"{KB}/read/ask", json={"question": "望远镜的口径是多少？"}).json()
    assert set(body) >= {
        "answer", "refused", "citations", "passages", "query", "model", "usage", "revision", "conversation_id",
        "timings_ms",
    }  # fmt: skip
    assert (body["refused"], body["usage"], len(body["conversation_id"])) == (False, None, 32)
    citation = body["citations"][0]
    assert set(citation) >= {"number", "document", "version", "page_start", "page_end", "start", "end", "quote"}
    text = server.request("GET", f"{KB}/read/documents/{citation['document']['id']}/text").json()["text"]
    assert citation["quote"] == text[citation["start"] : citation["end"]]
    assert "八米" in citation["quote"]
    assert f"[{citation['number']}]" in body["answer"]


def test_a_streamed_answer_ends_with_the_whole_one(server):
    body = {"question": "望远镜的口径是多少？", "stream": True, "history": []}
    answer = server.request("POST", f"{KB}/read/ask", json=body)
    assert answer.headers["content-type"].startswith("text/event-stream")
    assert answer.headers["x-content-type-options"] == "nosniff"
    events = read_events(answer)
    names = [name for name, _ in events]
    assert names[0] == "passages"
    assert names[-1] == "done"
    assert set(names[1:-1]) == {"token"}
    whole = server.request("POST", f"{KB}/read/ask", json={**body, "stream": False}).json()
    done = events[-1][1]
    assert {**done, "timings_ms": 0} == {**whole, "timings_ms": 0}
    assert events[0][1]["passages"] == done["passages"]
    assert "".join(data["text"] for _, data in events[1:-1]) == done["answer"]


@pytest.mark.parametrize(
    ("changes", "status", "code"),
    [
        ({"question": ""}, 422, "question_empty"),
        ({"history": [{"role": "system", "content": "x"}]}, 422, "bad_role"),
        ({"temperature": 3}, 422, "bad_temperature"),
        ({"conversation_id": 5}, 422, "bad_conversation_id"),
        ({"conversation_id": "none"}, 404, "conversation_not_found"),
    ],
)
def test_a_stream_that_cannot_begin_has_its_own_status(server, changes, status, code):
    body = {"question": "口径", "stream": True} | changes
    assert get_code(server.request("POST", f"{KB}/read/ask", json=body)) == (status, code)


# -- the server as a whole --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["/", "/api/v1", "/api/v1/nothing", f"{KB}/", "/mcp",
     "/%2e%2e/%2e%2e/etc/passwd", "//admin", "/static/..%5c", "/redoc"],
)  # fmt: skip
def test_what_is_not_there(server, path):
    assert server.request("GET", path).status_code == 404


def test_an_unknown_address_has_a_problem(server):
    assert get_code(server.request("POST", "/api/v1/nothing", json={})) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", KB, "GET, HEAD, POST"),
        ("TRACE", KB, "GET, HEAD, POST"),
        ("OPTIONS", KB, "GET, HEAD, POST"),
        ("POST", f"{KB}/read", "DELETE, GET, HEAD, PATCH"),
        ("PUT", f"{KB}/read/documents", "GET, HEAD, POST"),
        ("GET", f"{KB}/read/search", "POST"),
        ("HEAD", f"{KB}/read/search", "POST"),
        ("DELETE", "/health/live", "GET, HEAD"),
    ],
)
def test_a_method_that_is_not_allowed(server, method, path, allow):
    answer = server.request(method, path)
    if method == "HEAD":
        assert (answer.status_code, answer.content) == (405, b"")
    else:
        assert get_code(answer) == (405, "method_not_allowed")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("path", [KB, f"{KB}/read", f"{KB}/read/documents", "/health/live", "/docs", "/nothing"])
def test_head_is_answered_as_get_without_the_body(server, path):
    told, whole = server.request("HEAD", path), server.request("GET", path)
    assert (told.status_code, told.content) == (whole.status_code, b"")
    assert whole.content
    for name in ("content-type", "content-length", "content-security-policy"):
        assert told.headers[name] == whole.headers[name]


@pytest.mark.parametrize("accept", ["application/xml", "text/html", "*/*"])
def test_json_is_answered_whatever_is_accepted(server, accept):
    answer = server.request("GET", KB, headers={"accept": accept})
    assert (answer.status_code, answer.headers["content-type"]) == (200, "application/json")


@pytest.mark.parametrize("path", [KB, "/nothing", "/docs", "/openapi.json", "/health/live"])
def test_every_answer_is_safe_to_hold(server, path):
    headers = server.request("GET", path, headers={"origin": "https://evil.example"}).headers
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert "default-src 'none'" in headers["content-security-policy"]
    assert "access-control-allow-origin" not in headers


def test_health(fresh):
    assert fresh.request("GET", "/health/live").json() == {"status": "ok"}
    ready = fresh.request("GET", "/health/ready").json()
    assert ready["status"] == "ready"
    assert {part["name"]: part["state"] for part in ready["parts"]} == dict.fromkeys(
        ["database", "data_directory", "indexes"], "up"
    )


def test_the_description_holds_every_route_and_every_body(server):
    described = server.request("GET", "/openapi.json").json()
    assert f"{KB}/{{kb}}/search" in described["paths"]
    assert described["components"]["schemas"]["SearchBody"]["properties"]["top_k"]["maximum"] == 100
    text = json.dumps(described)
    names = {part.split('"')[0] for part in text.split("#/components/schemas/")[1:]}
    assert names <= set(described["components"]["schemas"])
    page = server.request("GET", "/docs")
    assert all(path.replace("{", "{") in page.text for path in described["paths"])
    assert "<script" not in page.text
    assert "http://" not in page.text + page.headers["content-security-policy"]
