"""Uploads over HTTP on a real store: what is accepted, what is refused, and that a refusal leaves nothing behind."""

import asyncio
import hashlib
import json

import pytest
from fakes.local_server import KB, LocalServer

TYPE = "multipart/form-data; boundary=xyz"
TEXT = "望远镜的口径是八米。The telescope is eight metres wide.\n".encode()


@pytest.fixture
def server(tmp_path):
    server = LocalServer(tmp_path / "store", max_file_bytes=5_000, max_request_bytes=60_000, max_request_files=20)
    server.create("kb")
    yield server
    server.close()


def write_part(name, data, filename=None):
    shown = "" if filename is None else f'; filename="{filename}"'
    return b"--xyz\r\n" + f'Content-Disposition: form-data; name="{name}"{shown}\r\n\r\n'.encode() + data + b"\r\n"


def post(server, *parts, end=b"--xyz--\r\n", **headers):
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return server.request(
        "POST", f"{KB}/kb/documents", content=b"".join(parts) + end, headers={"content-type": TYPE, **named}
    )


def count_rows(server):
    return len(server.request("GET", f"{KB}/kb/documents").json()["items"])


def test_many_files_with_paths_are_recorded_and_durable(server):
    answer = server.upload("kb", {"报告/2024/a.txt": TEXT, "b.md": b"# b\n\nmore", "c d.html": b"<html>c</html>"})
    assert answer.status_code == 202
    body = answer.json()
    assert [(d["path"], d["status"]) for d in body["documents"]] == [
        ("报告/2024/a.txt", "pending"),
        ("b.md", "pending"),
        ("c d.html", "pending"),
    ]
    assert body["documents"][0]["sha256"] == hashlib.sha256(TEXT).hexdigest()
    assert body["rejected"] == []
    assert server.list_files() == (0, 3)
    job = server.request("GET", f"/api/v1/jobs/{body['job_id']}").json()
    assert (job["kind"], job["state"], job["total"]) == ("upload", "queued", 3)
    types = [item["media_type"] for item in server.request("GET", f"{KB}/kb/documents").json()["items"]]
    assert sorted(types) == ["text/html", "text/markdown", "text/plain"]


def test_one_bad_file_never_refuses_the_others(server):
    png = b"\x89PNG\r\n\x1a\n" + b"\0" * 50
    answer = server.upload(
        "kb",
        {
            "good.txt": TEXT,
            "empty.txt": b"",
            "large.txt": b"x" * 5_001,
            "fits.txt": b"x" * 5_000,
            "../up.txt": TEXT,
            "/abs.txt": TEXT,
            "C:\\x.txt": TEXT,
            "a\\b.txt": TEXT,
            "false.pdf": TEXT,
            "picture.png": png,
            "picture.txt": png,
        },
    )
    assert answer.status_code == 202
    body = answer.json()
    assert [document["path"] for document in body["documents"]] == ["good.txt", "fits.txt"]
    assert {one["path"]: one["code"] for one in body["rejected"]} == {
        "empty.txt": "file_empty",
        "large.txt": "too_large",
        "../up.txt": "bad_path",
        "/abs.txt": "bad_path",
        "C:\\x.txt": "bad_path",
        "a\\b.txt": "bad_path",
        "false.pdf": "type_mismatch",
        "picture.png": "unsupported_type",
        "picture.txt": "unsupported_type",
    }
    assert all(one["detail"] for one in body["rejected"])
    assert server.list_files() == (0, 2)


def test_of_equal_paths_the_first_is_taken(server):
    body = post(
        server,
        write_part("files", b"first", "cafe\u0301.txt"),
        write_part("files", b"second", "caf\u00e9.txt"),
        write_part("files", b"third", "other.txt"),
    ).json()
    assert [document["path"] for document in body["documents"]] == ["caf\u00e9.txt", "other.txt"]
    assert body["documents"][0]["sha256"] == hashlib.sha256(b"first").hexdigest()
    assert [(one["path"], one["code"]) for one in body["rejected"]] == [("caf\u00e9.txt", "duplicate_path")]


def test_equal_bytes_are_kept_once(server):
    body = server.upload("kb", {"a.txt": TEXT, "b.txt": TEXT}).json()
    assert len({document["id"] for document in body["documents"]}) == 2
    assert server.list_files() == (0, 1)


def test_the_same_bytes_at_the_same_path_are_unchanged_and_others_a_new_version(server):
    first = server.upload("kb", {"a.txt": TEXT}).json()["documents"][0]
    again = server.upload("kb", {"a.txt": TEXT}).json()["documents"][0]
    assert (again["id"], again["status"]) == (first["id"], "unchanged")
    other = server.upload("kb", {"a.txt": b"something else"}).json()["documents"][0]
    assert (other["id"], other["status"]) == (first["id"], "pending")
    document = server.request("GET", f"{KB}/kb/documents/{first['id']}").json()
    assert document["version"] == 2
    assert document["sha256"] == other["sha256"]


def test_metadata_goes_onto_each_document_wherever_its_part_stands(server):
    for path, parts in (("a.txt", (1, 0)), ("b.txt", (0, 1))):
        files = (write_part("files", TEXT, path), write_part("metadata", json.dumps({"年": 2024}).encode()))
        assert post(server, *(files[place] for place in parts)).status_code == 202
    found = server.request("GET", f"{KB}/kb/documents").json()["items"]
    assert [document["metadata"] for document in found] == [{"年": 2024}] * 2


FILE = write_part("files", TEXT, "a.txt")


@pytest.mark.parametrize(
    ("parts", "end", "status", "code"),
    [
        ((), b"--xyz--\r\n", 422, "nothing_accepted"),
        ((write_part("files", b"", "a.txt"),), b"--xyz--\r\n", 422, "nothing_accepted"),
        ((write_part("files", b"text"),), b"--xyz--\r\n", 422, "nothing_accepted"),
        ((write_part("files", b"text", ""),), b"--xyz--\r\n", 422, "nothing_accepted"),
        ((FILE,), b"", 400, "bad_multipart"),
        ((FILE,), b"--xyz", 400, "bad_multipart"),
        ((FILE, FILE[:-20]), b"", 400, "bad_multipart"),
        ((b"junk", FILE), b"--xyz--\r\n", 400, "bad_multipart"),
        ((FILE, write_part("file", TEXT, "b.txt")), b"--xyz--\r\n", 422, "unknown_field"),
        ((FILE, write_part("archive", TEXT, "b.zip")), b"--xyz--\r\n", 422, "unsupported_archive"),
        ((FILE, write_part("passwords", b"x")), b"--xyz--\r\n", 422, "unknown_field"),
        ((FILE, write_part("metadata", b"{")), b"--xyz--\r\n", 400, "bad_json"),
        ((FILE, write_part("metadata", b'{"a": NaN}')), b"--xyz--\r\n", 400, "bad_json"),
        ((FILE, write_part("metadata", b"[]")), b"--xyz--\r\n", 422, "bad_metadata"),
        ((FILE, write_part("metadata", b"{}") * 2), b"--xyz--\r\n", 422, "bad_metadata"),
        ((FILE, write_part("metadata", rb'{"a": "\u0000"}')), b"--xyz--\r\n", 422, "bad_text"),
        ((FILE, write_part("metadata", rb'{"a": "\ud800"}')), b"--xyz--\r\n", 422, "bad_text"),
        ((FILE, write_part("metadata", b'{"a":' * 50 + b"1" + b"}" * 50)), b"--xyz--\r\n", 422, "metadata_too_large"),
        (
            (FILE, write_part("metadata", json.dumps({str(n): n for n in range(2_000)}).encode())),
            b"--xyz--\r\n",
            422,
            "metadata_too_large",
        ),
        (tuple(write_part("files", b"x", f"{n}.txt") for n in range(22)), b"--xyz--\r\n", 400, "too_many_parts"),
        ((FILE, write_part("files", b"x" * 61_000, "b.txt")), b"--xyz--\r\n", 413, "too_large"),
    ],
)
def test_a_request_that_is_refused_leaves_nothing(server, parts, end, status, code):
    answer = post(server, *parts, end=end)
    assert (answer.status_code, answer.json()["code"]) == (status, code)
    assert answer.headers["content-type"] == "application/problem+json"
    assert count_rows(server) == 0
    assert server.list_files() == (0, 0)


def test_nothing_accepted_says_why(server):
    body = post(server, write_part("files", b"", "a.txt"), write_part("files", TEXT, "../b.txt")).json()
    assert [(one["path"], one["code"]) for one in body["rejected"]] == [
        ("a.txt", "file_empty"),
        ("../b.txt", "bad_path"),
    ]


def test_a_large_text_field_is_refused(tmp_path):
    server = LocalServer(tmp_path / "store")
    server.create("kb")
    answer = post(server, FILE, write_part("metadata", b'{"a": "' + b"x" * 1_100_000 + b'"}'))
    assert (answer.status_code, answer.json()["code"]) == (400, "field_too_large")
    assert server.list_files() == (0, 0)
    server.close()


@pytest.mark.parametrize(
    ("content_type", "status", "code"),
    [
        ("application/json", 415, "unsupported_media_type"),
        ("application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        ("multipart/form-data", 400, "bad_multipart"),
        ("multipart/form-data; boundary=other", 400, "bad_multipart"),
    ],
)
def test_a_body_of_another_type(server, content_type, status, code):
    answer = post(server, FILE, content_type=content_type)
    assert (answer.status_code, answer.json()["code"]) == (status, code)


def test_a_body_whose_length_is_not_told_is_stopped_at_the_limit(server):
    asked = []

    async def stream():
        yield b'--xyz\r\nContent-Disposition: form-data; name="files"; filename="a.txt"\r\n\r\n'
        for number in range(1_000):
            asked.append(number)
            yield b"x" * 1_000

    answer = server.request("POST", f"{KB}/kb/documents", content=stream(), headers={"content-type": TYPE})
    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")
    assert answer.headers["connection"] == "close"
    assert len(asked) <= 62
    assert server.list_files() == (0, 0)


def test_a_length_past_the_limit_is_refused_before_the_body_is_read(server):
    read = []

    async def receive():
        read.append(1)
        return {"type": "http.request", "body": b"", "more_body": True}

    sent = []

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", TYPE.encode()), (b"content-length", b"60001")]
    path = f"{KB}/kb/documents"
    scope = {
        "type": "http",
        "http_version": "1.0",
        "method": "POST",
        "path": path,
        "headers": headers,
        "query_string": b"",
    }
    server.run(server.app(scope, receive, send))
    assert sent[0]["status"] == 413
    assert (b"connection", b"close") in sent[0]["headers"]
    assert read == []


def test_a_client_that_goes_under_way_leaves_nothing(server):
    messages = [
        {"type": "http.request", "body": FILE + write_part("files", TEXT, "b.txt")[:-10], "more_body": True},
        {"type": "http.disconnect"},
    ]
    sent = []

    async def receive():
        return messages.pop(0)

    async def send(message):
        sent.append(message)

    headers = [(b"content-type", TYPE.encode())]
    scope = {
        "type": "http",
        "http_version": "1.0",
        "method": "POST",
        "path": f"{KB}/kb/documents",
        "headers": headers,
        "query_string": b"",
    }
    server.run(server.app(scope, receive, send))
    assert sent == []
    assert server.list_files() == (0, 0)
    assert count_rows(server) == 0


def test_an_upload_that_is_cancelled_leaves_nothing(server):
    async def run():
        held = asyncio.Event()
        first = {"type": "http.request", "body": FILE + write_part("files", TEXT, "b.txt")[:-10], "more_body": True}
        messages = [first]

        async def receive():
            if messages:
                return messages.pop()
            held.set()
            return await asyncio.Event().wait()

        scope = {
            "type": "http",
            "http_version": "1.0",
            "method": "POST",
            "path": f"{KB}/kb/documents",
            "query_string": b"",
        }
        exchange = asyncio.create_task(
            server.app({**scope, "headers": [(b"content-type", TYPE.encode())]}, receive, lambda message: None)
        )
        await held.wait()
        exchange.cancel()
        await asyncio.gather(exchange, return_exceptions=True)

    server.run(run())
    assert server.list_files() == (0, 0)


def test_an_idempotency_key_gives_the_first_answer_again(server):
    first = server.upload("kb", {"a.txt": TEXT}, headers={"idempotency-key": "k-1"})
    again = server.upload("kb", {"a.txt": TEXT}, headers={"idempotency-key": "k-1"})
    assert again.status_code == 202
    assert again.json() == first.json()
    assert again.json()["documents"][0]["status"] == "pending"
    other = server.upload("kb", {"a.txt": b"other"}, headers={"idempotency-key": "k-1"})
    assert (other.status_code, other.json()["code"]) == (409, "idempotency_mismatch")
    assert len(server.request("GET", "/api/v1/jobs").json()["items"]) == 1


def test_the_same_request_ten_times_at_once_is_done_once(server):
    parts = {"files": [("files", ("a.txt", TEXT))], "headers": {"idempotency-key": "k-1"}}
    answers = server.gather(*[("POST", f"{KB}/kb/documents", parts)] * 10)
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.text for answer in answers}) == 1
    assert count_rows(server) == 1
    assert len(server.request("GET", "/api/v1/jobs").json()["items"]) == 1


@pytest.mark.parametrize("key", ["", "a b", "x" * 256])
def test_a_key_that_cannot_be_kept(server, key):
    answer = server.upload("kb", {"a.txt": TEXT}, headers={"idempotency-key": key})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_idempotency_key")


def test_an_upload_into_nothing(server):
    answer = server.upload("other", {"a.txt": TEXT})
    assert (answer.status_code, answer.json()["code"]) == (404, "knowledge_base_not_found")
    assert server.list_files() == (0, 0)


def test_two_hundred_small_files_in_one_request(tmp_path):
    server = LocalServer(tmp_path / "store")
    server.create("kb")
    body = server.upload("kb", {f"d/{n}.txt": TEXT + str(n).encode() for n in range(200)}).json()
    assert len(body["documents"]) == 200
    assert server.list_files() == (0, 200)
    server.close()
