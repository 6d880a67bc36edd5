"""The deadlines of one call."""

from __future__ import annotations

import asyncio

from kb.errors import Unavailable
from retrieval.chat.server import ChatLimits


class Deadlines:
    """Before the first token the time for it runs; from then on, anew with every arrival, the time to be silent.
    `started` is set when text has come: from then on nothing may be repeated."""

    def __init__(self, limits: ChatLimits) -> None:
        self._limits = limits
        self._now = asyncio.get_running_loop().time
        self._end = self._now() + limits.total_s
        self._first_end = 0.0
        self.started = False

    def begin_attempt(self) -> None:
        """Another attempt: the time for the first token begins anew, the total does not."""
        self._first_end = self._now() + self._limits.first_token_s

    def next_limit(self) -> asyncio.Timeout:
        soon = self._now() + self._limits.idle_s if self.started else self._first_end
        return asyncio.timeout_at(min(soon, self._end))

    def explain(self, name: str) -> Unavailable:
        if self._now() >= self._end:
            fault = f"did not finish within {self._limits.total_s:g} s"
        elif self.started:
            fault = f"went silent for {self._limits.idle_s:g} s in mid-answer"
        else:
            fault = f"sent no text within {self._limits.first_token_s:g} s"
        return Unavailable("llm_timeout", f"{name} {fault}")
