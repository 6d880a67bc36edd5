"""Running heads, running feet and page numbers: what a printer adds to every page and no author wrote."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence

_EDGE = 2  # lines at the top and at the bottom that may be furniture
_NUMBER_EDGE = 3
_LEAST_PAGES = 3
_LEAST_SHARE = 0.4
_LONGEST = 120
_PAGE_NUMBER = re.compile(
    r"[-–—~\s]*(?:(?P<bare>\d{1,4})|第\s*(?P<zh>\d{1,4})\s*页(?:\s*[,，/]?\s*共\s*\d+\s*页)?"
    r"|(?P<of>\d{1,4})\s*/\s*\d{1,4}|(?:Page|PAGE|page)\s+(?P<en>\d{1,4})(?:\s+of\s+\d{1,4})?)[-–—~\s]*"
)


def drop_furniture(pages: Sequence[list[str]]) -> list[list[str]]:
    """The pages' lines without furniture.

    A line goes when it stands word for word at the edge of many pages (the first time it is kept: it may be the title),
    or when it is a bare number that counts up with the pages.
    """
    if len(pages) < _LEAST_PAGES:
        return [list(lines) for lines in pages]
    needed = max(_LEAST_PAGES, round(_LEAST_SHARE * len(pages)))
    repeated = _find_repeated(pages, needed)
    offsets = _find_counting(pages, needed)
    seen: set[str] = set()
    kept = []
    for number, lines in enumerate(pages):
        dropped = set()
        for index in _edge_indexes(len(lines), _NUMBER_EDGE):
            line = lines[index]
            if _read_number(line) is not None:
                if _read_number(line) in {number + offset for offset in offsets}:
                    dropped.add(index)
            elif line in repeated and index in _edge_indexes(len(lines), _EDGE):
                if line in seen:
                    dropped.add(index)
                seen.add(line)
        kept.append([line for index, line in enumerate(lines) if index not in dropped])
    return kept


def _find_repeated(pages: Sequence[list[str]], needed: int) -> set[str]:
    counts: Counter[str] = Counter()
    for lines in pages:
        counts.update({lines[index] for index in _edge_indexes(len(lines), _EDGE) if len(lines[index]) <= _LONGEST})
    return {line for line, count in counts.items() if count >= needed}


def _find_counting(pages: Sequence[list[str]], needed: int) -> set[int]:
    """Differences between a number at a page's edge and the page's place that hold on enough pages."""
    counts: Counter[int] = Counter()
    for number, lines in enumerate(pages):
        found = (_read_number(lines[index]) for index in _edge_indexes(len(lines), _NUMBER_EDGE))
        counts.update({value - number for value in found if value is not None})
    return {offset for offset, count in counts.items() if count >= needed}


def _edge_indexes(count: int, edge: int) -> set[int]:
    return set(range(min(edge, count))) | set(range(max(0, count - edge), count))


def _read_number(line: str) -> int | None:
    found = _PAGE_NUMBER.fullmatch(line) if len(line) <= 30 else None
    if found is None:
        return None
    return next(_numbers(found), None)


def _numbers(found: re.Match[str]) -> Iterator[int]:
    return (int(value) for value in found.groups() if value)
