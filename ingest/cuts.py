"""Where a text may be cut: the numpy half of `ingest/boundaries.py`, one stretch of the text at a time.

A stretch ends at a line break and is short enough for its arrays to stay in the processor's cache: over the whole of a
long text the same operations take several times as long. No line and no word lies in two stretches.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.code_points import ASCII_WORD, CLAUSE_MARK, CLOSER, COMMA_MARK, EXTEND, SPACE, Classes, CodedText, Flags
from ingest.line_breaks import LineWidths, measure_lines

Ints = NDArray[np.int64]

STRETCH = 1 << 17  # characters
LINE_FEED = 0x0A
WHITE = re.compile(r"\s*")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cuts:
    """Places where a text may be cut, and its lines that are not empty, in order."""

    places: Ints  # offsets, the text's end left out
    blank: Flags  # for each place: whether white space follows
    marks: Classes  # COMMA_MARK or CLAUSE_MARK where one, with closing quotes, ends at the next place, else 0
    feeds: Ints  # offsets of the line breaks
    lines: LineWidths


def find_cuts(text: str, coded: CodedText, kept: Ints, longest: int, whole: int) -> Cuts:
    """Cuts at `kept`, at white space, behind marks, and each few characters in runs of more than `longest`.

    What lies between two of `kept` or line breaks and has at most `whole` characters is not cut, however many words it
    has; white space at its edges is its own.
    """
    parts = []
    for start, end in find_stretches(text):
        first, last = np.searchsorted(kept, [start, end])
        parts.append((start, cut_stretch(coded.cut_out(start, end), kept[first:last] - start, longest, whole)))
    return Cuts(
        places=np.concatenate([start + part.places for start, part in parts]),
        blank=np.concatenate([part.blank for _, part in parts]),
        marks=np.concatenate([part.marks for _, part in parts]),
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
    stay = np.zeros(size + 1, dtype=bool)
    stay[kept] = True
    stay[[0, size]] = True
    cut = stay.copy()
    cut[1:size] |= space[1:] != space[:-1]
    cut[find_mark_ends(classes)] = True
    words = add_hard_cuts(cut, text, longest)
    cuts = words[choose_cuts(words, stay[words], space, feeds, whole)] if whole else words
    starts, blank = cuts[:-1], space[cuts[:-1]]
    lines = measure_lines(codes, starts[~blank], cuts[1:][~blank], feeds, words)
    return Cuts(
        places=starts,
        blank=blank,
        marks=find_marks_before(classes, cuts[1:]),
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


def choose_cuts(cuts: Ints, stay: Flags, space: Flags, feeds: Ints, whole: int) -> Flags:
    """Which of `cuts` are made when stretches of `whole` characters are not cut, shape (len(cuts),).

    Those of `stay`, both edges of white space with a line break or one of `stay` in it, and all others in what is then
    longer than `whole`.
    """
    blank = space[cuts[:-1]]
    broken = np.zeros(len(blank), dtype=bool)
    broken[np.searchsorted(cuts, feeds, side="right") - 1] = True
    edges = blank & (broken | stay[:-1] | stay[1:])
    stay[:-1] |= edges
    stay[1:] |= edges
    kept = np.flatnonzero(stay)
    long = np.diff(cuts[kept]) > whole
    stay[:-1] |= np.repeat(long, np.diff(kept))
    return stay


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
