"""A real fetcher whose names, clock and pauses are the test's."""

from __future__ import annotations

import ssl
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from fakes.clock import Time

from ingest.web.addresses import Reach
from ingest.web.dialing import Dialer
from ingest.web.exchange import Exchange
from ingest.web.fetcher import FetchLimits, TimeSource, WebFetcher
from ingest.web.turns import HostTurns
from kb.errors import FetchFailed

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


class Names:
    """A resolver with a list of answers for each name, one for each time it is asked; the last one stays."""

    def __init__(self, answers: Mapping[str, Sequence[Sequence[str]]] | None = None) -> None:
        self.answers = dict(answers or {})
        self.asked: list[str] = []

    def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        rounds = self.answers.get(host)
        if not rounds:
            raise OSError(f"no {host}")
        return rounds[min(self.asked.count(host), len(rounds)) - 1]


class Ticking:
    """A clock that every look moves on."""

    def __init__(self, step_s: float = 1.0) -> None:
        self._step_s = step_s
        self.now = 0.0

    def __call__(self) -> float:
        self.now += self._step_s
        return self.now


class Fetching:
    """`fetcher` reaches loopback at `ports`; its pauses take no time and stand in `time.slept`."""

    def __init__(
        self,
        *ports: int,
        reach: Reach | None = None,
        trust: ssl.SSLContext | None = None,
        clock=None,
        resolver=None,
        pause_s: float = 0.0,
        **limits,
    ) -> None:
        self.time = Time()
        self.names = Names()
        dialer = Dialer(reach=reach or Reach(loopback_ports=frozenset(ports)), resolver=resolver or self.names)
        exchange = Exchange(dialer, trust=trust, **({"clock": clock} if clock else {}))
        source = TimeSource(clock=lambda: self.time.now, sleep=self.time.sleep, now=lambda: NOW)
        turns = HostTurns(pause_s, clock=lambda: self.time.now, sleep=self.time.sleep)
        self.fetcher = WebFetcher(
            exchange, turns, FetchLimits(**{"user_agent": "kb-test", "retries": 0, **limits}), time_source=source
        )

    def fail(self, url: str) -> FetchFailed:
        try:
            fetched = self.fetcher.fetch(url)
        except FetchFailed as failed:
            return failed
        raise AssertionError(f"{url} was fetched: {fetched.body[:200]!r}")
