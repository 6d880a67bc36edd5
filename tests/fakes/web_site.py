"""A web site of made-up pages: fetched without a network, its links read without HTML."""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from urllib.parse import urljoin

from ingest.web.page import Fetched, PageLinks, Validators
from kb.errors import DocumentFailed, FetchFailed

MOST_HOPS = 5


@dataclass(frozen=True, kw_only=True)
class WebPage:
    """`links` and `canonical` may be relative. `moved` redirects, `status` answers with that and no page, `failing` is
    a code that the fetcher gives. Without `has_etag` every answer is whole."""

    text: str = ""
    links: Sequence[str] = ()
    canonical: str | None = None
    noindex: bool = False
    nofollow: bool = False
    content_type: str | None = "text/html; charset=utf-8"
    robots: str | None = None
    body: bytes | None = None
    has_etag: bool = True
    is_broken: bool = False  # its links cannot be read
    moved: str | None = None
    status: int = 200
    failing: str | None = None
    retry_after_s: float | None = None

    def write(self) -> bytes:
        told = {"text": self.text, "links": list(self.links), "canonical": self.canonical}
        marks = {"noindex": self.noindex, "nofollow": self.nofollow, "is_broken": self.is_broken}
        return json.dumps(told | marks).encode() if self.body is None else self.body


class WebSite:
    """A Fetcher and a LinkReader. `make` gives pages that are not in `pages`; what neither has is a 404. Keeps the
    addresses that were asked, those of them with validators, and those whose links were read."""

    def __init__(
        self, pages: Mapping[str, WebPage] | None = None, make: Callable[[str], WebPage | None] | None = None
    ) -> None:
        self.pages = dict(pages or {})
        self.make = make
        self.asked: list[str] = []
        self.conditional: list[str] = []
        self.read: list[str] = []
        self._lock = threading.Lock()

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        with self._lock:
            self.asked.append(url)
            if known:
                self.conditional.append(url)
        for _ in range(MOST_HOPS):
            page = self._find(url)
            if page.failing is not None:
                raise FetchFailed(page.failing, f"{url} does not come", passing=True)
            if page.status != 200:
                code, passing = f"fetch_http_{page.status}", page.status in (429, 500, 503)
                raise FetchFailed(code, url, status=page.status, retry_after_s=page.retry_after_s, passing=passing)
            if page.moved is None:
                return _answer(url, page, known)
            url = urljoin(url, page.moved)
        raise FetchFailed("too_many_redirects", url, passing=False)

    def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
        with self._lock:
            self.read.append(url)
        told = json.loads(body)
        if told["is_broken"]:
            raise DocumentFailed("parse_limit", "it is nested too deep")
        canonical = told["canonical"]
        return PageLinks(
            links=[urljoin(url, link) for link in told["links"]],
            canonical=None if canonical is None else urljoin(url, canonical),
            noindex=told["noindex"],
            nofollow=told["nofollow"],
        )

    def _find(self, url: str) -> WebPage:
        page = self.pages.get(url) or (self.make(url) if self.make else None)
        return page or WebPage(status=404)


def _answer(url: str, page: WebPage, known: Validators | None) -> Fetched:
    body = page.write()
    etag = hashlib.sha256(body).hexdigest() if page.has_etag else None
    is_unchanged = etag is not None and known is not None and known.etag == etag
    return Fetched(
        url=url,
        is_unchanged=is_unchanged,
        body=b"" if is_unchanged else body,
        content_type=page.content_type,
        validators=Validators(etag=etag),
        robots=page.robots,
    )
