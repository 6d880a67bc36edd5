"""A web site in memory: pages, redirects, faults. It fetches like the real fetcher and keeps what it was asked."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urljoin

from fakes.store import TextParser

from ingest.web.page import Fetched, PageLinks, Validators
from kb.errors import FetchFailed
from kb.types import Heading, Page, PageVerdict, ParsedDocument

SITE = "https://docs.test"
MAIN = re.compile(r"<main>(.*?)</main>", re.DOTALL)
TITLE = re.compile(r"<title>(.*?)</title>")
HEADING = re.compile(r"<h2>(.*?)</h2>")
LINK = re.compile(r'href="([^"]+)"')


def write_page(main: str, *links: str, title: str = "t", ad: str = "", robots: str = "") -> str:
    """A page whose text is `main`; links and the advertisement are around it."""
    anchors = "".join(f'<a href="{link}">x</a>' for link in links)
    head = f"<head><title>{title}</title>{robots}</head>"
    return f"<!doctype html><html>{head}<body><nav>{anchors}</nav><main>{main}</main><aside>{ad}</aside></body></html>"


@dataclass(kw_only=True)
class FakeSite:
    """A Fetcher. `pages` by address, `moved` redirects, `statuses` faults; without `tags` it says nothing of a page's
    state. `asked` are addresses with whether the question was conditional. `on_fetch` is called before each answer."""

    pages: dict[str, str | bytes] = field(default_factory=dict)
    moved: dict[str, str] = field(default_factory=dict)
    statuses: dict[str, int] = field(default_factory=dict)
    types: dict[str, str] = field(default_factory=dict)
    tags: bool = True
    is_down: bool = False
    asked: list[tuple[str, bool]] = field(default_factory=list)
    on_fetch: Callable[[str], None] = lambda _: None

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        self.asked.append((url, bool(known)))
        self.on_fetch(url)
        if self.is_down:
            raise FetchFailed("fetch_unreachable", f"{url} does not take connections", passing=True)
        led = self.moved.get(url, url)
        if (status := self.statuses.get(led)) is not None or led not in self.pages:
            code = status or 404
            passing = code >= 500 or code == 429
            raise FetchFailed(f"fetch_http_{code}", f"{led} answers {code}", status=code, passing=passing)
        page = self.pages[led]
        body = page if isinstance(page, bytes) else page.encode()
        tag = hashlib.sha256(body).hexdigest()[:16] if self.tags else None
        validators = Validators(etag=tag)
        if known is not None and tag is not None and known.etag == tag:
            return Fetched(url=led, is_unchanged=True, body=b"", content_type=None, validators=validators)
        content_type = self.types.get(led, "text/html; charset=utf-8")
        return Fetched(url=led, is_unchanged=False, body=body, content_type=content_type, validators=validators)

    def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
        """A LinkReader as well."""
        text = body.decode("utf-8", "replace")
        links = [urljoin(url, found) for found in LINK.findall(text)]
        return PageLinks(links=links, noindex="noindex" in text)

    def take_asked(self) -> list[tuple[str, bool]]:
        """What was asked since this was last called, in the order of addresses; two are under way at a time."""
        asked, self.asked = sorted(self.asked), []
        return asked


class PageParser(TextParser):
    """Reads what a page has between <main> and </main>; a text that begins with `BAD ` fails with the code after it."""

    def parse(self, path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
        markup = path.read_text("utf-8")
        found = MAIN.search(markup)
        text = found[1] if found else markup
        self.parsed.append(text)
        self.on_parse(text)
        self.fail_if_bad(text)
        title = TITLE.search(markup)
        headings = [Heading(start=0, end=0, level=2, title=name) for name in HEADING.findall(markup)]
        page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
        return ParsedDocument(
            text=text, pages=[page], title=title[1] if title else None, language="en", headings=headings
        )
