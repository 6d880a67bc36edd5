"""What a sync of web pages would do, by the same crawl. Writes nothing, and takes no longer than a request may.

What a page says is known only once it was indexed: here a page whose bytes are others is `changed`.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, replace
from datetime import datetime
from typing import Any

from ingest.sources.intake import Fault
from ingest.sources.look import MOST_TOLD
from ingest.sources.page_intake import PageIntake
from ingest.sources.page_look import PageLook
from ingest.sources.page_night import describe_waiting, sort_out
from ingest.sources.page_sync import Crawler, open_look, recall
from ingest.web.crawl import Crawl
from ingest.web.page import Fetched, Fetcher, Validators
from kb.catalog.catalog import Catalog
from kb.errors import InvalidInput
from kb.ports import SyncPlanner
from kb.types import Source, SourceKind, StagedPage

LONGEST_S = 60.0  # the crawl of a dry run; what it did not come to is not in the plan


class PagePlanner:
    """Implements `kb.ports.SyncPlanner`. `clock` tells the time, `timer` seconds that pass."""

    def __init__(
        self,
        catalog: Catalog,
        intake: PageIntake,
        crawler: Crawler,
        clock: Callable[[], datetime],
        timer: Callable[[], float] = time.monotonic,
    ) -> None:
        self._catalog = catalog
        self._intake = intake
        self._crawler = crawler
        self._clock = clock
        self._timer = timer

    def plan(self, source: Source) -> Mapping[str, Any]:
        look = open_look(self._catalog, source, self._clock())
        complete = self._walk(source, look)
        return _describe(look, complete=complete)

    def _walk(self, source: Source, look: PageLook) -> bool:
        """Whether the crawl came to its end."""
        until = self._timer() + LONGEST_S
        crawler = Crawler(site=self._crawler.site.wrap(lambda fetcher: _TimedFetcher(fetcher, self._timer, until)))
        try:
            self._go_through(crawler.open(source, look, recall(source, look), {}), look)
        except _TimeIsUp:
            return False
        look.list_needed_copies()
        return True

    def _go_through(self, crawl: Crawl, look: PageLook) -> None:
        for outcome in crawl:
            wanted = look.judge(outcome)
            if wanted is not None and wanted.copy_of is not None:
                look.hold_copy(replace(wanted, body=b""))
            elif wanted is not None and wanted.body:
                try:
                    self._intake.find_type(wanted.url, wanted.body, wanted.origin.content_type)
                except InvalidInput as fault:
                    look.skip_page(wanted.url, fault.code, fault.detail, wanted.origin)


class _TimeIsUp(Exception):
    """Nothing more is asked: what was found so far is the plan."""


class _TimedFetcher:
    """A Fetcher that asks nothing from `until` on, be it a page or one of many sitemaps."""

    def __init__(self, fetcher: Fetcher, timer: Callable[[], float], until: float) -> None:
        self._fetcher = fetcher
        self._timer = timer
        self._until = until

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        if self._timer() >= self._until:
            raise _TimeIsUp
        return self._fetcher.fetch(url, known)


class PlannerByKind:
    """Implements `kb.ports.SyncPlanner`."""

    def __init__(self, folders: SyncPlanner, pages: SyncPlanner) -> None:
        self._folders = folders
        self._pages = pages

    def plan(self, source: Source) -> Mapping[str, Any]:
        return (self._folders if source.kind is SourceKind.FOLDER else self._pages).plan(source)


def _describe(look: PageLook, *, complete: bool) -> dict[str, Any]:
    answering = {url for url, page in look.known.items() if page.live is not None}
    changed = [url for url in look.fresh if url in answering]
    new = [_stand_in(look, url) for url in look.fresh if url not in answering]
    moves, removed = sort_out(look, look.list_vanished() if complete else (), new)
    came = {move.added for move in moves}
    failures = [*look.failures, *map(describe_waiting, look.failing.values())]
    paths: dict[str, list[Any]] = {
        "added": [page.url for page in new if page.url not in came],
        "changed": changed,
        "removed": [page.url for page in removed],
        "touched": [],
        "moved": [{"from": move.removed.url, "to": move.added} for move in moves],
        "failed": _tell(failures),
        "skipped": _tell(look.skips),
    }
    counts = {name: len(found) for name, found in paths.items()}
    told = {name: found[:MOST_TOLD] for name, found in paths.items()}
    more = {"unchanged": len(look.unchanged), "kept_out": look.kept_out, "complete": complete}
    return {**counts, **more, "paths": told}


def _stand_in(look: PageLook, url: str) -> StagedPage:
    return StagedPage(version_id=0, document_id="", url=url, text_sha=None, origin=look.fresh[url])


def _tell(faults: Sequence[Fault]) -> list[dict[str, str]]:
    return [asdict(fault) for fault in faults]
