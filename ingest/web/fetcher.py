"""Pages over HTTP: each address is checked, also those that a server redirects to, and failures that pass are retried.

    check the URL → wait for the host's turn → ask → follow a redirect: check it → a page, unchanged, or why not

Where fetching reaches, and how it is kept from everything else, is told in docs/fetching.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from itertools import count
from typing import Protocol

from ingest.web.exchange import Answer, Exchange
from ingest.web.gate import CheckedUrl, check_url, join_url, show_url
from ingest.web.page import Fetched, Validators
from ingest.web.turns import HostTurns, Turn
from kb.errors import FetchFailed, InvalidInput

REDIRECTS = frozenset({301, 302, 303, 307, 308})
FIRST_PAUSE_S = 1.0  # before the second attempt, twice as long before each one after it
LONGEST_PAUSE_S = 30.0  # a server that asks for more is left alone, not waited for
MOST_HEADER = 1_000  # characters that are kept of one
ACCEPT = "text/html,application/xhtml+xml,text/plain;q=0.9,application/pdf;q=0.9,*/*;q=0.5"


class Politeness(Protocol):
    """What a site asks of those who come. Thread-safe."""

    def check(self, url: str) -> None:
        """Called before each question, also those that a redirect leads to. Raises FetchFailed (`robots_denied`)."""
        ...

    def find_delay(self, url: str) -> float:
        """Seconds that the site wants between two questions, 0 if it says nothing."""
        ...


class NoPoliteness:
    """Nothing but the delay that is set: for what is asked before it can be known what a site wants."""

    def check(self, url: str) -> None: ...

    def find_delay(self, url: str) -> float:
        del url
        return 0.0


class _NotPolite(Exception):
    """What `Politeness.check` raised: trying again at once is the last thing that would be polite."""

    def __init__(self, failure: FetchFailed) -> None:
        super().__init__(failure.code)
        self.failure = failure


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchLimits:
    """`seconds` are for one attempt, all its redirects together, without waiting for turns."""

    user_agent: str
    max_bytes: int = 10_000_000
    seconds: float = 30.0
    redirects: int = 5
    retries: int = 2


class WebFetcher:
    """The one Fetcher of pages. `now` and `sleep` are handed in so that a test needs no time."""

    def __init__(
        self,
        exchange: Exchange,
        turns: HostTurns,
        limits: FetchLimits,
        *,
        politeness: Politeness | None = None,
        time_source: TimeSource | None = None,
    ) -> None:
        self._exchange = exchange
        self._turns = turns
        self._limits = limits
        self._politeness = politeness or NoPoliteness()
        self._time = time_source or TimeSource()

    def with_politeness(self, politeness: Politeness) -> WebFetcher:
        """The same, which also does what sites ask for."""
        return WebFetcher(self._exchange, self._turns, self._limits, politeness=politeness, time_source=self._time)

    def with_room(self, max_bytes: int) -> WebFetcher:
        """The same, which also takes answers that are so large."""
        limits = replace(self._limits, max_bytes=max(max_bytes, self._limits.max_bytes))
        return WebFetcher(self._exchange, self._turns, limits, politeness=self._politeness, time_source=self._time)

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        """Asks for the page, on the condition that it changed where `known` has validators.

        They are sent to whatever the redirects lead to; when the answer is that nothing changed, `Fetched.url` says who
        said so. Raises FetchFailed, after the retries where it is passing.
        """
        for attempt in count(1):
            try:
                return self._follow(url, known or Validators())
            except _NotPolite as refusal:
                raise refusal.failure from None
            except FetchFailed as failure:
                pause_s = failure.retry_after_s
                if pause_s is None:
                    pause_s = FIRST_PAUSE_S * 2.0 ** (attempt - 1)
                if not failure.is_passing or attempt > self._limits.retries or pause_s > LONGEST_PAUSE_S:
                    raise
            self._time.sleep(pause_s)
        raise AssertionError  # `count` does not end

    def _follow(self, url: str, known: Validators) -> Fetched:
        left_s = self._limits.seconds
        for _ in range(self._limits.redirects + 1):
            checked = self._check(url)
            self._ask_leave(checked.url)
            with self._turns.take(checked.host, self._politeness.find_delay(checked.url)) as turn:
                began = self._time.clock()
                answer = self._ask_in_turn(turn, checked, known, left_s)
                left_s -= self._time.clock() - began
            location = answer.headers.get("location", "")
            if answer.status not in REDIRECTS or not location:
                return self._read(checked, answer, known)
            url = self._resolve(checked.url, location)
        raise FetchFailed(
            "too_many_redirects",
            f"{show_url(url)} is redirected more than {self._limits.redirects} times",
            passing=False,
        )

    def _ask_leave(self, url: str) -> None:
        try:
            self._politeness.check(url)
        except FetchFailed as failure:
            raise _NotPolite(failure) from None

    def _check(self, url: str) -> CheckedUrl:
        try:
            return check_url(url, self._exchange.reach)
        except InvalidInput as fault:
            raise FetchFailed(fault.code, fault.detail, passing=False) from None

    def _resolve(self, base: str, location: str) -> str:
        try:
            return join_url(base, _decode(location))
        except InvalidInput as fault:
            raise FetchFailed(fault.code, fault.detail, passing=False) from None

    def _ask_in_turn(self, turn: Turn, url: CheckedUrl, known: Validators, seconds: float) -> Answer:
        turn.is_in_trouble = True  # until it has answered
        answer = self._ask(url, known, seconds)
        turn.is_in_trouble = _may_pass(answer.status)
        return answer

    def _ask(self, url: CheckedUrl, known: Validators, seconds: float) -> Answer:
        headers = {"User-Agent": self._limits.user_agent, "Accept": ACCEPT, "Accept-Encoding": "gzip, deflate"}
        if known.etag is not None:
            headers["If-None-Match"] = known.etag
        if known.last_modified is not None:
            headers["If-Modified-Since"] = known.last_modified
        try:
            return self._exchange.ask(url, headers, seconds, self._limits.max_bytes)
        except FetchFailed as failure:
            raise FetchFailed(
                failure.code, f"{show_url(url.url)}: {failure.detail}", passing=failure.is_passing
            ) from None

    def _read(self, url: CheckedUrl, answer: Answer, known: Validators) -> Fetched:
        if answer.status == 304 and known:
            robots = _keep(answer, "x-robots-tag")
            return Fetched(url=url.url, is_unchanged=True, body=b"", content_type=None, validators=known, robots=robots)
        if answer.status not in (200, 203):
            raise self._refuse(url, answer)
        if not answer.body:
            raise FetchFailed("fetch_empty", f"{show_url(url.url)} answers {answer.status} with nothing", passing=False)
        return Fetched(
            url=url.url,
            is_unchanged=False,
            body=answer.body,
            content_type=_keep(answer, "content-type"),
            validators=Validators(etag=_keep(answer, "etag"), last_modified=_keep(answer, "last-modified")),
            robots=_keep(answer, "x-robots-tag"),
        )

    def _refuse(self, url: CheckedUrl, answer: Answer) -> FetchFailed:
        status = answer.status
        return FetchFailed(
            f"fetch_http_{status}",
            f"{show_url(url.url)} answers {status}",
            status=status,
            retry_after_s=read_retry_after(answer.headers.get("retry-after"), self._time.now()),
            passing=_may_pass(status),
        )


@dataclass(frozen=True, kw_only=True, slots=True)
class TimeSource:
    """What a fetcher knows of time."""

    clock: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


def read_retry_after(header: str | None, now: datetime) -> float | None:
    """Seconds; a header that is neither a number nor a date of this world says nothing."""
    if header is None:
        return None
    if header.isascii() and header.isdecimal() and len(header) < 10:
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except (ValueError, OverflowError):
        return None
    return max((until.replace(tzinfo=until.tzinfo or UTC) - now).total_seconds(), 0.0)


def _may_pass(status: int) -> bool:
    return status == 429 or status >= 500


def _keep(answer: Answer, name: str) -> str | None:
    """A header as it was sent; one that is too long to be what it should be is as good as none."""
    value = answer.headers.get(name, "")
    return value if 0 < len(value) <= MOST_HEADER else None


def _decode(location: str) -> str:
    """Headers are bytes; in this one they are UTF-8 where they are no ASCII. What is in another encoding is sent back
    byte for byte, and so are blanks: servers that forget to encode them are many."""
    try:
        told = location.encode("latin-1").decode("utf-8")
    except UnicodeDecodeError:
        told = "".join(one if one.isascii() else f"%{ord(one):02X}" for one in location)
    return told.strip(" ").replace(" ", "%20")
