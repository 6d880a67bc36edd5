"""One night of a source of web pages: crawl → bring in → index → drop copies → brake → gate → publish one revision.

A run that is taken up again crawls once more, but asks for no page that it has staged or found unchanged: the rows are
its progress. The brake comes behind the index, since only then is known which pages say the same.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from ingest.indexing import Indexer, allow_one
from ingest.pipeline import Outcome
from ingest.sources.closing import Closing, succeed
from ingest.sources.page_intake import PageIntake
from ingest.sources.page_look import KEPT_OUT, Decided, PageLook, WantedPage
from ingest.sources.page_memory import PatientFetcher, find_waiting, iter_done, iter_seen
from ingest.sources.page_night import PageNight
from ingest.sources.sites import PAGES
from ingest.web.crawl import Crawl
from ingest.web.plan import CrawlPlan, Found, SeenPage, Site
from ingest.web.plan import Outcome as CrawlOutcome
from ingest.web.sitemaps import SitemapPages
from ingest.web.urls import normalise_url
from kb.catalog.catalog import Catalog
from kb.catalog.leases import Progress
from kb.catalog.source_pages import PageBatch
from kb.errors import DocumentFailed, FetchFailed, InvalidInput
from kb.ports import Gate
from kb.types import Job, KnownPage, PageContent, Source, SourceFile, SourceKind

BATCH = 16  # pages recorded together
SILENCE_S = 2.0  # sites are asked slowly: whoever waits is to see that it goes on


@dataclass(kw_only=True, slots=True)
class JobMemory:
    """What the slices of a job found that no row tells: pages that failed, and pages that are no documents; what the
    sitemaps of `source` list; the whole `night` once its crawl has ended. A worker that takes the job up from another
    one finds it out anew."""

    job_id: str = ""
    failed: dict[str, FetchFailed] = field(default_factory=dict)
    decided: dict[str, Decided] = field(default_factory=dict)
    source: Source | None = None
    listed: SitemapPages | None = None
    night: PageNight | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Crawler:
    """Goes through the site of a source, as it was remembered."""

    site: Site

    def open(
        self, source: Source, look: PageLook, seen: Mapping[str, SeenPage], failed: MutableMapping[str, FetchFailed]
    ) -> Crawl:
        """`failed` is what is not to be asked once more, and takes up what fails now."""
        waiting = {} if look.force else find_waiting(look.known, look.now)
        if look.starts <= waiting.keys():  # then nothing would be known at all
            waiting = {}
        site = self.site.wrap(lambda fetcher: PatientFetcher(fetcher, waiting, failed))
        return Crawl(make_plan(source), site, seen)


def make_plan(source: Source) -> CrawlPlan:
    return CrawlPlan(
        starts=source.uri.split(),
        kind="sitemap" if source.kind is SourceKind.SITEMAP else "web",
        depth=source.depth or 0,
        max_pages=source.max_pages or PAGES,
        include=source.include,
        exclude=source.exclude,
    )


def open_look(catalog: Catalog, source: Source, now: datetime, *, force: bool = False, again: bool = False) -> PageLook:
    """Raises NotFound (`source_not_found`)."""
    aside = catalog.source_pages.list_aside(source.id)
    if again:  # then they are wanted, as if nothing were known of them
        aside = {url: page for url, page in aside.items() if page.code != KEPT_OUT}
    return PageLook(
        known=catalog.source_pages.list_known(source.id),
        aside=aside,
        starts=frozenset(_iter_starts(source)),
        now=now,
        force=force,
        again=again,
        keeps_links=source.kind is SourceKind.WEB or bool(source.depth),
    )


def recall(source: Source, look: PageLook, job_id: str = "") -> dict[str, SeenPage]:
    """What a crawl is told of the pages, by the address to ask. Nothing, once links are to be followed that were not
    remembered so far."""
    known = {} if source.kind is SourceKind.SITEMAP and source.depth and source.listing_sha is None else look.known
    return dict(iter_seen(known, look.aside, job_id, asks_anew=look.force))


def _iter_starts(source: Source) -> Iterable[str]:
    if source.kind is SourceKind.WEB:
        for url in source.uri.split():
            try:
                yield normalise_url(url)
            except DocumentFailed:  # the crawl says so
                continue


@dataclass(kw_only=True, slots=True)
class _Batch:
    """Pages on their way into the catalog."""

    files: list[SourceFile] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.files) + len(self.unchanged)


class PageSync:
    """Runs the syncs of web pages and sitemaps. `gate` is asked before anything is published."""

    def __init__(
        self, catalog: Catalog, indexer: Indexer, intake: PageIntake, crawler: Crawler, gate: Gate | None
    ) -> None:
        self._catalog = catalog
        self._closing = Closing(catalog, indexer, gate)
        self._intake = intake
        self._crawler = crawler
        self._memory = JobMemory()

    def run(self, job: Job, is_stopping: Callable[[], bool], now: datetime) -> Outcome | None:
        """None when told to stop before the end.

        Raises StaleLease, NotFound (`source_not_found`), Unavailable (`source_unavailable`: nothing of the site can be
        had; `embedding_unavailable`, …).
        """
        if job.result is not None:  # published; its worker died before it could say so
            return succeed(job.result)
        source = self._catalog.sources.get(job.params["source_id"])
        memory, self._memory = self._memory, JobMemory()  # after an error whoever runs this job again is to ask again
        if memory.job_id != job.id:
            memory = JobMemory(job_id=job.id)
        outcome = self._run_slice(source, job, is_stopping, now, memory)
        if outcome is None:
            self._memory = memory
        return outcome

    def _run_slice(
        self, source: Source, job: Job, is_stopping: Callable[[], bool], now: datetime, memory: JobMemory
    ) -> Outcome | None:
        night = memory.night
        if night is not None and night.source == source:
            night.job, night.is_stopping = job, is_stopping
            return self._carry_out(night)
        again, force = bool(job.params.get("include_deleted")), bool(job.params.get("force"))
        look = open_look(self._catalog, source, now, force=force, again=again)
        look.decided = memory.decided
        night = PageNight(job=job, source=source, is_stopping=is_stopping, now=now, look=look)
        if not self._fetch(night, memory):
            return None
        memory.night = night
        return self._carry_out(night)

    def _carry_out(self, night: PageNight) -> Outcome | None:
        space_id = self._closing.index(night)
        if space_id is None:
            return None
        copies = night.settle(self._catalog.source_pages.list_staged(night.job))
        self._catalog.source_files.drop_staged(night.job, copies)
        return self._closing.brake(night) or self._closing.publish(night, space_id)

    def _fetch(self, night: PageNight, memory: JobMemory) -> bool:
        """Crawl, and bring in what is new or changed; False when told to stop."""
        look, staged = night.look, self._catalog.source_pages.list_staged(night.job)
        seen = recall(night.source, look, night.job.id)
        done = [page.origin for page in staged.values()] + [one.aside.origin for one in look.decided.values()]
        seen |= dict(iter_done(done))
        before = {*memory.failed, *look.decided}
        crawl = self._crawler.open(night.source, look, seen, memory.failed)
        crawl.listed = memory.listed if memory.source == night.source else None
        memory.source = night.source
        is_stopping, batch = allow_one(night.is_stopping), _Batch()
        told = time.monotonic()
        for outcome in crawl:
            memory.listed = crawl.listed
            self._take(night, outcome, batch)
            is_over = _got_on(outcome, before) and is_stopping()
            if is_over or len(batch) >= BATCH or time.monotonic() - told >= SILENCE_S:
                self._record(night, batch, crawl)
                told = time.monotonic()
            if is_over:
                return False
        for wanted in look.list_needed_copies():
            self._bring_in(look, wanted, batch)  # its bytes are stored, unless the night was so long that they went
        lost = staged.keys() - look.fresh.keys()  # what an earlier slice staged and the site no longer has so
        self._catalog.source_files.drop_staged(night.job, list(lost))
        self._record(night, batch, crawl, is_last=True)
        return True

    def _take(self, night: PageNight, outcome: CrawlOutcome, batch: _Batch) -> None:
        look = night.look
        wanted = look.judge(outcome)
        if wanted is not None and wanted.copy_of is not None:
            self._hold_copy(look, wanted)
        elif wanted is not None:
            self._bring_in(look, wanted, batch)
        elif isinstance(outcome, Found) and outcome.url in look.unchanged:
            page: KnownPage = look.known[outcome.url]
            if page.checked_by != night.job.id:
                batch.unchanged.append(page.document_id)

    def _store(self, look: PageLook, wanted: WantedPage) -> PageContent | None:
        """None where it is no document, or its bytes are not to be had."""
        content = wanted.content
        if content is not None:
            if self._intake.has(content):
                return content
            look.fail_page(wanted.url, "content_gone", "its bytes are no longer kept; it is asked anew next time")
            return None
        try:
            return self._intake.take(wanted.url, wanted.body, wanted.origin.content_type)
        except InvalidInput as fault:
            look.skip_page(wanted.url, fault.code, fault.detail, wanted.origin)
            return None

    def _hold_copy(self, look: PageLook, wanted: WantedPage) -> None:
        if (content := self._store(look, wanted)) is not None:
            look.hold_copy(replace(wanted, body=b"", content=content))

    def _bring_in(self, look: PageLook, wanted: WantedPage, batch: _Batch) -> None:
        content, origin = self._store(look, wanted), wanted.origin
        if content is None:
            return
        batch.files.append(
            SourceFile(
                path=wanted.url,
                sha256=content.sha256,
                size=content.size,
                media_type=content.media_type,
                origin=origin,
            )
        )

    def _record(self, night: PageNight, batch: _Batch, crawl: Crawl, *, is_last: bool = False) -> None:
        look, progress = night.look, crawl.progress
        night.before = len(look.places) + len(look.failures) + len(look.skips)
        night.failed = len(look.failures)
        left = len(look.fresh) if is_last else progress.left
        told = Progress(
            stage="fetch",
            done=night.before,
            failed=night.failed,
            total=night.before + left,
            message=f"{progress.asked} asked, {progress.found} found, {progress.left} to go",
        )
        files, unchanged = list(batch.files), list(batch.unchanged)
        recorded = PageBatch(source_id=night.source.id, files=files, unchanged=unchanged, progress=told)
        refused = self._catalog.source_pages.record(night.job, recorded)
        origins = {file.path: file.origin for file in files}
        for url, code in refused.items():
            if (origin := origins[url]) is not None:
                look.skip_page(url, code, "a document that is not the source's has this address", origin)
        batch.files.clear()
        batch.unchanged.clear()


def _got_on(outcome: CrawlOutcome, before: Collection[str]) -> bool:
    """Whether this is news: what earlier slices were done with is only gone through."""
    return outcome.fetched is not None if isinstance(outcome, Found) else outcome.url not in before
