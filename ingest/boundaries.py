"""Where a text may be cut, and how good each place is.

Everything here is one pass over the text, in `re` or numpy, so that cost is linear whatever the text. The text falls
into *spans* free of white space; each carries the rank of the border before it. Which marks end a sentence says
`ingest/sentence_ends.py` (and `ingest/plain_marks.py` of all plain ones at once), which line breaks do
`ingest/line_breaks.py`; `ingest/cuts.py` finds white space and the marks inside sentences.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from ingest.blocks import BlockKind, find_blocks
from ingest.code_points import CodedText, Flags, Ints, code_text
from ingest.cuts import Cuts, find_cuts, find_marks_before
from ingest.line_breaks import find_line_ends
from ingest.plain_marks import OPEN, QUOTE, YES, judge_marks
from ingest.sentence_ends import find_ends, goes_on


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
    opens: Ints  # index into the borders' cuts of each span's start
    closes: Ints  # and of its end


@dataclass(frozen=True, kw_only=True, slots=True)
class Borders:
    """All places where a text may be cut."""

    coded: CodedText
    sentence_ends: Ints
    found: Cuts
    cuts: Ints  # offsets in order, 0 and the text's length included: what a counter is asked with


HEADING_LINE = re.compile(r"^[ \t]*#{1,6}[ \t][^\n]*(?:\n|\Z)", re.MULTILINE)
INDENT = 0x3000
MARK_RANKS = np.array([0, 0, Rank.COMMA, Rank.CLAUSE], dtype=np.int8)  # by the mark's class


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Offsets `[start, end)` of each sentence in order, white space left out; together they hold all other text.

    A heading, a list item, a table row, a fenced block of code is a sentence of its own, whatever marks it bears.
    """
    if not text.strip():
        return []
    borders = find_borders(text, [], len(text), len(text))
    spans = choose_spans(borders, borders.found.coarse)
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


def find_borders(text: str, extra: Sequence[int], longest: int, whole: int = 0) -> Borders:
    """Borders of `text`, at `extra` too, and hard ones in words longer than `longest` characters.

    Words have no borders where they lie between line breaks, sentence ends and `extra` that are at most `whole`
    characters apart: words are many, and few sentences need to be cut.
    """
    coded = code_text(text)
    sentence_ends = find_sentence_ends(text, coded)
    kept = np.sort(np.concatenate((sentence_ends, np.array([0, *extra, len(text)], dtype=np.int64))))
    found = find_cuts(text, coded, kept, longest, whole)
    cuts = np.append(found.places, len(text))
    return Borders(coded=coded, sentence_ends=sentence_ends, found=found, cuts=cuts)


def choose_spans(borders: Borders, which: Flags) -> Spans:
    """The spans between those of the cuts that `which` says, the coarse ones among them."""
    codes, found, cuts = borders.coded.codes, borders.found, borders.cuts
    chosen = np.flatnonzero(which)
    behind = np.append(chosen, len(which))[1:]
    filled = ~found.blank[chosen]
    opens, closes = chosen[filled], behind[filled]
    starts, ends = cuts[opens], cuts[closes]
    lines = np.searchsorted(found.feeds, starts)
    ranks = rank_gaps(borders.coded, starts, ends, lines)
    line_ends = find_line_ends(codes, starts, ends, lines, found.lines)
    ranks[line_ends] = np.maximum(ranks[line_ends], Rank.SENTENCE)
    last = np.searchsorted(starts, borders.sentence_ends)
    last = last[last < len(starts)]
    breaks = np.diff(lines, prepend=0) > 0
    ranks[last] = np.maximum(ranks[last], np.where(breaks[last], Rank.ITEM, Rank.SENTENCE))
    return Spans(starts=starts, ends=ends, ranks=ranks, breaks=breaks, opens=opens, closes=closes)


def find_sentence_ends(text: str, coded: CodedText) -> Ints:
    """Offsets just behind each sentence's last mark, closing quotes and brackets included, in order."""
    plain = judge_marks(coded)
    asked = plain.ends[plain.verdicts == QUOTE].tolist()
    quoted = [end for end in asked if not goes_on(text, end)]
    others = list(find_ends(text, plain.places[plain.verdicts == OPEN].tolist()))
    told = plain.ends[plain.verdicts == YES]
    return np.sort(np.concatenate((told, np.array(quoted + others, dtype=np.int64))))


def rank_gaps(coded: CodedText, starts: Ints, ends: Ints, lines: Ints) -> NDArray[np.int8]:
    """Rank of the border before each span by what lies between it and the one before; `lines`: which it is on."""
    ranks = np.full(len(starts), Rank.HARD, dtype=np.int8)
    if not len(starts):
        return ranks
    ranks[0] = Rank.PARAGRAPH
    count = np.diff(lines)
    gap = starts[1:] > ends[:-1]
    inner = np.maximum(np.where(gap, Rank.WORD, Rank.HARD), MARK_RANKS[find_marks_before(coded.classes, ends[:-1])])
    inner = np.where(count == 1, Rank.LINE, inner)
    indented = (count == 1) & (coded.codes[starts[1:] - 1] == INDENT)  # a Chinese first-line indent begins a paragraph
    ranks[1:] = np.where((count > 1) | indented, Rank.PARAGRAPH, inner)
    return ranks
