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
_LEAST_LETTERS = 8  # of a line that repeats but for its numbers
_MOST_DIGITS = 6
_DIGITS = re.compile(r"\d+")
_OUTER_NUMBER = re.compile(r"^(?:#\s+)+|(?:\s+#)+$")
_PAGE_NUMBER = re.compile(
    r"[-–—~\s]*(?:(?P<bare>\d{1,4})|第\s*(?P<zh>\d{1,4})\s*页(?:\s*[,，/]?\s*共\s*\d+\s*页)?"
    r"|(?P<of>\d{1,4})\s*/\s*\d{1,4}|(?:Page|PAGE|page)\s+(?P<en>\d{1,4})(?:\s+of\s+\d{1,4})?)[-–—~\s]*"
)


def find_furniture(pages: Sequence[Sequence[str]], in_columns: Sequence[bool]) -> list[set[int]]:
    """Of each page the indexes of the lines that are furniture.

    A line goes when it stands word for word at the edge of many pages (the first time it is kept: it may be the title),
    or when it is a bare number that counts up with the pages. On pages in columns, where it would come between the end
    of one column and the next, a repeated line goes even when it holds such a number.
    """
    if len(pages) < _LEAST_PAGES:
        return [set() for _ in pages]
    needed = max(_LEAST_PAGES, round(_LEAST_SHARE * len(pages)))
    repeated = _find_repeated(pages, needed)
    offsets = _find_counting(pages, needed)
    templates = _find_templates(pages, needed)
    seen: set[str] = set()
    furniture = []
    for number, lines in enumerate(pages):
        dropped: set[int] = set()
        for index in _edge_indexes(len(lines), _NUMBER_EDGE):
            line = lines[index]
            if _read_number(line) is not None:
                if _read_number(line) in {number + offset for offset in offsets}:
                    dropped.add(index)
            elif index not in _edge_indexes(len(lines), _EDGE):
                continue
            elif (key := line) in repeated or (
                in_columns[number] and any((key := name) in templates for name in _iter_templates(line, number))
            ):
                if key in seen:
                    dropped.add(index)
                seen.add(key)
        furniture.append(dropped)
    return furniture


def _find_templates(pages: Sequence[Sequence[str]], needed: int) -> set[str]:
    """Lines with a number that keeps in step with the pages on enough of them, as `_iter_templates` writes them."""
    counts: Counter[str] = Counter()
    for number, lines in enumerate(pages):
        edge = (lines[index] for index in _edge_indexes(len(lines), _EDGE))
        counts.update({template for line in edge for template in _iter_templates(line, number)})
    return {template for template, count in counts.items() if count >= needed}


def _iter_templates(line: str, page: int) -> Iterator[str]:
    """The line without its figures, once for each number in it with what that number is ahead of the page: "Report – 7"
    on page 4 is "Report –+3". Numbers at either end are left out whole, for they change sides from page to page."""
    if len(line) > _LONGEST or sum(map(str.isalpha, line)) < _LEAST_LETTERS:
        return
    words = _OUTER_NUMBER.sub("", _DIGITS.sub("#", line)).strip()
    for value in set(_DIGITS.findall(line)):
        if len(value) <= _MOST_DIGITS:
            yield f"{words}{int(value) - page:+d}"


def _find_repeated(pages: Sequence[Sequence[str]], needed: int) -> set[str]:
    counts: Counter[str] = Counter()
    for lines in pages:
        counts.update({lines[index] for index in _edge_indexes(len(lines), _EDGE) if len(lines[index]) <= _LONGEST})
    return {line for line, count in counts.items() if count >= needed}


def _find_counting(pages: Sequence[Sequence[str]], needed: int) -> set[int]:
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
