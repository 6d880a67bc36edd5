"""What a host's robots.txt allows, and at which pace. The one door to protego.

As RFC 9309 has it: no robots.txt (4xx) allows everything, one that does not come now (5xx, 429, no connection) allows
nothing this time, and of a long one the first 500 KB count.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import urlsplit

from protego import Protego

from ingest.web.page import Fetched, Fetcher, Validators
from kb.errors import FetchFailed

PATH = "/robots.txt"
MOST_BYTES = 500 * 1024
LONGEST_DELAY = 10.0  # seconds between two pages, however many are asked for
LONGEST_REST = 60.0  # seconds that a host which asks to be left alone is waited for


@dataclass(frozen=True, slots=True)
class _Rules:
    """Of one host: its robots.txt, or why it did not come."""

    told: Protego | None
    failed: FetchFailed | None = None


class PoliteFetcher:
    """A fetcher of what robots.txt allows `agent`, at the pace it asks for; asks each host for it once, so make one a
    run. Thread-safe.

    A host that answers 429 or 503 with a `Retry-After` of up to a minute is left alone for that long and asked again
    once.
    """

    def __init__(
        self,
        fetcher: Fetcher,
        agent: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        wait: Callable[[float], None] = time.sleep,
    ) -> None:
        self._fetcher = fetcher
        self._agent = agent
        self._pace = _Pace(clock, wait)
        self._rules: dict[str, _Rules] = {}
        self._locks: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        """Raises FetchFailed as the fetcher does; `robots_denied` also for a page that a redirect led to. Where
        robots.txt does not come, what that failed with."""
        if urlsplit(url).path == PATH:
            return self._fetcher.fetch(url, known)
        delay = self._check(url)
        try:
            fetched = self._ask(url, known, delay)
        except FetchFailed as error:
            if error.retry_after_s is None or error.retry_after_s > LONGEST_REST:
                raise
            self._pace.rest(_find_origin(url), error.retry_after_s)
            fetched = self._ask(url, known, delay)
        if fetched.url != url:
            self._check(fetched.url)
        return fetched

    def _ask(self, url: str, known: Validators | None, delay: float) -> Fetched:
        self._pace.keep(_find_origin(url), delay)
        return self._fetcher.fetch(url, known)

    def _check(self, url: str) -> float:
        """The delay that is asked for, in seconds."""
        rules = self._load(_find_origin(url))
        if rules.failed is not None:
            raise _copy(rules.failed)
        if rules.told is None:
            return 0.0
        if not rules.told.can_fetch(url, self._agent):
            raise FetchFailed("robots_denied", f"the site's robots.txt asks not to read {url}", passing=False)
        return min(float(rules.told.crawl_delay(self._agent) or 0.0), LONGEST_DELAY)

    def _load(self, origin: str) -> _Rules:
        with self._locks[origin]:
            if origin not in self._rules:
                self._rules[origin] = _fetch_rules(self._fetcher, origin)
            return self._rules[origin]


class _Pace:
    """When each host may be asked next."""

    def __init__(self, clock: Callable[[], float], wait: Callable[[float], None]) -> None:
        self._clock = clock
        self._wait = wait
        self._lock = threading.Lock()
        self._next: dict[str, float] = {}

    def keep(self, origin: str, delay: float) -> None:
        """Waits for this host's next turn, which the turn after it follows by `delay` seconds."""
        with self._lock:
            now = self._clock()
            turn = max(now, self._next.get(origin, now))
            self._next[origin] = turn + delay
        if turn > now:
            self._wait(turn - now)

    def rest(self, origin: str, seconds: float) -> None:
        with self._lock:
            turn = self._clock() + seconds
            self._next[origin] = max(turn, self._next.get(origin, turn))


def read_sitemap_lines(body: bytes) -> list[str]:
    """The sitemaps that a robots.txt names."""
    return list(_parse(body).sitemaps)


def _fetch_rules(fetcher: Fetcher, origin: str) -> _Rules:
    try:
        return _Rules(_parse(fetcher.fetch(origin + PATH).body))
    except FetchFailed as error:
        is_refused = error.status is not None and 400 <= error.status < 500 and error.status != 429
        is_missing = is_refused or error.code == "too_many_redirects"
        return _Rules(None, None if is_missing else error)


def _parse(body: bytes) -> Protego:
    return Protego.parse(body[:MOST_BYTES].decode("utf-8-sig", "replace"))


def _find_origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _copy(error: FetchFailed) -> FetchFailed:
    """An error of its own for each raise: they come in several threads."""
    detail = f"the site's robots.txt does not come: {error.detail}"
    return FetchFailed(error.code, detail, status=None, retry_after_s=error.retry_after_s, passing=error.is_passing)
