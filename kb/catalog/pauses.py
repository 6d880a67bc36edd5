"""How long what failed is left alone."""

from __future__ import annotations

from datetime import timedelta

LONGEST_PAUSE_NIGHTS = 8
EARLIER = timedelta(hours=6)  # than so many nights: the run that many nights on is to find it due


def find_pause(failures: int) -> timedelta:
    """After so many failures in a row: 1, 2, 4 and then 8 nights."""
    return timedelta(days=min(2 ** (failures - 1), LONGEST_PAUSE_NIGHTS)) - EARLIER
