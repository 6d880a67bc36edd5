"""How often one host is asked: one question at a time, and a pause between two that follows the host.

A host that answers in 5 ms has no trouble with its next question 50 ms later, one that takes a second to answer is left
alone for the whole pause. So is one that is in trouble: its answer was quick only because it was none.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from threading import Lock

MOST_HOSTS = 10_000
REST = 10.0  # a pause is so many times as long as the answer before it took


@dataclass(slots=True)
class Turn:
    """One question. `is_in_trouble`: whoever asked found the host so that it is to have its whole pause."""

    is_in_trouble: bool = False


@dataclass(slots=True)
class _Host:
    """`free_at`: when it may be asked again; never, while it is asked."""

    lock: Lock = field(default_factory=Lock)
    free_at: float = 0.0


class HostTurns:
    """One for all threads of a process. A pause is from the end of one question to the beginning of the next: `REST`
    times as long as the question took, `most_s` at most. `clock` and `sleep` are handed in so that a test needs no
    time."""

    def __init__(
        self,
        most_s: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._most_s = most_s
        self._clock = clock
        self._sleep = sleep
        self._hosts: dict[str, _Host] = {}
        self._lock = Lock()

    @contextmanager
    def take(self, host: str, least_s: float = 0.0) -> Iterator[Turn]:
        """Blocks until this host may be asked, and keeps others from asking it meanwhile. The pause behind it
        is no shorter than `least_s`, and a whole one where the turn says that the host is in trouble."""
        place, turn = self._find_host(host), Turn()
        with place.lock:
            wait_s = place.free_at - self._clock()
            place.free_at = math.inf
            if wait_s > 0:
                self._sleep(wait_s)
            began = self._clock()
            try:
                yield turn
            finally:
                end = self._clock()
                rest_s = self._most_s if turn.is_in_trouble else min(REST * (end - began), self._most_s)
                place.free_at = end + max(least_s, rest_s)

    def _find_host(self, host: str) -> _Host:
        with self._lock:
            found = self._hosts.get(host)
            if found is None:
                if len(self._hosts) >= MOST_HOSTS:
                    now = self._clock()
                    self._hosts = {name: each for name, each in self._hosts.items() if each.free_at > now}
                found = self._hosts[host] = _Host()
            return found
