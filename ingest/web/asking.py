"""Asking for one page: on the condition that it changed, and for its links only if it did. Runs in several threads."""

from __future__ import annotations

import hashlib
import re
import sys
from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from itertools import islice

from ingest.web.memory import Memory
from ingest.web.page import MOST_LINKS, Fetched, PageLinks
from ingest.web.plan import SeenPage, Site
from ingest.web.robots import read_robots_tag
from ingest.web.urls import Scope, find_key, normalise_url
from kb.errors import DocumentFailed, FetchFailed
from kb.media_type import HEAD_BYTES, starts_html

_HTML_TYPES = frozenset({"text/html", "application/xhtml+xml"})
_INDEX = re.compile(r"(?:(?:index|default|home)\.\w+)?")
# What no link is followed to: nothing is read from it, and some of it is large.
_NO_PAGE = re.compile(
    r"\.(?:7z|apk|avi|avif|bin|bmp|bz2|css|dmg|eot|exe|flac|flv|gif|gz|ico|iso|jpe?g|js|m4[av]|map|mjs|mkv|mov|mp[34]"
    r"|mpeg|msi|ogg|otf|png|rar|rpm|svg|tar|tgz|tiff?|ttf|wasm|wav|web[mp]|wmv|woff2?|xz|zip)",
    re.IGNORECASE,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Answer:
    """What came of an address. `fetched` is None for a page that this job had already; `too_long` counts links to
    addresses that no document may have."""

    page: SeenPage
    fetched: Fetched | None
    is_unchanged: bool
    too_long: int = 0


class Asker:
    """Asks a site's pages, each with what is known of it."""

    def __init__(self, site: Site, memory: Memory, scope: Scope) -> None:
        self._site = site
        self._memory = memory
        self._scope = scope

    def ask(self, url: str) -> Answer:
        """Raises DocumentFailed (`out_of_scope`: it leads to another site; otherwise as the fetcher does)."""
        known = self._memory.find(url)
        if known is not None and known.is_staged:
            return Answer(page=known, fetched=None, is_unchanged=False)
        fetched = self._site.fetcher.fetch(url, (known.validators or None) if known else None)
        led = self._find_led(fetched)
        if fetched.is_unchanged and (known is None or led != known.url):
            fetched = self._site.fetcher.fetch(url)  # it leads elsewhere now: the validators were another page's
            led = self._find_led(fetched)
        marks = read_robots_tag(fetched.robots)
        if fetched.is_unchanged and known is not None:
            page = replace(known, validators=fetched.validators or known.validators)
            return Answer(page=_mark(page, marks), fetched=fetched, is_unchanged=True)
        sha256 = hashlib.sha256(fetched.body).hexdigest()
        is_unchanged = known is not None and known.sha256 == sha256 and known.url == led
        if is_unchanged and known is not None and not (marks or known.noindex or known.nofollow):
            page = replace(known, validators=fetched.validators, content_type=fetched.content_type)
            return Answer(page=page, fetched=fetched, is_unchanged=True)
        page, too_long = self._read(fetched, SeenPage(url=led, sha256=sha256), known)
        return Answer(page=_mark(page, marks), fetched=fetched, is_unchanged=is_unchanged, too_long=too_long)

    def _find_led(self, fetched: Fetched) -> str:
        led = normalise_url(fetched.url)
        if not self._scope.holds(led):
            raise FetchFailed("out_of_scope", f"leads to another site: {led}", passing=False)
        return led

    def _read(self, fetched: Fetched, page: SeenPage, known: SeenPage | None) -> tuple[SeenPage, int]:
        """And how many of its links are too long."""
        told = self._read_links(fetched, known)
        links, too_long = self._take_links(told.links, page.url)
        page = replace(
            page,
            validators=fetched.validators,
            content_type=fetched.content_type,
            links=links,
            canonical=self._take_canonical(told.canonical, page.url),
            nofollow=told.nofollow,
            noindex=told.noindex,
        )
        return page, too_long

    def _read_links(self, fetched: Fetched, known: SeenPage | None) -> PageLinks:
        """Of a page that cannot be read, what it said last: what it linked to shall not vanish with it."""
        if not _is_html(fetched):
            return PageLinks()
        try:
            return self._site.link_reader.read_links(fetched.body, fetched.content_type, fetched.url)
        except DocumentFailed:
            return PageLinks(links=known.links) if known else PageLinks()

    def _take_links(self, links: Iterable[str], page_url: str) -> tuple[tuple[str, ...], int]:
        """Those of the site, each once, in order; and how many are too long."""
        found, long = {find_key(page_url): ""}, 0
        for link in islice(links, MOST_LINKS):
            try:
                url = normalise_url(link)
            except FetchFailed as error:
                long += error.code == "url_too_long"
                continue
            path = url.partition("?")[0]
            if self._scope.holds(url) and not _NO_PAGE.fullmatch(path[path.rfind(".") :]):
                found.setdefault(find_key(url), url)
        return tuple(map(sys.intern, filter(None, found.values()))), long  # each once, of however many pages

    def _take_canonical(self, canonical: str | None, page_url: str) -> str | None:
        """None for one that is of no use. Sites that call the front page, or a section's, the true one of all that is
        below it are many: believed, it would be all that is left of them."""
        if canonical is None:
            return None
        try:
            url = normalise_url(canonical)
        except FetchFailed:
            return None
        if url == page_url or not self._scope.holds(url):
            return None
        return None if _is_above(url, page_url) else url


def _find_path(url: str) -> str:
    return "/" + url.partition("://")[2].partition("?")[0].partition("/")[2]


def _is_above(url: str, page_url: str) -> bool:
    """Whether `url` is the index of a folder and the page is another one, somewhere in that folder."""
    folder, _, name = _find_path(url).rpartition("/")
    path = _find_path(page_url)
    if "?" in url or not _INDEX.fullmatch(name) or not path.startswith(f"{folder}/"):
        return False
    return _INDEX.fullmatch(path.removeprefix(f"{folder}/")) is None


def _mark(page: SeenPage, marks: Collection[str]) -> SeenPage:
    """With what `X-Robots-Tag` asks for beside what the page does."""
    if not marks:
        return page
    return replace(page, nofollow=page.nofollow or "nofollow" in marks, noindex=page.noindex or "noindex" in marks)


def _is_html(fetched: Fetched) -> bool:
    """As its document is told: by the content, whatever its server says."""
    said = (fetched.content_type or "").partition(";")[0].strip().lower()
    return said in _HTML_TYPES or starts_html(fetched.body[:HEAD_BYTES])
