"""How long what failed is left alone."""

from __future__ import annotations

from datetime import datetime, timedelta

LONGEST_PAUSE_NIGHTS = 8
EARLIER = timedelta(hours=6)  # than so many nights: the run that many nights on is to find it due


def find_pause(failures: int) -> timedelta:
    """After so many failures in a row: 1, 2, 4 and then 8 nights."""
    return timedelta(days=min(2 ** (failures - 1), LONGEST_PAUSE_NIGHTS)) - EARLIER


def is_paused(retry_at: datetime | None, now: datetime) -> bool:
    """Whether what is to be tried again at that time is left alone now. A time beyond the longest pause was written by
    a clock that was ahead: it holds nothing up."""
    return retry_at is not None and now < retry_at <= now + timedelta(days=LONGEST_PAUSE_NIGHTS)
