"""The pages that sitemaps list, and the sitemaps that those list: a robots.txt, an index, a file."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from ingest.web.page import Fetcher
from ingest.web.plan import Lost, Skipped
from ingest.web.robots import PATH, read_sitemap_lines
from ingest.web.sitemap import Entry, iter_entries
from ingest.web.urls import Scope, find_key, normalise_url
from kb.errors import FetchFailed

MOST_ENTRIES = 50_000  # of a file; what the protocol allows
MOST_FILES = 1_000
DEEPEST = 3  # sitemaps below those that were named


@dataclass(kw_only=True, slots=True)
class SitemapPages:
    """`pages` in the order they are listed, each with its `lastmod`. `failed`: a sitemap did not come whole, so that a
    page that is not here may be listed all the same. `read` counts the sitemaps that could be read."""

    pages: dict[str, str | None] = field(default_factory=dict)
    notes: list[Skipped | Lost] = field(default_factory=list)
    failed: FetchFailed | None = None
    read: int = 0


def list_sitemap_pages(
    fetcher: Fetcher, starts: Sequence[str], wants: Callable[[str], bool], limit: int
) -> SitemapPages:
    """Those of the starts' own site that are wanted, `limit` at most."""
    walk = _Walk(fetcher, starts, wants, limit)
    while walk.waiting and not walk.is_full:
        walk.read_next()
    return walk.result


@dataclass(slots=True)
class _Count:
    """Entries that were left out, and the first of them."""

    first: str = ""
    number: int = 0

    def add(self, url: str) -> None:
        self.first = self.first or url[:200]
        self.number += 1


class _Walk:
    """The state of one listing."""

    def __init__(self, fetcher: Fetcher, starts: Sequence[str], wants: Callable[[str], bool], limit: int) -> None:
        self._fetcher = fetcher
        self._scope = Scope(starts)
        self._wants = wants
        self._limit = limit
        self._seen = set(map(find_key, starts))
        self._keys: set[str] = set()
        self._out = {"out_of_scope": _Count(), "bad_url": _Count(), "url_too_long": _Count()}
        self.waiting = deque((url, 0) for url in dict.fromkeys(starts))
        self.result = SitemapPages()
        self.is_full = False

    def read_next(self) -> None:
        url, depth = self.waiting.popleft()
        self._out = {code: _Count() for code in self._out}
        try:
            body = self._fetcher.fetch(url).body
            if urlsplit(url).path == PATH:
                self._take_lines(url, body)
            else:
                self._take_entries(url, depth, body)
            self.result.read += 1
        except FetchFailed as error:
            self.result.notes.append(Lost(url=url, error=error))
            if not error.is_gone or depth == 0:
                self.result.failed = error
        for code, count in self._out.items():
            if count.number:
                self._note(url, code, f"{count.number:,} addresses cannot be taken, the first: {count.first}")

    def _take_lines(self, url: str, body: bytes) -> None:
        lines = read_sitemap_lines(body)
        if not lines:
            raise FetchFailed("sitemap_malformed", f"{url} names no sitemap", passing=False)
        for line in lines:
            self._take(Entry(line, is_sitemap=True), -1)

    def _take_entries(self, url: str, depth: int, body: bytes) -> None:
        for number, entry in enumerate(iter_entries(body)):
            if number == MOST_ENTRIES:
                self._note(url, "sitemap_cut", f"lists more than {MOST_ENTRIES:,} addresses; the rest was not read")
                return
            if entry.is_sitemap and depth == DEEPEST:
                self._note(url, "sitemap_cut", f"lists sitemaps more than {DEEPEST} deep; they were not read")
                return
            if not self._take(entry, depth):
                self._note(url, "sitemap_cut", "lists more than is taken of a site; the rest was not read")
                return

    def _take(self, entry: Entry, depth: int) -> bool:
        """False when there is no room for it."""
        try:
            url = normalise_url(entry.url)
        except FetchFailed as error:
            self._out[error.code].add(entry.url)
            return True
        key = find_key(url)
        if not self._scope.holds(url):
            self._out["out_of_scope"].add(url)
        elif entry.is_sitemap:
            return self._take_sitemap(url, key, depth)
        elif key not in self._keys and self._wants(url):
            self.is_full = len(self._keys) == self._limit
            if not self.is_full:
                self._keys.add(key)
                self.result.pages[url] = entry.lastmod
        return not self.is_full

    def _take_sitemap(self, url: str, key: str, depth: int) -> bool:
        if key not in self._seen:
            if len(self._seen) >= MOST_FILES:
                return False
            self._seen.add(key)
            self.waiting.append((url, depth + 1))
        return True

    def _note(self, url: str, code: str, detail: str) -> None:
        self.result.notes.append(Skipped(url=url, code=code, detail=detail))
