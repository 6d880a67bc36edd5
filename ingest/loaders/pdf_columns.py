"""Columns of a PDF page: where they stand, in which order they are read, and which of their lines are full.

A page is set in columns when an empty strip runs down between stretches of full lines that are equally wide: rows of
tables, forms and captions beside pictures are ragged, so they keep the order they are drawn in. Most programs draw one
column after the other; only where a page is drawn across its columns, or a later column first, are its lines put into
order here. All lengths are points, x to the right, y upwards.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise
from operator import neg
from statistics import median
from typing import NamedTuple

_BUCKET = 2.0
_NARROWEST_GUTTER = 3  # buckets
LEAST_GUTTER = _NARROWEST_GUTTER * _BUCKET
_MOST_ACROSS = 0.3  # of the text that stands beside a gutter may run across it: titles, tables, pictures
_EDGE = 3  # buckets within which the left edge of a column rises
_LEAST_EDGE = 0.7  # of the usual text that stands above each other
_LEAST_RECTS = 16
_LEAST_LINES = 6  # of a column
_LEAST_FULL = 0.5  # of the lines of a column reach its right edge
_FULL = 0.8
_MOST_UNEQUAL = 1.25  # the widest column as a multiple of the narrowest
_LEAST_BESIDE = 0.3  # of the height of the lower of two columns
_MOST_COLUMNS = 4
_WIDEST = 15_000  # no page is wider than 14,400; what stands farther out would be counted bucket by bucket
SLACK = 2.0  # glyphs reach over the edge of their column
_WRONG_TURNS = 0.3  # changes of column, as a share of the lines, of a page that is drawn across its columns
_SAME_FONT = 0.87  # heights that differ more are of another size
_NEW_PARAGRAPH = 0.9  # after a sentence end the next line begins anew; within one it runs on
_FITTED = 0.7  # the next word would have fitted: only what begins in lower case runs on
_INDENT = 0.7  # of a line's height


class Box(NamedTuple):
    left: float
    bottom: float
    right: float
    top: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Line:
    """One line as a reader sees it. `font` is empty where the line ends in another font or size than it begins in.
    `column` counts from 0; None: it runs across columns, or the page has none."""

    text: str
    box: Box
    font: str = ""
    column: int | None = None

    @property
    def height(self) -> float:
        return self.box.top - self.box.bottom


@dataclass(frozen=True, kw_only=True, slots=True)
class Strip:
    """A stretch of the page from left to right."""

    left: float
    right: float

    @property
    def width(self) -> float:
        return self.right - self.left

    def holds(self, box: Box) -> bool:
        return box.left >= self.left - SLACK and box.right <= self.right + SLACK


def find_gutters(rects: Sequence[Box]) -> list[Strip]:
    """Strips between what may be columns, from left to right, each ending where the column at its right begins; `rects`
    are the stretches of text of a page."""
    if len(rects) < _LEAST_RECTS:
        return []
    left, right = min(rect.left for rect in rects), max(rect.right for rect in rects)
    if right - left > _WIDEST:
        return []
    cover = _measure_cover(rects, left, right)
    usual = median(count for count in cover if count)
    most = _MOST_ACROSS * usual
    gutters, first = [], 0
    for index, count in enumerate([*cover, len(rects)]):
        if count <= most:
            continue
        begins = max(cover[index : index + _EDGE], default=0) >= _LEAST_EDGE * usual
        if index - first >= _NARROWEST_GUTTER and first > 0 and begins:
            gutters.append(Strip(left=left + first * _BUCKET, right=left + index * _BUCKET))
        first = index + 1
    return gutters if len(gutters) < _MOST_COLUMNS else []


def place_lines(lines: Sequence[Line], gutters: Sequence[Strip]) -> list[Line] | None:
    """The lines with their columns, in reading order; None when they are not set in columns after all."""
    inner = [gutter.right for gutter in gutters]
    edges = [min(line.box.left for line in lines), *inner, max(line.box.right for line in lines)]
    strips = [Strip(left=left, right=right) for left, right in pairwise(edges)]
    placed = [replace(line, column=_find_strip(strips, line.box)) for line in lines]
    columns = [[line for line in placed if line.column == number] for number in range(len(strips))]
    if not all(map(_is_set, columns)) or not _stand_beside(columns):
        return None
    return _sort_lines(placed, len(strips)) if _is_drawn_wrong(placed) else placed


def measure_fills(lines: Sequence[Line]) -> list[float]:
    """How far each line of a page in columns fills its column: 1 where the next word would not have fitted, else the
    share of the width it takes; -1 where the line after it is no part of the same text."""
    strips = {
        column: _find_edges([line for line in lines if line.column == column])
        for column in {line.column for line in lines}
    }
    return [_measure_fill(line, after, strips) for line, after in pairwise(lines)]


def _measure_cover(rects: Sequence[Box], left: float, right: float) -> list[int]:
    steps = [0] * (int((right - left) / _BUCKET) + 2)
    for rect in rects:
        steps[int((rect.left - left) / _BUCKET)] += 1
        steps[int((rect.right - left) / _BUCKET) + 1] -= 1
    cover, count = [], 0
    for step in steps[:-1]:
        count += step
        cover.append(count)
    return cover


def _find_strip(strips: Sequence[Strip], box: Box) -> int | None:
    return next((number for number, strip in enumerate(strips) if strip.holds(box)), None)


def _is_set(lines: Sequence[Line]) -> bool:
    """Whether these are lines of running text: most of them full."""
    if len(lines) < _LEAST_LINES:
        return False
    edges = _find_edges(lines)
    full = sum(line.box.right - edges.left >= _FULL * edges.width for line in lines)
    return full >= _LEAST_FULL * len(lines)


def _stand_beside(columns: Sequence[Sequence[Line]]) -> bool:
    widths = [_find_edges(lines).width for lines in columns]
    if max(widths) > _MOST_UNEQUAL * min(widths):
        return False
    spans = [(min(line.box.bottom for line in lines), max(line.box.top for line in lines)) for lines in columns]
    return all(
        min(one[1], two[1]) - max(one[0], two[0]) >= _LEAST_BESIDE * min(one[1] - one[0], two[1] - two[0])
        for one, two in pairwise(spans)
    )


def _is_drawn_wrong(lines: Sequence[Line]) -> bool:
    """Whether the page is drawn across its columns, or most of a later column before an earlier one."""
    drawn = [line.column for line in lines if line.column is not None]
    turns = sum(one != two for one, two in pairwise(drawn))
    if turns > max(len(set(drawn)) * 2, _WRONG_TURNS * len(drawn)):
        return True
    centres = [
        sum(index for index, column in enumerate(drawn) if column == number) / drawn.count(number)
        for number in sorted(set(drawn))
    ]
    return any(one > two for one, two in pairwise(centres))


def _sort_lines(lines: Sequence[Line], columns: int) -> list[Line]:
    """Down each column in turn; a line across the columns ends them, and what stands below it begins anew."""
    across = sorted((line for line in lines if line.column is None), key=lambda line: -line.box.top)
    reached = list(accumulate((bar.box.top - bar.height / 2 for bar in across), min))
    above: list[list[Line]] = [[] for _ in range(len(across) + 1)]
    for line in lines:
        if line.column is not None:
            above[bisect_left(reached, -line.box.bottom, key=neg)].append(line)
    ordered: list[Line] = []
    for place, stretch in enumerate(above):
        for number in range(columns):
            column = [line for line in stretch if line.column == number]
            ordered += sorted(column, key=lambda line: -line.box.bottom)
        ordered += across[place : place + 1]
    return ordered


def _find_edges(lines: Sequence[Line]) -> Strip:
    """The edges of a column's text; the few lines that stand farther out, as titles do, do not move them."""
    lefts, rights = sorted(line.box.left for line in lines), sorted(line.box.right for line in lines)
    few = len(lines) // 10
    return Strip(left=lefts[few], right=rights[-1 - few])


def _measure_fill(line: Line, after: Line, strips: dict[int | None, Strip]) -> float:
    likeness = min(line.height, after.height) / (max(line.height, after.height) or 1.0)
    if (line.column is None) != (after.column is None) or likeness < (_SAME_FONT if line.font == after.font else 0.7):
        return -1.0
    strip = strips[line.column]
    share = (line.box.right - strip.left) / strip.width if strip.width > 0 else 0.0
    letter = (after.box.right - after.box.left) / max(1, len(after.text))
    word = len(after.text.split(maxsplit=1)[0]) + 1
    full = 1.0 if line.box.right + word * letter > strip.right + SLACK / 2 else min(share, _FITTED)
    is_indented = after.box.left > strips[after.column].left + _INDENT * after.height
    is_apart = line.column == after.column and line.box.bottom - after.box.top > after.height
    return min(full, _NEW_PARAGRAPH) if is_indented or is_apart else full
