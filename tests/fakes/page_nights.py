"""Nights of a web source over a real catalog and a site in memory: edit, sync, look at what is there."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from fakes.kills import work_off
from fakes.sites import SITE, FakeSite, PageParser, write_page
from fakes.store import Store

from ingest.sources.page_intake import PageIntake
from ingest.sources.page_sync import Crawler, PageSync
from ingest.web.plan import Site
from kb.catalog.sources import NewSource
from kb.ports import Gate
from kb.types import Job, Source, SourceKind

FIRST_NIGHT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
COUNTS = ("added", "changed", "moved", "removed", "touched", "unchanged", "failed", "skipped", "kept_out")


@dataclass(kw_only=True)
class PageNights:
    """One source of `store` over `site`. The clock moves by a day with each run."""

    store: Store
    site: FakeSite = field(default_factory=FakeSite)
    uri: str = f"{SITE}/"
    kind: SourceKind = SourceKind.WEB
    depth: int = 5
    max_pages: int = 1_000
    name: str = "站点"
    gate: Gate | None = None
    now: datetime = FIRST_NIGHT
    source: Source = field(init=False)
    _sync: PageSync | None = None
    _sync_gate: Gate | None = None

    def __post_init__(self) -> None:
        self.store.parser = PageParser()
        bounds = {"depth": self.depth, "max_pages": self.max_pages}
        new = NewSource(kb_id=self.store.kb.id, name=self.name, kind=self.kind, uri=self.uri, **bounds)
        self.source = self.store.catalog.sources.create(new)

    def write(self, path: str, main: str, *links: str, **parts: Any) -> str:
        """Put a page on the site; its address."""
        url = f"{SITE}{path}"
        self.site.pages[url] = write_page(main, *links, **parts)
        return url

    def write_all(self, pages: dict[str, str]) -> None:
        """Pages by path; the first links to all."""
        first, *_ = pages
        for path, main in pages.items():
            self.write(path, main, *(pages if path == first else ()))

    @property
    def sync(self) -> PageSync:
        """One for all slices, as a worker has it, until `restart`."""
        if self._sync is None or self._sync_gate is not self.gate:
            self._sync, self._sync_gate = self._make_sync(), self.gate
        return self._sync

    def restart(self) -> None:
        """As if another worker went on."""
        self._sync = None

    def _make_sync(self) -> PageSync:
        crawler = Crawler(site=Site(fetcher=self.site, link_reader=self.site))
        intake = PageIntake(self.store.blobs, 1_000_000)
        return PageSync(self.store.catalog, self.store.indexer, intake, crawler, self.gate)

    def run(self, is_stopping: Callable[[], bool] = lambda: False, *, hours: float = 24, **wishes: object) -> Job:
        """One night: request, claim, run; the job as it ended, or as it was given back."""
        self.now += timedelta(hours=hours)
        job_id = self.store.catalog.sources.request_sync(self.source.id, **wishes)
        self.work(is_stopping)
        return self.store.catalog.jobs.get(job_id)

    def work(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Take up whatever job waits, as a worker does; errors that a worker does not know come out."""
        work_off(self.store, self.sync, self.now, is_stopping)

    def count_work(self) -> tuple[int, int]:
        """Pages parsed and strings embedded since this was last asked."""
        found = len(self.store.parser.parsed), len(self.store.encoder.embedded)
        self.store.parser.parsed.clear()
        self.store.encoder.embedded.clear()
        return found

    def visible(self) -> dict[str, str]:
        """Text by path on the site."""
        return {path.removeprefix(SITE): text for path, text in self.store.list_visible_texts().items()}


def count(job: Job) -> dict[str, Any]:
    """The counts of a result that are not nought."""
    result = job.result or {}
    return {name: result[name] for name in COUNTS if result.get(name)}
