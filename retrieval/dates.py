"""The date of a document: its own, as whoever uploaded it states it under `date` in the metadata."""

from __future__ import annotations

import re

LONGEST = 40  # characters
YEAR = re.compile(r"(?<!\d)\d{4}(?!\d)|(?<!\d)\d{8}(?!\d)")
MOMENT = re.compile(r"(\d{4}-\d{2}-\d{2})[T ]\d{2}:\d{2}")  # the day is enough


def read_date(stated: object) -> str | None:
    """One line with a year in it, whatever its form (`2024-05-01`, `2024 年 5 月`, `May 2024`, 2024); else None."""
    text = " ".join(str(stated).split())
    if len(text) > LONGEST or text[:1] in ("{", "[") or not YEAR.search(text):
        return None
    moment = MOMENT.match(text)
    return moment[1] if moment else text
