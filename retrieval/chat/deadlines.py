"""The deadlines of one call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from kb.errors import Unavailable
from retrieval.chat.server import ChatLimits

LEAST_S = 0.01  # between two looks


class Deadlines:
    """Before the first token the time for it runs; from then on, anew with every arrival, the time to be silent.
    `started` is set when text has come: from then on nothing may be repeated."""

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limits.total_s
        self._first_end = 0.0
        self._wait_end: float | None = None  # None while nothing is waited for
        self._timer: asyncio.TimerHandle | None = None  # None while nothing is watched
        self._rings_at = 0.0
        self._give_up: Callable[[], None] = lambda: None
        self.started = False

    def begin_attempt(self) -> None:
        """Another attempt: the time for the first token begins anew, the total does not."""
        self._first_end = self._now() + self._limits.first_token_s

    def next_limit(self) -> asyncio.Timeout:
        return asyncio.timeout_at(self._find_end())

    @contextmanager
    def watch(self, give_up: Callable[[], None]) -> Iterator[None]:
        """`give_up` is called when what stands between `begin_wait` and `end_wait` takes too long. One timer for all
        the waits of an answer, set anew when it rings, and when a wait ends before it does, as the first one after the
        first token may: a timer for each token would cost more than the token."""
        self._give_up = give_up
        self._set_timer(self._find_end())
        try:
            yield
        finally:
            self._stop_timer()

    def begin_wait(self) -> None:
        self._wait_end = self._find_end()
        if self._timer is not None and self._wait_end < self._rings_at:
            self._stop_timer()
            self._set_timer(self._wait_end)

    def end_wait(self) -> None:
        self._wait_end = None

    def _set_timer(self, at: float) -> None:
        self._rings_at = at
        self._timer = asyncio.get_running_loop().call_at(at, self._ring)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _ring(self) -> None:
        if self._wait_end is not None and self._now() >= self._wait_end:
            self._timer = None
            self._give_up()
        else:  # an answer that is not taken may be over its time and waits for nothing
            self._set_timer(max(self._wait_end or self._find_end(), self._now() + LEAST_S))

    def _find_end(self) -> float:
        soon = self._now() + self._limits.idle_s if self.started else self._first_end
        return min(soon, self._end)

    def explain(self, name: str) -> Unavailable:
        if self._now() >= self._end:
            fault = f"did not finish within {self._limits.total_s:g} s"
        elif self.started:
            fault = f"went silent for {self._limits.idle_s:g} s in mid-answer"
        else:
            fault = f"sent no text within {self._limits.first_token_s:g} s"
        return Unavailable("llm_timeout", f"{name} {fault}")
