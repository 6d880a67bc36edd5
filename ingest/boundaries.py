"""Where a text may be cut, and how good each place is.

Everything here is one pass over the text, in `re` or numpy, so that cost is linear whatever the text. The text falls
into *spans* free of white space; each carries the rank of the border before it. Which marks end a sentence says
`ingest/sentence_ends.py`, which line breaks do `ingest/line_breaks.py`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ingest.blocks import BlockKind, find_blocks
from ingest.line_breaks import find_line_ends
from ingest.sentence_ends import CLOSERS, find_sentence_ends

Ints = NDArray[np.int64]


class Rank(IntEnum):
    """How good a border is; higher is better. Units (sentences, rows, items) begin at SENTENCE and above."""

    KEEP = 0  # between a heading and what follows: only ever cut when the budget leaves no choice
    HARD = 1  # inside a word
    WORD = 2  # white space
    COMMA = 3
    CLAUSE = 4
    LINE = 5  # a single line break that may only wrap a line
    SENTENCE = 6  # also a line that is one by itself
    ITEM = 7  # a list item, a table, a fence, a sentence that ends its line
    PARAGRAPH = 8
    HEADING = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Spans:
    """The white-space-free stretches of a text, in order; arrays of equal length."""

    starts: Ints
    ends: Ints
    ranks: NDArray[np.int8]  # of the border before each span
    breaks: NDArray[np.bool_]  # whether a line break lies there
    cuts: Ints  # every cut, 0 and len(text) included: what a counter is asked with
    at: Ints  # index into cuts of each span's start; its end is the next cut
    codes: NDArray[np.uint32]  # the text's code points


HEADING_LINE = re.compile(r"^[ \t]*#{1,6}[ \t][^\n]*(?:\n|\Z)", re.MULTILINE)
LINE_FEED, INDENT = 0x0A, 0x3000
SPACE, COMMA_MARK, CLAUSE_MARK, CLOSER, ASCII_WORD, EXTEND = 1, 2, 3, 4, 5, 6


@cache
def build_class_table() -> NDArray[np.uint8]:
    """Class of each BMP code point, 0 where none."""
    table = np.zeros(0x10000, dtype=np.uint8)
    for code in range(0x10000):
        if chr(code).isspace():
            table[code] = SPACE
    for letters, kind in ((",，、､", COMMA_MARK), (";；:：—", CLAUSE_MARK), (CLOSERS.replace("\\", ""), CLOSER)):
        table[[ord(letter) for letter in letters]] = kind
    for first, last in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)):
        table[first : last + 1] = ASCII_WORD
    for first, last in ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x200D, 0x200D), (0x20D0, 0x20FF)):
        table[first : last + 1] = EXTEND
    table[0xFE00:0xFE10] = EXTEND
    table[0xFE20:0xFE30] = EXTEND
    return table


def read_codes(text: str) -> NDArray[np.uint32]:
    """Code points of `text`, shape (len(text),)."""
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Offsets `[start, end)` of each sentence in order, white space left out; together they hold all other text.

    A heading, a list item, a table row, a fenced block of code is a sentence of its own, whatever marks it bears.
    """
    if not text.strip():
        return []
    spans = find_spans(text, [], len(text), len(text))
    begins = spans.ranks >= Rank.SENTENCE
    for block in find_blocks(text):
        first, last = np.searchsorted(spans.starts, [block.start, block.end])
        if block.kind is not BlockKind.ITEM:
            begins[first:last] = spans.breaks[first:last] if block.kind is BlockKind.TABLE else False
            begins[last : last + 1] = True
        begins[first : first + 1] = True
    for heading in HEADING_LINE.finditer(text):
        for edge in np.searchsorted(spans.starts, heading.span()):
            begins[edge : edge + 1] = True
    firsts = np.flatnonzero(begins)
    lasts = np.append(firsts[1:], len(begins)) - 1
    return list(zip(spans.starts[firsts].tolist(), spans.ends[lasts].tolist(), strict=True))


def find_spans(text: str, extra: list[int], longest: int, whole: int = 0) -> Spans:
    """Spans of `text`, with cuts at `extra` too, and hard cuts in runs longer than `longest` characters.

    Stretches between line breaks, sentence ends and `extra` that have at most `whole` characters are a span each, white
    space inside included: words are many, and few sentences need to be cut.
    """
    codes = read_codes(text)
    size = len(codes)
    kinds = build_class_table()[np.minimum(codes, 0xFFFF)]
    space = kinds == SPACE
    marks = find_marks(kinds)
    feeds = np.flatnonzero(codes == LINE_FEED)
    sentence_ends = np.array(find_sentence_ends(text), dtype=np.int64)
    cut = np.zeros(size + 1, dtype=bool)
    cut[[0, size]] = True
    cut[sentence_ends] = True
    cut[extra] = True
    coarse = cut.copy()
    cut[1:size] |= space[1:] != space[:-1]
    cut[1:size] |= ends_of_marks(kinds, marks)
    add_hard_cuts(cut, codes, kinds, longest)
    words = cuts = np.flatnonzero(cut)
    if whole:
        cuts = words[choose_cuts(words, coarse, space, feeds, whole)]
    at = np.flatnonzero(~space[cuts[:-1]])
    starts, ends = cuts[at], cuts[at + 1]
    lines = np.searchsorted(feeds, starts)
    ranks = rank_gaps(codes, marks, starts, ends, lines)
    line_ends = find_line_ends(codes, starts, ends, lines, words)
    ranks[line_ends] = np.maximum(ranks[line_ends], Rank.SENTENCE)
    found = np.searchsorted(starts, sentence_ends)
    found = found[found < len(starts)]
    breaks = np.diff(lines, prepend=0) > 0
    ranks[found] = np.maximum(ranks[found], np.where(breaks[found], Rank.ITEM, Rank.SENTENCE))
    return Spans(starts=starts, ends=ends, ranks=ranks, breaks=breaks, cuts=cuts, at=at, codes=codes)


def choose_cuts(
    cuts: Ints, coarse: NDArray[np.bool_], space: NDArray[np.bool_], feeds: Ints, whole: int
) -> NDArray[np.bool_]:
    """Which of `cuts` stay when stretches of `whole` characters do, shape (len(cuts),): the coarse ones, both edges of
    white space with a line break in it or a coarse cut at it, and all others in longer stretches between those."""
    stay = coarse[cuts]
    blank = space[cuts[:-1]]
    broken = np.diff(np.searchsorted(feeds, cuts)) > 0
    edges = blank & (broken | stay[:-1] | stay[1:])
    stay[:-1] |= edges
    stay[1:] |= edges
    kept = np.flatnonzero(stay)
    long = np.diff(cuts[kept]) > whole
    stay[:-1] |= np.repeat(long, np.diff(kept))
    return stay


def find_marks(kinds: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Rank a mark gives the border behind it, closing quotes that follow it included; 0 elsewhere."""
    table = np.zeros(256, dtype=np.uint8)
    table[COMMA_MARK], table[CLAUSE_MARK] = Rank.COMMA, Rank.CLAUSE
    marks = table[kinds]
    closing = (kinds[1:] == CLOSER) & (marks[:-1] > 0)
    marks[1:][closing] = marks[:-1][closing]
    return marks


def ends_of_marks(kinds: NDArray[np.uint8], marks: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """For each inner offset 1 … n-1: a mark ends there and no mark, no closer, no "1,000" or "a:b" goes on."""
    follows, before = kinds[1:], marks[:-1] > 0
    ends: NDArray[np.bool_] = before & (marks[1:] == 0) & (follows != CLOSER) & (follows != ASCII_WORD)
    return ends


def add_hard_cuts(cut: NDArray[np.bool_], codes: NDArray[np.uint32], kinds: NDArray[np.uint8], longest: int) -> None:
    """Cut runs longer than `longest` characters each `longest // 4`, before no combining mark if that can be had."""
    cuts = np.flatnonzero(cut)
    step = max(1, longest // 4)
    runs = np.flatnonzero(np.diff(cuts) > longest)
    if not len(runs):
        return
    places = np.concatenate([np.arange(cuts[run] + step, cuts[run + 1], step) for run in runs])
    if step > 1:
        astral = codes[places]
        extends = (
            (kinds[places] == EXTEND) | ((astral >= 0x1F3FB) & (astral <= 0x1F3FF)) | (codes[places - 1] == 0x200D)
        )
        piled = (kinds[places - 1] == EXTEND) & (kinds[np.maximum(places - 2, 0)] == EXTEND)
        places = np.where(extends & ~piled, places - 1, places)
    cut[places] = True


def rank_gaps(
    codes: NDArray[np.uint32], marks: NDArray[np.uint8], starts: Ints, ends: Ints, lines: Ints
) -> NDArray[np.int8]:
    """Rank of the border before each span by what lies between it and the one before; `lines`: which it is on."""
    ranks = np.full(len(starts), Rank.HARD, dtype=np.int8)
    if not len(starts):
        return ranks
    ranks[0] = Rank.PARAGRAPH
    count = np.diff(lines)
    gap = starts[1:] > ends[:-1]
    inner = np.maximum(np.where(gap, Rank.WORD, Rank.HARD), marks[ends[:-1] - 1])
    inner = np.where(count == 1, Rank.LINE, inner)
    indented = (count == 1) & (codes[starts[1:] - 1] == INDENT)  # a Chinese first-line indent begins a paragraph
    ranks[1:] = np.where((count > 1) | indented, Rank.PARAGRAPH, inner)
    return ranks
