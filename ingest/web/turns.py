"""How often one host is asked: one question at a time, and a pause between two."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock, Semaphore

MOST_HOSTS = 10_000


@dataclass(slots=True)
class _Host:
    places: Semaphore
    free_at: float = field(default=0.0)


class HostTurns:
    """One for all threads of a process. `delay_s` is from the end of one question to the beginning of the next, and the
    least: what `take` is given can only lengthen it. `clock` and `sleep` are handed in so that a test needs no time."""

    def __init__(
        self,
        delay_s: float,
        *,
        at_once: int = 1,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._delay_s = delay_s
        self._at_once = at_once
        self._clock = clock
        self._sleep = sleep
        self._hosts: dict[str, _Host] = {}
        self._lock = Lock()

    @contextmanager
    def take(self, host: str, delay_s: float = 0.0) -> Iterator[None]:
        """Blocks until this host may be asked, and keeps others from asking it meanwhile."""
        delay_s = max(delay_s, self._delay_s)
        turn = self._find_host(host)
        with turn.places:
            with self._lock:
                now = self._clock()
                begin = max(now, turn.free_at)
                turn.free_at = begin + delay_s  # of several at once each gets a beginning of its own
            if begin > now:
                self._sleep(begin - now)
            try:
                yield
            finally:
                with self._lock:
                    turn.free_at = max(turn.free_at, self._clock() + delay_s)

    def _find_host(self, host: str) -> _Host:
        with self._lock:
            found = self._hosts.get(host)
            if found is None:
                if len(self._hosts) >= MOST_HOSTS:
                    now = self._clock()
                    self._hosts = {name: each for name, each in self._hosts.items() if each.free_at > now}
                found = self._hosts[host] = _Host(places=Semaphore(self._at_once))
            return found
