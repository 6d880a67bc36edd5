"""A site of a few hundred made-up pages on loopback, like real ones in what is around their text: menu, script, foot.

Two of three pages tell their state by ETag, the third by Last-Modified. Requests are counted by page and by whether
they were conditional.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from texts import Texts

LINKS = 40  # of an article's menu
LISTS = 10  # pages that list articles, each a share of them
FILLER = "window.page = window.page || []; window.page.push({kind: 'menu', open: false});\n" * 250  # 20 KB of script
MODIFIED = "Thu, 01 Jan 2026 00:00:00 GMT"


class Site:
    """`pages` by path. The first leads to the lists, and these to all articles, which lead to each other."""

    def __init__(self, count: int, characters: int, texts: Texts) -> None:
        self._count = count
        self._characters = characters
        self.url = ""
        self.pages = {self.name(number): self._write(number, texts) for number in range(count)}
        self.asked: Counter[str] = Counter()
        self.conditional = 0

    def name(self, number: int) -> str:
        if number == 0:
            return "/"
        return f"/list/{number:02}.html" if number <= LISTS else f"/article/{number:04}.html"

    def change(self, number: int, texts: Texts) -> None:
        self.pages[self.name(number)] = self._write(number, texts)

    def reset(self) -> None:
        self.asked, self.conditional = Counter(), 0

    def _list_links(self, number: int) -> Iterable[int]:
        if number == 0:
            return range(1, LISTS + 1)
        if number <= LISTS:
            return range(LISTS + number, self._count, LISTS)
        return ((number * LINKS + step) % self._count for step in range(1, LINKS + 1))

    def _write(self, number: int, texts: Texts) -> bytes:
        menu = "".join(f'<li><a href="{self.name(one)}">文章 {one}</a></li>' for one in self._list_links(number))
        paragraphs = "".join(f"<p>{part}</p>" for part in texts.make_document(self._characters).split("\n\n"))
        return (
            f'<!DOCTYPE html><html lang="zh-CN"><head><meta charset="utf-8"><title>第 {number} 篇文章 - 本站</title>'
            f'<meta property="article:published_time" content="2025-11-{number % 28 + 1:02}"><script>{FILLER}</script>'
            f"</head><body><nav><ul>{menu}</ul></nav><main><article><h1>第 {number} 篇文章</h1>{paragraphs}</article>"
            f"</main><footer><p>本站版权所有</p></footer></body></html>"
        ).encode()


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    site: Site


class _Connection(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: _Server

    def do_GET(self) -> None:
        site = self.server.site
        page = site.pages.get(self.path)
        site.asked[self.path] += 1
        if page is None:
            self._send(404, b"", {})
            return
        state = self._find_state(page)
        header = "If-None-Match" if "ETag" in state else "If-Modified-Since"
        site.conditional += self.headers.get(header) is not None
        is_same = self.headers.get(header) in state.values()
        self._send(304 if is_same else 200, b"" if is_same else page, state)

    def _find_state(self, page: bytes) -> dict[str, str]:
        if len(page) % 3 == 0:
            return {"Last-Modified": MODIFIED}
        return {"ETag": f'"{hashlib.sha256(page).hexdigest()[:16]}"'}

    def _send(self, status: int, body: bytes, state: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {
            **state,
            "Content-Type": "text/html; charset=utf-8",
            "Content-Length": str(len(body)),
        }.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Requests are counted instead."""


@contextmanager
def serve(site: Site) -> Iterator[int]:
    """The port it is served on."""
    server = _Server(("127.0.0.1", 0), _Connection)
    server.site = site
    port: int = server.server_address[1]
    site.url = f"http://127.0.0.1:{port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
