"""What a crawl is told, what it remembers of the last one, and what it finds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

from ingest.web.page import Fetched, Fetcher, LinkReader, Validators
from kb.errors import DocumentFailed, FetchFailed

Kind = Literal["web", "sitemap"]


@dataclass(frozen=True, kw_only=True, slots=True)
class CrawlPlan:
    """`starts` are pages (`web`) or sitemaps (`sitemap`; a `robots.txt` stands for the sitemaps it names). `depth`: how
    many links are followed from the pages named so, 0 being these alone. `max_pages` counts documents. `include` and
    `exclude` are globs (`patterns.py`)."""

    starts: Sequence[str]
    kind: Kind = "web"
    depth: int = 0
    max_pages: int = 1_000
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class Site:
    """Through what a site is seen. `lists` fetches its sitemaps, which may be larger than its pages; without one
    `fetcher` does."""

    fetcher: Fetcher
    link_reader: LinkReader
    lists: Fetcher | None = None

    def wrap(self, around: Callable[[Fetcher], Fetcher]) -> Site:
        """The same site, asked through something else."""
        lists = None if self.lists is None else around(self.lists)
        return Site(fetcher=around(self.fetcher), link_reader=self.link_reader, lists=lists)


@dataclass(frozen=True, kw_only=True, slots=True)
class SeenPage:
    """What is to be remembered of an address that was asked, under that address, whatever became of it.

    `url` is where it led; `sha256` of its bytes; `links` and `canonical` are normalised addresses of its site.
    `is_staged`: this same job fetched it before it was killed, so that it is not asked again.
    """

    url: str
    sha256: str
    validators: Validators = field(default=Validators())
    content_type: str | None = None
    links: Sequence[str] = ()
    canonical: str | None = None
    nofollow: bool = False
    noindex: bool = False
    is_staged: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class Found:
    """A page that is a document; `url` is its path. `asked` is the address that led to it, under which `page` is to be
    remembered. `is_unchanged`: its bytes are those of the page as it was remembered. `fetched` is None for a staged
    page, and has no body when the server said that nothing changed. `lastmod` is what a sitemap says of it."""

    url: str
    asked: str
    page: SeenPage
    fetched: Fetched | None
    is_unchanged: bool
    lastmod: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Skipped:
    """An address that is no document, and is none any more if it was: why. `page` is there when it was asked, to be
    remembered under `url`. `same_as`: the document that has its text (`duplicate_content`, `same_page`). Notes on a
    whole list (`max_pages`, `crawl_trap`, `sitemap_cut`, `out_of_scope`) have no `page` either."""

    url: str
    code: str
    detail: str
    page: SeenPage | None = None
    same_as: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Lost:
    """A page, or a sitemap, that did not come. Unless it `is_gone`, what is known at `url` stays as it is."""

    url: str
    error: DocumentFailed

    @property
    def is_gone(self) -> bool:
        return isinstance(self.error, FetchFailed) and self.error.is_gone


Outcome = Found | Skipped | Lost


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """Pages asked of the server, documents found, addresses that wait. `left` grows while pages are found."""

    asked: int = 0
    found: int = 0
    left: int = 0
