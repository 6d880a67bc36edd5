"""How long what failed is left alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from kb.catalog.pauses import find_pause, is_paused

NOW = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)


@pytest.mark.parametrize("failures", range(1, 8))
def test_what_failed_is_paused_until_its_time_comes(failures: int) -> None:
    until = NOW + find_pause(failures)
    assert is_paused(until, NOW)
    assert is_paused(until, until - timedelta(seconds=1))
    assert not is_paused(until, until)
    assert not is_paused(None, NOW)


def test_no_pause_is_longer_than_the_longest() -> None:
    assert not is_paused(NOW + timedelta(days=9), NOW)
    assert not is_paused(NOW + timedelta(days=4_000), NOW)
