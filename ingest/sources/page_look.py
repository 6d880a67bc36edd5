"""What a sync makes of a crawl: each page that was found beside what the catalog knows of it. Writes nothing.

A page that does not come keeps its text. One that is not there any more is flagged, and goes after GONE_NIGHTS nights
on which it was not; nights are at least NIGHT apart, however often a sync is asked for. What the site does not name any
more goes at once.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from ingest.sources.intake import Fault
from ingest.sources.page_memory import WAITS, make_origin
from ingest.web.plan import Found, Lost, Outcome, Skipped
from kb.catalog.pauses import is_paused
from kb.types import AsidePage, KnownPage, PageContent, PageMiss, PageOrigin

GONE_NIGHTS = 3
COPY = "duplicate_content"
KEPT_OUT = "kept_out"  # a page whose document a user deleted
NIGHT = timedelta(hours=12)


@dataclass(frozen=True, kw_only=True, slots=True)
class WantedPage:
    """A page to bring in. Its bytes are in `body`, or stored as `content`."""

    url: str
    origin: PageOrigin
    body: bytes = field(default=b"", repr=False)
    content: PageContent | None = None
    copy_of: str | None = None  # last night it said the same as that page, and its bytes are what they were


@dataclass(frozen=True, kw_only=True, slots=True)
class Decided:
    """A page that this job is done with though no row says so: why it is no document, or the copy that it is."""

    aside: AsidePage
    detail: str = ""
    copy: WantedPage | None = None


@dataclass(kw_only=True, slots=True)
class PageLook:
    """`known` are the source's documents by address, `aside` what the last sync met and is no document. `starts` are
    the pages that the source names. `again`: what a user deleted comes back; `force`: nothing is left alone. Without
    `keeps_links` no page's links are remembered: there are as many as all pages have together.

    The rest is what was found so far: `places` in the order of the crawl, `fresh` pages to index, `unchanged` ones with
    what their server says of them now, `failing` ones whose bytes failed before, those that stay though they did not
    come (`kept`) and of these the ones that are `gone`. `decided` is handed on from slice to slice of a job.
    """

    known: Mapping[str, KnownPage]
    aside: Mapping[str, AsidePage]
    starts: frozenset[str]
    now: datetime
    again: bool = False
    force: bool = False
    keeps_links: bool = True
    decided: dict[str, Decided] = field(default_factory=dict)
    places: dict[str, int] = field(default_factory=dict)
    fresh: dict[str, PageOrigin] = field(default_factory=dict)
    unchanged: dict[str, PageOrigin] = field(default_factory=dict)
    failing: dict[str, KnownPage] = field(default_factory=dict)
    kept: dict[str, PageMiss | None] = field(default_factory=dict)
    failures: list[Fault] = field(default_factory=list)
    skips: list[Fault] = field(default_factory=list)
    next_aside: dict[str, AsidePage] = field(default_factory=dict)
    kept_out: int = 0
    copies: list[WantedPage] = field(default_factory=list)
    by_asked: dict[str, KnownPage] = field(init=False)

    def __post_init__(self) -> None:
        self.by_asked = {page.origin.asked: page for page in self.known.values() if page.origin is not None}

    def judge(self, outcome: Outcome) -> WantedPage | None:
        """Take an outcome down; what is to be brought in, if anything."""
        if isinstance(outcome, Found):
            return self._judge_found(outcome)
        if isinstance(outcome, Skipped):
            self._skip(outcome)
        else:
            self._judge_lost(outcome)
        return None

    def _judge_found(self, found: Found) -> WantedPage | None:
        self.places.setdefault(found.url, len(self.places))
        origin = make_origin(found.asked, found.page if self.keeps_links else replace(found.page, links=()))
        page = self.known.get(found.url)
        if page is not None and page.deleted and not self.again:
            self.kept_out += 1
            self._set_aside(AsidePage(url=found.url, code=KEPT_OUT, origin=origin), "")
            return None
        if page is not None and page.failed is not None:
            return self._judge_failed(found, origin, page, page.failed)
        if page is not None and page.live is not None and _is_as_it_was(found, origin, page):
            self.unchanged[found.url] = origin
            return None
        return self._want(found, origin)

    def _judge_failed(
        self, found: Found, origin: PageOrigin, page: KnownPage, failed: PageContent
    ) -> WantedPage | None:
        if page.live_origin is not None and page.live is not None and origin.sha256 == page.live_origin.sha256:
            self.unchanged[found.url] = origin  # what answers is back
            return None
        if page.origin is None or origin.sha256 != page.origin.sha256:
            return self._want(found, origin)
        if self.waits(page):
            self.failing[found.url] = page
            return None
        self.fresh[found.url] = origin
        return WantedPage(url=found.url, origin=origin, content=failed)

    def _want(self, found: Found, origin: PageOrigin) -> WantedPage | None:
        if found.fetched is None:
            self._take_up(found.url, origin)
            return None
        before = self.aside.get(found.url)
        wanted = self._find_bytes(found, origin, found.fetched.body)
        if wanted is None:
            if before is not None:  # as it was: nothing for a document
                self.skip_page(found.url, before.code, "as it was on the night before", origin)
            return None
        if before is not None and before.copy_of is not None and found.is_unchanged:
            return replace(wanted, copy_of=before.copy_of)
        self.fresh[found.url] = origin
        return wanted

    def _take_up(self, url: str, origin: PageOrigin) -> None:
        """A page that an earlier slice of this job was done with: it is staged, unless it was decided to be none."""
        decided = self.decided.get(url)
        if decided is None:
            self.fresh[url] = origin
        elif decided.copy is not None:
            self.copies.append(decided.copy)
        else:
            self.skip_page(url, decided.aside.code, decided.detail, origin)

    def hold_copy(self, wanted: WantedPage) -> None:
        """A copy whose bytes are stored, until it is known whether the other page still says the same."""
        self.copies.append(wanted)
        aside = AsidePage(url=wanted.url, code=COPY, origin=wanted.origin, copy_of=wanted.copy_of)
        self.decided[wanted.url] = Decided(aside=aside, copy=wanted)

    def _find_bytes(self, found: Found, origin: PageOrigin, body: bytes) -> WantedPage | None:
        """Without a body its server says that they are those that the page had at its last address."""
        if body:
            return WantedPage(url=found.url, origin=origin, body=body)
        page = self.by_asked.get(found.asked)
        if page is None or page.origin is None or page.origin.sha256 != origin.sha256:
            return None
        content = page.failed or page.live
        return None if content is None else WantedPage(url=found.url, origin=origin, content=content)

    def list_needed_copies(self) -> list[WantedPage]:
        """Once the crawl has ended: pages that said the same as one that does not say so any more. The other copies are
        what they were."""
        needed = []
        for wanted in self.copies:
            original = wanted.copy_of
            if original in self.unchanged or original in self.kept or original in self.failing:
                self.skip_copy(wanted.url, original or "", wanted.origin)
            else:
                self.fresh[wanted.url] = wanted.origin
                needed.append(wanted)
        return needed

    def _skip(self, skipped: Skipped) -> None:
        self.skips.append(Fault(path=skipped.url, code=skipped.code, detail=skipped.detail))
        if skipped.page is not None:
            origin = make_origin(skipped.url, skipped.page)
            aside = AsidePage(url=skipped.url, code=skipped.code, origin=origin, copy_of=skipped.same_as)
            self._set_aside(aside, skipped.detail)

    def fail_page(self, url: str, code: str, detail: str) -> None:
        """A page that was found and cannot be brought in; what is known of it stays."""
        self.fresh.pop(url, None)
        self.failures.append(Fault(path=url, code=code, detail=detail))
        if url in self.known:
            self.kept[url] = None

    def skip_page(self, url: str, code: str, detail: str, origin: PageOrigin) -> None:
        """A page that was found and is no document."""
        self.fresh.pop(url, None)
        self.skips.append(Fault(path=url, code=code, detail=detail))
        self._set_aside(AsidePage(url=url, code=code, origin=origin), detail)

    def skip_copy(self, url: str, original: str, origin: PageOrigin) -> None:
        self.fresh.pop(url, None)
        self.skips.append(Fault(path=url, code=COPY, detail=f"it says the same as {original}"))
        self.next_aside[url] = AsidePage(url=url, code=COPY, origin=origin, copy_of=original)

    def _set_aside(self, page: AsidePage, detail: str) -> None:
        self.next_aside[page.url] = page
        self.decided[page.url] = Decided(aside=page, detail=detail)

    def _judge_lost(self, lost: Lost) -> None:
        page = self.known.get(lost.url) or self.by_asked.get(lost.url)
        code, detail = lost.error.code, lost.error.detail
        is_known = page is not None and (page.live is not None or page.failed is not None)
        if page is None or not is_known:
            is_broken_link = lost.is_gone and lost.url not in self.starts
            told = self.skips if is_broken_link else self.failures
            told.append(Fault(path=lost.url, code=code, detail=detail))
            return
        if code == WAITS:
            self.kept[page.url] = None
            self.failures.append(Fault(path=page.url, code=code, detail=detail))
            return
        miss = PageMiss(code=code, is_gone=lost.is_gone, counts=lost.is_gone and self._is_another_night(page))
        self.kept[page.url] = miss
        if not lost.is_gone:
            self.failures.append(Fault(path=page.url, code=code, detail=detail))

    def _is_another_night(self, page: KnownPage) -> bool:
        """Also where the last one is yet to come: the clock was ahead then."""
        return page.missed_at is None or not page.missed_at <= self.now < page.missed_at + NIGHT

    def waits(self, page: KnownPage) -> bool:
        return not self.force and is_paused(page.retry_at, self.now)

    def count_nights(self, url: str) -> int:
        """On how many nights, this one among them, a page that is gone was not there."""
        miss = self.kept.get(url)
        return self.known[url].missed + (miss is not None and miss.counts)

    def list_gone(self) -> list[str]:
        """Addresses of pages that are not there any more, however long."""
        return sorted(url for url, miss in self.kept.items() if miss is not None and miss.is_gone)

    def list_vanished(self) -> list[KnownPage]:
        """Documents whose pages the site does not name any more, or that are no documents any more."""
        present = self.fresh.keys() | self.unchanged.keys() | self.failing.keys() | self.kept.keys()
        known = (page for page in self.known.values() if not page.deleted and page.url not in present)
        return [page for page in known if page.live is not None or page.failed is not None]


def _is_as_it_was(found: Found, origin: PageOrigin, page: KnownPage) -> bool:
    """The bytes last seen, said to be of the same kind."""
    if page.live_origin is None or origin.sha256 != page.live_origin.sha256:
        return False
    has_body = found.fetched is not None and bool(found.fetched.body)
    return not has_body or origin.content_type == page.live_origin.content_type
