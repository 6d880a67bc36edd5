"""What a host's robots.txt allows, and at which pace; what `X-Robots-Tag` says of one page. The one door to protego.

As RFC 9309 has it: no robots.txt (4xx) allows everything, one that does not come now (5xx, 429, no connection) allows
nothing for the time being, and of a long one the first 500 KB count.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from protego import Protego

from ingest.web.page import Fetcher
from kb.errors import FetchFailed

PATH = "/robots.txt"
MOST_BYTES = 500 * 1024
LONGEST_DELAY = 10.0  # seconds between two pages, however many are asked for
KEPT_S = 3_600.0  # how long one counts before it is asked for again
FAILED_S = 60.0  # and how long one that did not come is not asked for again
MOST_HOSTS = 1_000
VALUED = frozenset({"unavailable_after", "max-snippet", "max-image-preview", "max-video-preview"})  # no robots' names
OWN_NAME = "kb-server"  # as in meta tags
NONE = frozenset({"noindex", "nofollow"})


@dataclass(slots=True)
class _Host:
    """What is known of one host until `until`: its robots.txt, if it has one, or why it did not come."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    until: float | None = None
    told: Protego | None = None
    failed: FetchFailed | None = None


class Robots:
    """The wishes of all hosts as to `agent`. Asks each for its robots.txt through `fetcher`, which must not come back
    here. Thread-safe; one for a process."""

    def __init__(self, fetcher: Fetcher, agent: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._fetcher = fetcher
        self._agent = agent
        self._clock = clock
        self._lock = threading.Lock()
        self._hosts: dict[str, _Host] = {}

    def check(self, url: str) -> None:
        """Raises FetchFailed: `robots_denied`, or what its robots.txt failed with where that does not come."""
        if urlsplit(url).path == PATH:
            return
        host = self._load(url)
        if host.failed is not None:
            raise _copy(host.failed)
        if host.told is not None and not host.told.can_fetch(url, self._agent):
            raise FetchFailed("robots_denied", f"the site's robots.txt asks not to read {url}", passing=False)

    def find_delay(self, url: str) -> float:
        """Seconds that the host wants between two questions, 0 if it says nothing, at most `LONGEST_DELAY`."""
        if urlsplit(url).path == PATH:
            return 0.0
        told = self._load(url).told
        return 0.0 if told is None else min(float(told.crawl_delay(self._agent) or 0.0), LONGEST_DELAY)

    def _load(self, url: str) -> _Host:
        parts = urlsplit(url)
        origin = f"{parts.scheme}://{parts.netloc}"
        with self._lock:
            if origin not in self._hosts and len(self._hosts) >= MOST_HOSTS:
                self._hosts.clear()
            host = self._hosts.setdefault(origin, _Host())
        with host.lock:
            if host.until is None or self._clock() >= host.until:
                self._ask(host, origin)
            return host

    def _ask(self, host: _Host, origin: str) -> None:
        host.told = host.failed = None
        try:
            host.told = _parse(self._fetcher.fetch(origin + PATH).body)
        except FetchFailed as error:
            if not _is_missing(error):
                host.failed = error
        host.until = self._clock() + (KEPT_S if host.failed is None else FAILED_S)


def read_robots_tag(header: str | None) -> frozenset[str]:
    """The words of an `X-Robots-Tag` that are for every robot or for us, in small letters: behind a robot's name they
    are for that one alone, to the end of the line. `none` stands for `noindex` and `nofollow`."""
    words = {word for line in (header or "").lower().splitlines() for word in _iter_words(line)}
    return frozenset(words | NONE if "none" in words else words)


def _iter_words(line: str) -> Iterator[str]:
    for part in line.split(","):
        name, colon, word = part.partition(":")
        if not colon or name.strip() == OWN_NAME:
            yield (word or name).strip()
        elif name.strip() not in VALUED:
            return


def read_sitemap_lines(body: bytes) -> list[str]:
    """The sitemaps that a robots.txt names."""
    return list(_parse(body).sitemaps)


def _parse(body: bytes) -> Protego:
    return Protego.parse(body[:MOST_BYTES].decode("utf-8-sig", "replace"))


def _is_missing(error: FetchFailed) -> bool:
    is_refused = error.status is not None and 400 <= error.status < 500 and error.status != 429
    return is_refused or error.code in ("too_many_redirects", "fetch_empty")


def _copy(error: FetchFailed) -> FetchFailed:
    """An error of its own for each raise, in whatever thread. Without the status, which was not the page's: it is wrong
    with the whole host."""
    detail = f"the site's robots.txt does not come: {error.detail}"
    return FetchFailed(error.code, detail, passing=error.is_passing)
