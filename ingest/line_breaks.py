"""Which single line breaks end a sentence, and which only wrap a long line.

A paragraph whose lines are mostly full (the next word would not have fitted) is wrapped text, and no break in it ends
anything. Elsewhere each line is a title, an entry, a verse, and ends one, unless the next begins with a small letter or
a link or this one ends with a comma, a colon or a hyphen. Columns are counted, a full-width character being two.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.code_points import Codes, Ints, is_digit, is_small

NARROWEST, WIDEST = 40, 160  # columns of the longest line of wrapped text
SLACK = 4  # columns that a full line may lack: a mark that must not begin a line stays with its word
FULL_WIDTH = 0x2E80  # the first of the full-width code points, but for a few
GOES_ON = np.array([ord(char) for char in ",，、､:：;；-—–+=&|（(“‘「『/\\"], dtype=np.uint32)
EMPHASIS = np.array([ord(char) for char in "*_"], dtype=np.uint32)
LINK = ord("[")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineWidths:
    """Widths in columns of lines that are not empty, in order; arrays of equal length."""

    whole: Ints
    first_words: Ints


def measure_lines(codes: Codes, starts: Ints, ends: Ints, feeds: Ints, words: Ints) -> LineWidths:
    """Of the lines that are not empty.

    `starts`, `ends` are spans of `codes` that hold no line break, `feeds` the line breaks, `words` the offsets at which
    words begin or end.
    """
    firsts, lasts = find_lines(np.searchsorted(feeds, starts))
    begins, stops = starts[firsts], ends[lasts]
    widths = stops - begins
    first_words = words[np.searchsorted(words, begins, side="right")] - begins
    if len(codes) and codes.max() >= FULL_WIDTH:
        wide = np.concatenate(([0], np.cumsum(codes >= FULL_WIDTH, dtype=np.int32)))
        widths += wide[stops] - wide[begins]
        first_words = np.where(codes[begins] >= FULL_WIDTH, 2, first_words)
    return LineWidths(whole=widths, first_words=first_words)


def find_lines(numbers: Ints) -> tuple[Ints, Ints]:
    """Indexes of the first and the last span of each line, of spans whose line `numbers` says."""
    firsts = np.flatnonzero(np.diff(numbers, prepend=-1))
    return firsts, np.append(firsts, len(numbers))[1:] - 1


def find_line_ends(codes: Codes, starts: Ints, ends: Ints, numbers: Ints, widths: LineWidths) -> Ints:
    """Indexes of the spans before which a line ends that is a sentence of its own.

    `starts`, `ends` are spans that hold no line break, `numbers` the line that each is on, `widths` those of the lines.
    A line behind an empty one is not among them.
    """
    firsts, lasts = find_lines(numbers)
    if len(firsts) < 2:
        return firsts[:0]
    begins, stops = starts[firsts], ends[lasts]
    close = np.diff(numbers[firsts], prepend=-2) == 1  # right below the line before
    heads = codes[begins]
    small = is_small(heads)
    goes_on = small | (heads == LINK) | begins_with_subscript(codes, begins, widths.first_words)
    goes_on[1:] |= np.isin(find_last_marks(codes, begins, stops)[:-1], GOES_ON)
    paragraphs = np.flatnonzero(~close)
    longest = np.maximum.reduceat(widths.whole, paragraphs)
    paragraph = np.cumsum(~close) - 1
    full = small.copy()
    full[1:] |= widths.whole[:-1] + 1 + widths.first_words[1:] > longest[paragraph[1:]] - SLACK
    breaks = np.add.reduceat(close, paragraphs, dtype=np.int64)
    filled = np.add.reduceat(close & full, paragraphs, dtype=np.int64)
    wrapped = (2 * filled >= breaks) & (longest >= NARROWEST) & (longest <= WIDEST)
    found: Ints = firsts[close & ~goes_on & ~wrapped[paragraph]]
    return found


def begins_with_subscript(codes: Codes, begins: Ints, first_words: Ints) -> NDArray[np.bool_]:
    """A digit alone, then a small letter: the 2 of "CO2 is", torn off where a page sets it lower."""
    digit = is_digit(codes[begins]) & (first_words == 1)
    torn: NDArray[np.bool_] = digit & is_small(codes[np.minimum(begins + 2, len(codes) - 1)])
    return torn


def find_last_marks(codes: Codes, begins: Ints, stops: Ints) -> Codes:
    """The last character of each line before the asterisks of Markdown's emphasis: the colon of `**Answer:**`."""
    last = stops - 1
    for _ in range(2):
        last = np.where(np.isin(codes[last], EMPHASIS) & (last > begins), last - 1, last)
    return codes[last]
