"""Addresses that a site makes up without end: calendars, filters, links that grow.

An address is masked: numbers are `#`. A page may link to its own mask for good reason, as the pages of a wiki do
(`?pageId=7`), so that it is no trap to be many. What tells a calendar is that each page is reached from the one before
alone: such a chain is followed only so far. What is many and bred by its own kind waits until all else was asked, so
that it takes no room from it.
"""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from enum import Enum, auto

LONGEST_CHAIN = 100  # pages of one mask, each of which the one before led to
MOST_BRED = 200  # addresses that pages of their own mask led to, before the others of it wait
MOST_COMBINED = 200  # combinations of words in three parameters or more, of one path
MOST_PARAMETERS = 10
MOST_SEGMENTS = 24
MOST_REPEATS = 2  # of the same segments in a row

_NUMBERS = re.compile(r"(?=[a-f-]*\d)[0-9a-f-]{8,}|\d+", re.IGNORECASE)  # and what is made of one, such as a UUID


class Verdict(Enum):
    TAKE = auto()
    WAIT = auto()  # until all else was asked
    LEAVE = auto()


def find_mask(url: str) -> str:
    """The host and path with numbers as `#`; of one parameter the value likewise, of several the names alone."""
    host, path, parameters = _split(url)
    if len(parameters) > 1:
        parameters = sorted(parameter.partition("=")[0] for parameter in parameters)
    return f"{host}/{_mask(path)}{'?' if parameters else ''}{_mask('&'.join(parameters))}"


class Traps:
    """Counts the addresses of one crawl."""

    def __init__(self) -> None:
        self._bred: Counter[str] = Counter()
        self._combined: defaultdict[str, set[str]] = defaultdict(set)

    def judge(self, url: str, chain: int) -> Verdict:
        """Of an address that was not seen before. `chain`: so many pages of its mask led to it, one after the other."""
        _, path, parameters = _split(url)
        segments = path.split("/")
        grows = len(parameters) > MOST_PARAMETERS or len(segments) > MOST_SEGMENTS or _is_repeating(segments)
        if grows or chain > LONGEST_CHAIN or (len(parameters) > 2 and not self._combine(path, parameters)):
            return Verdict.LEAVE
        if not chain:
            return Verdict.TAKE
        mask = find_mask(url)
        self._bred[mask] += 1
        return Verdict.WAIT if self._bred[mask] > MOST_BRED else Verdict.TAKE

    def _combine(self, path: str, parameters: list[str]) -> bool:
        """False when the path has too many combinations of words; other numbers are the same combination."""
        known, form = self._combined[path], _mask("&".join(sorted(parameters)))
        if form not in known and len(known) < MOST_COMBINED:
            known.add(form)
        return form in known


def _split(url: str) -> tuple[str, str, list[str]]:
    """Host, path without its first `/`, and parameters."""
    place, _, query = url.partition("://")[2].partition("?")
    host, _, path = place.partition("/")
    return host, path, query.split("&") if query else []


def _mask(text: str) -> str:
    return _NUMBERS.sub("#", text)


def _is_repeating(segments: list[str]) -> bool:
    """`a/b/a/b/a/b`: what a wrong relative link makes. Numbers alone may be a date."""
    for size in range(1, len(segments) // (MOST_REPEATS + 1) + 1):
        run = 0
        for place in range(len(segments) - size):
            run = run + 1 if segments[place] == segments[place + size] else 0
            if run >= size * MOST_REPEATS and not "".join(segments[place : place + size]).isdigit():
                return True
    return False
