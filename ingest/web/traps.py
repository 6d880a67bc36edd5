"""Addresses that a site makes up without end: calendars, filters, links that grow.

An address is masked: digits are `#`. A page whose links make addresses of its own mask (next month, next page) breeds
them, and that goes on for only so long; what other pages link to is not counted, however many articles `/news/#.html`
has. Filters that are combined breed across masks, so that addresses of three parameters and more are counted by path.
"""

from __future__ import annotations

import re
from collections import Counter

MOST_BRED = 200  # addresses of one mask that pages of that mask alone lead to
MOST_COMBINED = 200  # addresses of one path with three parameters or more
MOST_PARAMETERS = 10
MOST_SEGMENTS = 24
MOST_REPEATS = 2  # of the same segments in a row

_DIGITS = re.compile(r"\d+")


def find_mask(url: str) -> str:
    """The host and path with digits as `#`; of one parameter the value likewise, of several the names alone."""
    place, _, query = url.partition("://")[2].partition("?")
    host, _, path = place.partition("/")
    parameters = query.split("&") if query else []
    if len(parameters) > 1:
        parameters = sorted(parameter.partition("=")[0] for parameter in parameters)
    masked = _DIGITS.sub("#", path) + ("?" if parameters else "") + _DIGITS.sub("#", "&".join(parameters))
    return f"{host}/{masked}"


class Traps:
    """Counts the addresses of one crawl."""

    def __init__(self) -> None:
        self._bred: Counter[str] = Counter()
        self._combined: Counter[str] = Counter()

    def is_trap(self, url: str, linked_by: str) -> bool:
        """Whether an address is one too many. `linked_by` is the page that it was first seen on."""
        place, _, query = url.partition("?")
        parameters = query.count("&") + 1 if query else 0
        segments = place.split("/")[3:]
        if parameters > MOST_PARAMETERS or len(segments) > MOST_SEGMENTS or _is_repeating(segments):
            return True
        if parameters > 2:
            self._combined[place] += 1
            if self._combined[place] > MOST_COMBINED:
                return True
        mask = find_mask(url)
        if mask != find_mask(linked_by):
            return False
        self._bred[mask] += 1
        return self._bred[mask] > MOST_BRED


def _is_repeating(segments: list[str]) -> bool:
    """`a/b/a/b/a/b`: what a wrong relative link makes. Numbers alone may be a date."""
    for size in range(1, len(segments) // (MOST_REPEATS + 1) + 1):
        run = 0
        for place in range(len(segments) - size):
            run = run + 1 if segments[place] == segments[place + size] else 0
            if run >= size * MOST_REPEATS and not "".join(segments[place : place + size]).isdigit():
                return True
    return False
