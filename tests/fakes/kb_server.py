"""A small server on loopback that keeps to the HTTP contract as far as the command line uses it.

It indexes nothing: a document whose bytes hold `FAIL` ends as failed, any other as ready, with one page of text and a
scanned one for each `SCAN`. Faults are queued: each request whose path ends with the fault's ending uses up one.
"""

from __future__ import annotations

import hashlib
import json
import re
import socket
import struct
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from fakes.kb_sources import FakeSources

DISPOSITION = re.compile(rb'filename="((?:[^"\\]|\\.)*)"')


@dataclass
class Fault:
    """An answer in place of the right one; status 0 resets the connection once the request is read (`done`: obeyed)."""

    ending: str
    status: int
    code: str = "fault"
    headers: Mapping[str, str] = field(default_factory=dict)
    done: bool = False


@dataclass
class Sent:
    """One request as it came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    query: dict[str, str]


class KbServer:
    def __init__(self) -> None:
        self.url = ""
        self.key: str | None = None
        self.faults: list[Fault] = []
        self.requests: list[Sent] = []
        self.bases: dict[str, dict[str, Any]] = {}
        self.documents: dict[str, dict[str, dict[str, Any]]] = {}
        self.jobs: dict[str, dict[str, Any]] = {}
        self.sources = FakeSources(self.jobs)
        self.answers: dict[str, dict[str, Any]] = {}  # by Idempotency-Key
        self.explain_answer: dict[str, Any] = {}
        self.search_answer: dict[str, Any] = {"passages": [], "revision": 1, "degraded": [], "timings_ms": {}}
        self.ask_answer: dict[str, Any] = {"answer": "", "refused": False, "citations": []}
        self.ask_events: Iterable[bytes] = []
        self.page = 200
        self.most_files = 1000
        self.job_ending = "succeeded"
        self.reindex_result: dict[str, Any] | None = None
        self.new_status = "ready"
        self.lock = threading.Lock()

    def find(self, method: str, ending: str) -> list[Sent]:
        return [one for one in self.requests if one.method == method and one.path.endswith(ending)]

    def add_base(self, name: str) -> str:
        kb_id = f"kb{len(self.bases) + 1}"
        fields = {"documents": 0, "chunks": 0, "revision": 0, "embedding_model": "builtin", "language": "auto"}
        fields |= {"chunk_tokens": 100, "wanted_chunk_tokens": 100}
        self.bases[kb_id] = {"id": kb_id, "name": name, **fields}
        self.documents[kb_id] = {}
        return kb_id

    def find_base(self, name: str) -> str | None:
        return next((one["id"] for one in self.bases.values() if name in (one["id"], one["name"])), None)

    def answer(self, sent: Sent) -> tuple[int, dict[str, Any] | None]:
        if self.key is not None and sent.headers.get("authorization") != f"Bearer {self.key}":
            return problem(401, "unauthorized", "a key is needed")
        match sent.path.removeprefix("/api/v1/").split("/"):
            case ["knowledge-bases"]:
                return self.create(sent) if sent.method == "POST" else self.give_page(sent, [*self.bases.values()])
            case ["knowledge-bases", name, *rest]:
                kb_id = self.find_base(unquote(name))
                if kb_id is None:
                    return problem(404, "knowledge_base_not_found", f"no knowledge base {unquote(name)}")
                return self.answer_base(sent, kb_id, rest)
            case ["search" | "ask" as verb]:
                named = json.loads(sent.body)["knowledge_bases"]
                missing = [name for name in named if self.find_base(name) is None]
                if missing:
                    return problem(404, "knowledge_base_not_found", f"no knowledge base {missing[0]}")
                return self.answer_verb(verb)
            case ["jobs"]:
                return self.give_page(sent, list(self.jobs.values()))
            case ["jobs", job_id, *verb]:
                return self.answer_job(job_id, verb)
        return problem(404, "not_found", sent.path)

    def create(self, sent: Sent) -> tuple[int, dict[str, Any]]:
        name = json.loads(sent.body)["name"]
        return problem(409, "taken", name) if self.find_base(name) else (201, self.bases[self.add_base(name)])

    def answer_base(self, sent: Sent, kb_id: str, rest: list[str]) -> tuple[int, dict[str, Any] | None]:
        match (sent.method, rest):
            case ("GET", []):
                return 200, self.bases[kb_id]
            case ("PATCH", []):
                return 200, change_base(self.bases[kb_id], json.loads(sent.body))
            case ("DELETE", []):
                del self.bases[kb_id]
                return 204, None
            case (method, ["documents", *place]):
                return self.answer_documents(sent, self.documents[kb_id], [method, *place])
            case ("GET", ["sources"]):
                return self.give_page(sent, list(self.sources.by_name.values()))
            case (method, ["sources", *place]):
                found = self.sources.answer(method, place, json.loads(sent.body or b"{}"))
                return found or problem(404, "source_not_found", sent.path)
            case ("POST", ["reindex" | "search" | "explain" | "ask" as verb]):
                return self.answer_verb(verb)
        return problem(404, "not_found", sent.path)

    def answer_documents(
        self, sent: Sent, documents: dict[str, dict[str, Any]], call: list[str]
    ) -> tuple[int, dict[str, Any]]:
        match call:
            case ["POST"]:
                return self.upload(sent, documents)
            case ["GET"]:
                return self.give_page(sent, [one for one in documents.values() if fits(one, sent.query)])
            case ["GET", name, *pages]:
                found = next((one for one in documents.values() if one["id"] == name), None)
                if pages and found:
                    return self.give_page(sent, found.get("ledger", []))
                return (200, found) if found else problem(404, "document_not_found", name)
            case ["POST", "delete"]:
                return self.delete(json.loads(sent.body), documents)
        return problem(404, "not_found", sent.path)

    def answer_verb(self, verb: str) -> tuple[int, dict[str, Any]]:
        if verb == "reindex":
            job = {"id": "r1", "kind": "reindex", "state": "queued", "done": 0, "total": 3}
            self.jobs["r1"] = {**job, "result": self.reindex_result}
            return 202, {"job_id": "r1"}
        return 200, {"search": self.search_answer, "explain": self.explain_answer, "ask": self.ask_answer}[verb]

    def delete(self, body: dict[str, Any], documents: dict[str, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        prefix, ids = body.get("path_prefix") or "/", body.get("ids", [])
        gone = [path for path, one in documents.items() if one["id"] in ids or path.startswith(prefix)]
        for path in gone:
            del documents[path]
        return 200, {"deleted": len(gone)}

    def answer_job(self, job_id: str, verb: list[str]) -> tuple[int, dict[str, Any] | None]:
        job = self.jobs.get(job_id)
        if job is None:
            return problem(404, "job_not_found", job_id)
        if verb == ["cancel"]:
            job["state"] = "cancelled"
        elif verb == ["retry"]:
            return 202, {"job_id": job_id}
        elif job["state"] == "queued":  # each look moves it on
            job["state"] = "running"
        elif job["state"] == "running":
            job["state"], job["done"] = job.get("ending", self.job_ending), job["total"]
        return 200, job

    def upload(self, sent: Sent, documents: dict[str, dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        key = sent.headers["idempotency-key"]
        parts = read_form(sent)
        with self.lock:
            if key in self.answers:
                return 202, self.answers[key]
            if len(parts) > self.most_files:
                return problem(413, "too_large", "too many")
            job_id = f"job{len(self.jobs) + 1}"
            answer: dict[str, Any] = {"job_id": job_id, "documents": [], "rejected": []}
            for path, data in parts:
                self.take_document(answer, documents, path, data)
            if not answer["documents"]:
                status, body = problem(422, "nothing_accepted", "no file was accepted")
                return status, {**body, "rejected": answer["rejected"]}
            pending = sum(one["status"] == "pending" for one in answer["documents"])
            self.jobs[job_id] = {"id": job_id, "kind": "upload", "state": "queued", "done": 0, "total": pending}
            self.answers[key] = answer
        return 202, answer

    def take_document(
        self, answer: dict[str, Any], documents: dict[str, dict[str, Any]], path: str, data: bytes
    ) -> None:
        if not data:
            answer["rejected"].append({"path": path, "code": "file_empty", "detail": "the file is empty"})
            return
        sha = hashlib.sha256(data).hexdigest()
        old = documents.get(path)
        if old is None or old["sha256"] != sha:
            failed, scans = b"FAIL" in data, data.count(b"SCAN")
            error = {"code": "no_text", "detail": "no page has text"} if failed else None
            documents[path] = {
                "id": f"d{hashlib.sha256(path.encode()).hexdigest()[:12]}",
                "path": path,
                "sha256": sha,
                "size": len(data),
                "status": "failed" if failed else self.new_status,
                "error": error,
                "live_version": None if failed else 1,
                "pages": 1 + scans,
                "coverage": 0 if failed else 1 / (1 + scans),
                "verdicts": {"indexed": 1} | ({"scanned": scans} if scans else {}),
                "chunks": 1,
                "language": "en",
            }
        status = "unchanged" if old is not None and old["sha256"] == sha else "pending"
        answer["documents"].append({"id": documents[path]["id"], "path": path, "sha256": sha, "status": status})

    def give_page(self, sent: Sent, items: list[dict[str, Any]]) -> tuple[int, dict[str, Any]]:
        start = int(sent.query.get("cursor", 0))
        end = start + min(self.page, int(sent.query.get("limit", 50)))
        return 200, {"items": items[start:end], "next_cursor": str(end) if end < len(items) else None}


def change_base(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    size = changes.pop("chunk_tokens", base["wanted_chunk_tokens"])
    base.update(changes, wanted_chunk_tokens=size)
    return base


def fits(document: Mapping[str, Any], query: Mapping[str, str]) -> bool:
    prefix, status = query.get("path_prefix", ""), query.get("status", document["status"])
    partial = "coverage" not in query or 0 < document.get("coverage", 1) < 1
    return partial and document["status"] == status and document["path"].startswith(prefix)


def problem(status: int, code: str, detail: str) -> tuple[int, dict[str, Any]]:
    return status, {"type": "about:blank", "title": code, "status": status, "code": code, "detail": detail}


def read_form(sent: Sent) -> list[tuple[str, bytes]]:
    boundary = b"--" + sent.headers["content-type"].partition("boundary=")[2].encode()
    parts = []
    for part in (b"\r\n" + sent.body).split(b"\r\n" + boundary)[1:-1]:
        head, _, data = part.partition(b"\r\n\r\n")
        found = DISPOSITION.search(head)
        if found is not None:  # else it is a field, no file
            parts.append((re.sub(r"\\(.)", r"\1", found[1].decode()), data))
    return parts


class RequestHandler(BaseHTTPRequestHandler):
    """Bytes in and out. `kb_server` is set by `serve_kb`."""

    protocol_version = "HTTP/1.1"
    kb_server: KbServer

    def handle_request(self) -> None:
        server, url = self.kb_server, urlsplit(self.path)
        sent = Sent(
            self.command,
            url.path,
            {name.lower(): value for name, value in self.headers.items()},
            self.read_body(),
            {key: values[0] for key, values in parse_qs(url.query).items()},
        )
        with server.lock:
            server.requests.append(sent)
            fault = next((one for one in server.faults if sent.path.endswith(one.ending)), None)
            if fault is not None:
                server.faults.remove(fault)
        if fault is not None:
            self.fail(fault, sent)
        elif sent.path.endswith("/ask") and json.loads(sent.body).get("stream"):
            self.send_events()
        else:
            self.send(*server.answer(sent))

    do_GET = do_POST = do_PATCH = do_DELETE = handle_request  # noqa: N815 - the names that http.server calls

    def read_body(self) -> bytes:
        if self.headers.get("transfer-encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("content-length") or 0))
        body = bytearray()
        while size := int(self.rfile.readline(), 16):
            body += self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()
        return bytes(body)

    def fail(self, fault: Fault, sent: Sent) -> None:
        if fault.done:
            self.kb_server.answer(sent)
        if fault.status:
            self.send(*problem(fault.status, fault.code, "a fault on purpose"), headers=fault.headers)
            return
        # closing with this option sends a reset
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.close_connection = True

    def send(self, status: int, body: dict[str, Any] | None, headers: Mapping[str, str] | None = None) -> None:
        data = b"" if body is None else json.dumps(body, ensure_ascii=False).encode()
        self.send_response(status)
        for name, value in {**(headers or {}), "Content-Length": str(len(data))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def send_events(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for event in self.kb_server.ask_events:
            self.wfile.write(event)
            self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the name of the base class
        """Say nothing: stderr belongs to the test."""


def write_event(name: str, data: Mapping[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()


@contextmanager
def serve_kb() -> Iterator[KbServer]:
    server = KbServer()
    handler = type("Handler", (RequestHandler,), {"kb_server": server})
    http = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.url = f"http://127.0.0.1:{http.server_address[1]}"
    thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        http.shutdown()
        http.server_close()
        thread.join()
