"""A web site served on loopback by a real HTTP server, which writes down each request and can be changed overnight."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote, unquote, urlsplit

FIRST_DAY = 1_767_225_600  # the first of January 2026, as Last-Modified counts


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What stands at a path. `body` may be made anew for each request, of its number. With a `target` it redirects;
    `delay` is waited out in the middle of the body."""

    body: bytes | Callable[[int], bytes] = b""
    content_type: str | None = "text/html; charset=utf-8"
    etag: str | None = None
    modified: float | None = None
    status: int = 200
    target: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    delay: float = 0.0

    def write(self, number: int) -> bytes:
        return self.body if isinstance(self.body, bytes) else self.body(number)

    def list_headers(self) -> dict[str, str]:
        told = {
            "Content-Type": self.content_type,
            "ETag": self.etag,
            "Last-Modified": None if self.modified is None else formatdate(self.modified, usegmt=True),
            "Location": None if self.target is None else quote(self.target, safe="/:?&=%#"),
        }
        return {name: value for name, value in told.items() if value is not None} | dict(self.headers)

    def is_as(self, tag: str | None, since: str | None) -> bool:
        if tag is not None:
            return tag == self.etag
        return since is not None and since == self.list_headers().get("Last-Modified")


@dataclass(frozen=True, kw_only=True)
class Asked:
    """One request as it came; `path` is readable and has its query."""

    method: str
    path: str
    conditional: bool
    status: int


class SiteServer:
    """`answers` by readable path, else what `make` says of it, else 404. Use `serve_site`."""

    def __init__(self) -> None:
        self.url = ""
        self.answers: dict[str, Answer] = {}
        self.make: Callable[[str], Answer | None] = lambda _: None
        self.on_request: Callable[[str], None] = lambda _: None
        self.asked: list[Asked] = []
        self.agents: set[str | None] = set()
        self._numbers: Counter[str] = Counter()
        self._lock = threading.Lock()

    @property
    def port(self) -> int:
        return urlsplit(self.url).port or 0

    def locate(self, path: str) -> str:
        """The address of a readable path, in the one form that addresses have."""
        return self.url + quote(path, safe="/?&=~-._")

    def take_asked(self) -> list[Asked]:
        """Requests since this was last called."""
        with self._lock:
            asked, self.asked = self.asked, []
        return asked

    def change(self, path: str, **parts: Any) -> None:
        self.answers[path] = replace(self.answers[path], **parts)

    def move(self, old: str, new: str, status: int = 301) -> None:
        """The page is at `new` from now on, and `old` redirects there."""
        self.answers[new] = self.answers[old]
        self.answers[old] = Answer(status=status, target=new, content_type=None)

    def remove(self, *paths: str, status: int = 404) -> None:
        for path in paths:
            self.answers[path] = Answer(status=status, body=b"<p>not here</p>")

    def answer(self, method: str, target: str, headers: Mapping[str, str]) -> tuple[Answer, bytes, int]:
        """The answer, its body, and the status in its place."""
        path = unquote(target)
        self.on_request(path)
        found = self.answers.get(path) or self.answers.get(path.partition("?")[0]) or self.make(path)
        found = found or Answer(status=404, body=b"<p>no such page</p>")
        tag, since = headers.get("If-None-Match"), headers.get("If-Modified-Since")
        status = 304 if found.status == 200 and found.is_as(tag, since) else found.status
        with self._lock:
            self._numbers[path] += 1
            number = self._numbers[path]
            conditional = tag is not None or since is not None
            self.asked.append(Asked(method=method, path=path, conditional=conditional, status=status))
            self.agents.add(headers.get("User-Agent"))
        return found, found.write(number) if status != 304 else b"", status


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64
    site: SiteServer


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 60
    server: _Server

    def do_GET(self) -> None:
        answer, body, status = self.server.site.answer(self.command, self.path, self.headers)  # type: ignore[arg-type]
        self.send_response(status)
        for name, value in answer.list_headers().items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if answer.delay and body:
            half = len(body) // 2
            self.wfile.write(body[:half])
            self.wfile.flush()
            threading.Event().wait(answer.delay)
            body = body[half:]
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """The requests are in `asked`."""


@contextmanager
def serve_site(site: SiteServer) -> Iterator[SiteServer]:
    server = _Server(("127.0.0.1", 0), _Connection)
    server.site = site
    site.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
