"""A clock that moves only while somebody sleeps, and a day that never moves."""

from __future__ import annotations

from datetime import UTC, datetime

LONG_AGO = datetime(2020, 1, 2, 3, 4, tzinfo=UTC)


class Time:
    def __init__(self) -> None:
        self.now = 100.0
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
