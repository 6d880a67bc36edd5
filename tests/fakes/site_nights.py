"""Nights of a web source over a real catalog, a real site on loopback, the real fetcher and real parse children."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fakes.page_nights import PageNights
from fakes.site_server import SiteServer

from ingest.parsing import ParserPool
from ingest.sources.page_intake import PageIntake
from ingest.sources.page_plan import PagePlanner
from ingest.sources.page_sync import Crawler, PageSync
from ingest.web.addresses import Reach
from ingest.web.dialing import Dialer
from ingest.web.exchange import Exchange
from ingest.web.fetcher import FetchLimits, WebFetcher
from ingest.web.page import PageLinks
from ingest.web.plan import Site
from ingest.web.robots import Robots
from ingest.web.turns import HostTurns
from kb.catalog.sources import NewSource
from kb.types import ParsedDocument

AGENT = "kb-server/test"


class CountingPool:
    """A parser and a link reader; `parsed` and `read` are the paths and addresses that came to it."""

    def __init__(self, pool: ParserPool) -> None:
        self._pool = pool
        self.parsed: list[str] = []
        self.read: list[str] = []

    def parse(self, path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
        self.parsed.append(media_type)
        return self._pool.parse(path, media_type, password)

    def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
        self.read.append(url)
        return self._pool.read_links(body, content_type, url)


@dataclass(kw_only=True)
class SiteNights(PageNights):
    """`uri` is the start of the site unless it is given."""

    site: SiteServer
    pool: ParserPool
    uri: str = ""
    parser: CountingPool = field(init=False)
    result: dict[str, Any] = field(default_factory=dict)  # of a night, where a test keeps it

    def __post_init__(self) -> None:
        self.parser = self.store.parser = CountingPool(self.pool)
        bounds = {"depth": self.depth, "max_pages": self.max_pages}
        uri = self.uri or f"{self.site.url}/"
        new = NewSource(kb_id=self.store.kb.id, name=self.name, kind=self.kind, uri=uri, **bounds)
        self.source = self.store.catalog.sources.create(new)

    @property
    def crawler(self) -> Crawler:
        dialer = Dialer(reach=Reach(loopback_ports=frozenset({self.site.port})))
        bare = WebFetcher(Exchange(dialer), HostTurns(0.0), FetchLimits(user_agent=AGENT, retries=0))
        return Crawler(site=Site(fetcher=bare.with_politeness(Robots(bare, AGENT)), link_reader=self.parser))

    @property
    def intake(self) -> PageIntake:
        return PageIntake(self.store.blobs, 10_000_000)

    @property
    def sync(self) -> PageSync:
        return PageSync(self.store.catalog, self.store.indexer, self.intake, self.crawler, self.gate)

    def plan(self) -> dict:
        planner = PagePlanner(self.store.catalog, self.intake, self.crawler, lambda: self.now)
        return dict(planner.plan(self.source))

    def count_work(self) -> tuple[int, int]:
        """Files parsed and strings embedded since this was last asked."""
        found = len(self.parser.parsed), len(self.store.encoder.embedded)
        self.parser.parsed.clear()
        self.store.encoder.embedded.clear()
        return found

    def read_texts(self) -> dict[str, str]:
        """Whole texts of what answers, by readable path on the site."""
        shas = {path: self.store.find_version(self.site.locate(path))["text_sha"] for path in self.visible()}
        return {path: self.store.texts.read_text(sha) for path, sha in shas.items()}

    def visible(self) -> dict[str, str]:
        """Text by readable path on the site."""
        readable = {self.site.locate(path): path for path in self.site.answers}
        return {readable.get(url, url): text for url, text in self.store.list_visible_texts().items()}
