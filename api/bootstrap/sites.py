"""The web as sources see it: which addresses may be one, and through what their pages are fetched and read."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from api.bootstrap.fetching import build_fetcher, build_reach, name_agent
from api.bootstrap.store import Store
from ingest.loaders import LoadLimits
from ingest.parsing import ParserLimits, ParserPool
from ingest.sources.page_intake import PageIntake
from ingest.sources.page_sync import Crawler
from ingest.sources.sites import UrlGate
from ingest.web.dialing import Dialer
from ingest.web.gate import check_url
from ingest.web.page import Fetcher, LinkReader
from ingest.web.plan import Site
from ingest.web.robots import Robots
from ingest.web.sitemap import MOST_BYTES
from kb.config import Settings
from kb.errors import FetchFailed, InvalidInput

LONGEST_S = 10.0


class Addresses:
    """Implements `ingest.sources.sites.UrlGate`. Names are looked up for no longer than a request may take: each is
    looked at again whenever it is connected to."""

    def __init__(self, dialer: Dialer) -> None:
        self._dialer = dialer

    def check(self, urls: Sequence[str]) -> None:
        hosts = {}
        for url in urls:
            checked = check_url(url, self._dialer.reach)
            hosts[checked.host, checked.port] = url
        until = time.monotonic() + LONGEST_S
        for host, port in hosts:
            if time.monotonic() > until:
                return
            try:
                self._dialer.check(host, port)
            except FetchFailed as failure:
                if failure.code == "url_forbidden":  # else its name may stand for something later
                    raise InvalidInput(failure.code, failure.detail) from None


def build_parser_pool(settings: Settings) -> ParserPool:
    """Parse children, which start when there is something to read; the caller closes it."""
    return ParserPool(
        ParserLimits(
            cpu_seconds=settings.parse_cpu_seconds,
            wall_seconds=settings.parse_seconds,
            memory_bytes=settings.parse_memory_bytes,
            ocr_page_seconds=settings.ocr_page_seconds,
            load=LoadLimits(
                max_pages=settings.max_pages,
                max_characters=settings.max_characters,
                ocr_pages=settings.ocr_pages if settings.ocr == "on" else 0,
            ),
        ),
        readers=settings.reader_classes,
    )


def build_page_intake(store: Store) -> PageIntake:
    settings = store.settings
    return PageIntake(store.blobs, settings.max_file_bytes, readers=settings.reader_classes.keys())


@dataclass(frozen=True, kw_only=True, slots=True)
class Web:
    """One a process, so that no host is asked more often than it should be: `gate` says which addresses may be a
    source, `fetcher` fetches what sites allow, `lists` their sitemaps."""

    gate: UrlGate
    fetcher: Fetcher
    lists: Fetcher | None = None

    def build_crawler(self, link_reader: LinkReader) -> Crawler:
        return Crawler(site=Site(fetcher=self.fetcher, link_reader=link_reader, lists=self.lists))


def build_web(settings: Settings) -> Web:
    """Raises StartRefused (`bad_setting`)."""
    bare = build_fetcher(settings)
    fetcher = bare.with_politeness(Robots(bare, name_agent(settings)))
    gate = Addresses(Dialer(reach=build_reach(settings)))
    return Web(gate=gate, fetcher=fetcher, lists=fetcher.with_room(MOST_BYTES))
