"""Where a text may be cut: the numpy half of `ingest/boundaries.py`, one stretch of the text at a time.

A stretch ends at a line break and is short enough for its arrays to stay in the processor's cache: over the whole of a
long text the same operations take several times as long. No line and no word lies in two stretches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from ingest.code_points import (
    ASCII_WORD,
    CLAUSE_MARK,
    CLOSER,
    COMMA_MARK,
    EXTEND,
    SPACE,
    Classes,
    CodedText,
    Flags,
    Ints,
)
from ingest.line_breaks import LineWidths, measure_lines

STRETCH = 1 << 17  # characters
LINE_FEED = 0x0A
WHITE = re.compile(r"\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuts:
    """Places where a text may be cut, and its lines that are not empty, in order."""

    places: Ints  # offsets, the text's end left out
    blank: Flags  # for each place: whether white space follows
    coarse: Flags  # for each place: whether it is more than the border of a word
    feeds: Ints  # offsets of the line breaks
    lines: LineWidths


def find_cuts(text: str, coded: CodedText, kept: Ints, longest: int, whole: int) -> Cuts:
    """Cuts at `kept`, at white space, behind marks, and each few characters in words of more than `longest`.

    Coarse are those at `kept` and at the edges of white space with a line break or one of `kept` in it. What lies
    between two of these and has at most `whole` characters is not cut, however many words it has.
    """
    parts = []
    for start, end in find_stretches(text):
        first, last = np.searchsorted(kept, [start, end])
        parts.append((start, cut_stretch(coded.cut_out(start, end), kept[first:last] - start, longest, whole)))
    return Cuts(
        places=np.concatenate([start + part.places for start, part in parts]),
        blank=np.concatenate([part.blank for _, part in parts]),
        coarse=np.concatenate([part.coarse for _, part in parts]),
        feeds=np.concatenate([start + part.feeds for start, part in parts]),
        lines=LineWidths(
            whole=np.concatenate([part.lines.whole for _, part in parts]),
            first_words=np.concatenate([part.lines.first_words for _, part in parts]),
        ),
    )


def find_stretches(text: str) -> Iterator[tuple[int, int]]:
    """Offsets of at least one stretch, of at least STRETCH characters each, up to the first word of a line."""
    start, end = 0, -1
    while end < len(text):
        feed = text.find("\n", start + STRETCH)
        white = WHITE.match(text, feed) if feed >= 0 else None
        end = white.end() if white else len(text)
        yield start, end
        start = end


def cut_stretch(text: CodedText, kept: Ints, longest: int, whole: int) -> Cuts:
    """The cuts of one stretch; all offsets count from where it begins."""
    codes, classes, size = text.codes, text.classes, len(text.codes)
    space = classes == SPACE
    feeds = np.flatnonzero(codes == LINE_FEED)
    edges = np.concatenate((kept, [0, size]))
    cut = np.zeros(size + 1, dtype=bool)
    np.not_equal(space[1:], space[:-1], out=cut[1:size])
    cut[find_mark_ends(classes)] = True
    cut[edges] = True
    words = add_hard_cuts(cut, text, longest)
    coarse = find_coarse(words, edges, space, feeds)
    chosen = coarse | find_inside_long(words, coarse, whole)
    cuts, coarse = words[chosen], coarse[chosen]
    starts, blank = cuts[:-1], space[cuts[:-1]]
    lines = measure_lines(codes, starts[~blank], cuts[1:][~blank], feeds, words)
    return Cuts(
        places=starts,
        blank=blank,
        coarse=coarse[:-1],
        feeds=feeds,
        lines=lines,
    )


def find_mark_ends(classes: Classes) -> Ints:
    """Offsets behind commas and clause marks and one closing quote; not where more marks follow, nor in "1,000"."""
    marks = np.flatnonzero((classes == COMMA_MARK) | (classes == CLAUSE_MARK))
    marks = marks[marks + 1 < len(classes)]
    ends = marks + 1 + (classes[marks + 1] == CLOSER)
    ends = ends[ends < len(classes)]
    follows = classes[ends]
    found: Ints = ends[(follows < COMMA_MARK) | (follows > ASCII_WORD)]
    return found


def find_marks_before(classes: Classes, places: Ints) -> Classes:
    """Class of the comma or clause mark that ends at each place, a closing quote behind it included; 0 elsewhere."""
    last = classes[places - 1]
    before = np.where((last == CLOSER) & (places > 1), classes[np.maximum(places - 2, 0)], last)
    return np.where((before == COMMA_MARK) | (before == CLAUSE_MARK), before, 0).astype(np.uint8)


def find_coarse(cuts: Ints, kept: Ints, space: Flags, feeds: Ints) -> Flags:
    """Which of `cuts` are coarse, shape (len(cuts),): the `kept`, and both edges of white space with one of those or a
    line break in it."""
    coarse = np.zeros(len(cuts), dtype=bool)
    at = np.searchsorted(cuts, kept)
    coarse[at] = True
    around = np.concatenate((at, at - 1, np.searchsorted(cuts, feeds, side="right") - 1))  # what those may touch
    around = around[(around >= 0) & (around < len(cuts) - 1)]
    blank = around[space[cuts[around]]]
    coarse[blank] = True
    coarse[blank + 1] = True
    return coarse


def find_inside_long(cuts: Ints, coarse: Flags, whole: int) -> Flags:
    """Which of `cuts`, in characters or any running measure, lie in what is longer than `whole` between coarse ones."""
    edges = np.flatnonzero(coarse)
    inside = np.zeros(len(cuts), dtype=bool)
    inside[:-1] = np.repeat(np.diff(cuts[edges]) > whole, np.diff(edges))
    return inside


def add_hard_cuts(cut: Flags, text: CodedText, longest: int) -> Ints:
    """Offsets of all cuts, with new ones in words longer than `longest` characters.

    These are cut each `longest // 4` characters, before no combining mark if that can be had.
    """
    codes, classes = text.codes, text.classes
    cuts = np.flatnonzero(cut)
    step = max(1, longest // 4)
    long = np.flatnonzero(np.diff(cuts) > longest)
    long = long[classes[cuts[long]] != SPACE]
    if not len(long):
        return cuts
    places = np.concatenate([np.arange(cuts[word] + step, cuts[word + 1], step) for word in long])
    if step > 1:
        here, before = codes[places].astype(np.uint32), codes[places - 1].astype(np.uint32)
        extends = (classes[places] == EXTEND) | ((here >= 0x1F3FB) & (here <= 0x1F3FF)) | (before == 0x200D)
        piled = (classes[places - 1] == EXTEND) & (classes[np.maximum(places - 2, 0)] == EXTEND)
        places = np.where(extends & ~piled, places - 1, places)
    cut[places] = True
    return np.flatnonzero(cut)
