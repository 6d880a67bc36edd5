"""Headings of a PDF without an outline: short lines that are set larger than the body, or bold where the body is not.

Careful rather than complete: a body line taken for a heading would stand above every chunk after it, a heading that is
missed costs a little context.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace

from ingest.loaders.pdf_columns import Box, Line
from ingest.loaders.pdf_outline import Bookmark
from kb.tokens import HAN

_BOLD = re.compile(r"bold|black|heavy|semib|demi|simhei|黑体|-W[6-9]\b", re.IGNORECASE)
_LEAST_BODY = 400  # characters of the body's size, so that it can be told what the body is
_LEAST_SHARE = 0.5  # of all characters
_LARGER = 1.15
_MOST_HEADINGS = 0.15  # of the lines: where more are large or bold, that is no sign of a heading
_LONGEST = 90  # ASCII characters; a Han character counts as two
_MOST_LINES = 3  # of one heading
_LEVELS = 4
_MOST_LEADING = 0.6  # between the lines of one heading, of their height
_AS_LARGE = 0.95
_MOST_FIGURES = 0.25  # digits for each letter: addresses, dates and rows have more
_NO_TITLE = re.compile(
    r"^[a-z(（•●■◆·*\-–—]"  # the middle of a sentence, a list
    r"|[.。,，;；:：、!！\-\u00ad]$|[.。!！?？]\s+\w|[。！？]\S"  # a sentence, more than one
    r"|\.{4,}|…{2,}|@|https?://|[$%￥]|\d{5}$"  # a table of contents, an address, an amount
)


def find_headings(pages: Sequence[Sequence[Line]]) -> tuple[list[list[Line]], list[Bookmark]]:
    """The pages with the lines of each heading as one line, and the headings in reading order; none where sizes and
    weights do not tell them clearly."""
    body = _find_body([line for page in pages for line in page])
    runs = [[(run, body is not None and _is_heading(run, body)) for run in _iter_runs(page)] for page in pages]
    found = [(number, run) for number, page in enumerate(runs) for run, is_heading in page if is_heading]
    if not found or sum(len(run) for _, run in found) > _MOST_HEADINGS * sum(map(len, pages)):
        return [list(page) for page in pages], []
    sizes = sorted({_round_size(run[0]) for _, run in found}, reverse=True)
    levels = {size: min(level, _LEVELS) for level, size in enumerate(sizes, start=1)}
    bookmarks = [
        Bookmark(level=levels[_round_size(run[0])], title=_join_text(run), page=number) for number, run in found
    ]
    return [
        [line for run, is_heading in page for line in ([_join_run(run)] if is_heading else run)] for page in runs
    ], bookmarks


def _find_body(lines: Sequence[Line]) -> tuple[float, bool] | None:
    """Height of the body's lines, and whether it is bold; None when no one size carries the text."""
    counts: Counter[tuple[float, bool]] = Counter()
    for line in lines:
        counts[_round_size(line), _is_bold(line)] += len(line.text)
    if not counts:
        return None
    body, count = counts.most_common(1)[0]
    return body if count >= max(_LEAST_BODY, _LEAST_SHARE * counts.total()) else None


def _iter_runs(page: Sequence[Line]) -> Iterator[list[Line]]:
    """Neighbouring lines of one size and font, close below each other."""
    run: list[Line] = []
    for line in page:
        if run and not _goes_with(run[-1], line):
            yield run
            run = []
        run.append(line)
    if run:
        yield run


def _goes_with(above: Line, line: Line) -> bool:
    gap = above.box.bottom - line.box.top
    same = (above.font, above.column) == (line.font, line.column) and _round_size(above) == _round_size(line)
    return same and -line.height < gap < _MOST_LEADING * line.height


def _is_heading(run: Sequence[Line], body: tuple[float, bool]) -> bool:
    size, bold = _round_size(run[0]), _is_bold(run[0])
    is_larger = size >= _LARGER * body[0] and run[0].font != ""
    if not is_larger and not (bold and not body[1] and size >= _AS_LARGE * body[0]):
        return False
    text = _join_text(run)
    letters, figures = sum(map(str.isalpha, text)), sum(map(str.isdigit, text))
    return (
        len(run) <= _MOST_LINES
        and (len(text) + len(text.encode())) // 2 <= _LONGEST
        and letters >= 2
        and letters * 2 >= len(text.replace(" ", ""))
        and figures <= _MOST_FIGURES * letters
        and not _NO_TITLE.search(text)
    )


def _join_text(run: Sequence[Line]) -> str:
    text = run[0].text
    for line in run[1:]:
        closely = HAN.match(text[-1]) or HAN.match(line.text)
        text = text.removesuffix("\u00ad") + ("" if closely or text.endswith("\u00ad") else " ") + line.text
    return text


def _join_run(run: Sequence[Line]) -> Line:
    boxes = [line.box for line in run]
    box = Box(
        min(box.left for box in boxes),
        min(box.bottom for box in boxes),
        max(box.right for box in boxes),
        max(box.top for box in boxes),
    )
    return replace(run[0], text=_join_text(run), box=box)


def _round_size(line: Line) -> float:
    return round(line.height * 2) / 2


def _is_bold(line: Line) -> bool:
    return _BOLD.search(line.font) is not None
