from __future__ import annotations

import pytest

from retrieval.dates import read_date


@pytest.mark.parametrize(
    ("stated", "date"),
    [
        ("2024-05-01", "2024-05-01"),
        ("2024-05-01T08:30:00Z", "2024-05-01"),
        ("2024-05-01 08:30", "2024-05-01"),
        (2024, "2024"),
        (20240501, "20240501"),
        ("2024 年 5 月", "2024 年 5 月"),
        ("1 May\n 2024", "1 May 2024"),
        ("二〇二四年", None),
        ("yesterday", None),
        ("", None),
        (None, None),
        (True, None),
        (17.5, None),
        ({"year": 2024}, None),
        ('{"year":2024}', None),
        ("2024" + " x" * 30, None),
    ],
)
def test_what_is_a_date_and_what_is_none(stated: object, date: str | None) -> None:
    assert read_date(stated) == date
