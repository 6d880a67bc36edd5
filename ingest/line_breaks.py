"""Which single line breaks end a sentence, and which only wrap a long line.

A paragraph whose lines are mostly full (the next word would not have fitted) is wrapped text, and no break in it ends
anything. Elsewhere each line is a title, an entry, a verse, and ends one, unless the next begins with a small letter or
a link or this one ends with a comma, a colon or a hyphen. Columns are counted, a full-width character being two.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Ints = NDArray[np.int64]

NARROWEST, WIDEST = 40, 160  # columns of the longest line of wrapped text
SLACK = 4  # columns that a full line may lack: a mark that must not begin a line stays with its word
FULL_WIDTH = 0x2E80  # the first of the full-width code points, but for a few
GOES_ON = np.array([ord(char) for char in ",，、､:：;；-—–+=&|（(“‘「『/\\"], dtype=np.uint32)
EMPHASIS = np.array([ord(char) for char in "*_"], dtype=np.uint32)
LINK = ord("[")


def find_line_ends(codes: NDArray[np.uint32], starts: Ints, ends: Ints, lines: Ints, words: Ints) -> Ints:
    """Indexes of the spans before which a line ends that is a sentence of its own.

    `starts`, `ends` are spans that hold no line break, `lines` the number of the line that each stands on, `words` the
    offsets at which words begin or end. A line behind an empty one is not among them.
    """
    firsts = np.flatnonzero(np.diff(lines, prepend=-1))  # first span of each line that is not empty
    if len(firsts) < 2:
        return firsts[:0]
    lasts = np.append(firsts[1:], len(starts)) - 1
    wide = np.concatenate(([0], np.cumsum(codes >= FULL_WIDTH, dtype=np.int64)))
    begins, stops = starts[firsts], ends[lasts]
    width = stops - begins + wide[stops] - wide[begins]
    word_ends = words[np.searchsorted(words, begins, side="right")]
    word = np.where(codes[begins] >= FULL_WIDTH, 2, word_ends - begins)
    close = np.diff(lines[firsts], prepend=-2) == 1  # right below the line before
    small = is_small(codes[begins])
    goes_on = small | (codes[begins] == LINK) | begins_with_subscript(codes, begins, word_ends)
    goes_on[1:] |= np.isin(find_last_marks(codes, begins, stops)[:-1], GOES_ON)
    paragraphs = np.flatnonzero(~close)
    longest = np.maximum.reduceat(width, paragraphs)
    paragraph = np.cumsum(~close) - 1
    full = small.copy()
    full[1:] |= width[:-1] + 1 + word[1:] > longest[paragraph[1:]] - SLACK
    breaks = np.add.reduceat(close, paragraphs, dtype=np.int64)
    filled = np.add.reduceat(close & full, paragraphs, dtype=np.int64)
    wrapped = (2 * filled >= breaks) & (longest >= NARROWEST) & (longest <= WIDEST)
    found: Ints = firsts[close & ~goes_on & ~wrapped[paragraph]]
    return found


def is_small(letters: NDArray[np.uint32]) -> NDArray[np.bool_]:
    small: NDArray[np.bool_] = (letters >= ord("a")) & (letters <= ord("z"))
    return small


def begins_with_subscript(codes: NDArray[np.uint32], begins: Ints, word_ends: Ints) -> NDArray[np.bool_]:
    """A digit alone, then a small letter: the 2 of "CO2 is", torn off where a page sets it lower."""
    digit = (codes[begins] >= ord("0")) & (codes[begins] <= ord("9")) & (word_ends - begins == 1)
    torn: NDArray[np.bool_] = digit & is_small(codes[np.minimum(begins + 2, len(codes) - 1)])
    return torn


def find_last_marks(codes: NDArray[np.uint32], begins: Ints, stops: Ints) -> NDArray[np.uint32]:
    """The last character of each line before the asterisks of Markdown's emphasis: the colon of `**Answer:**`."""
    last = stops - 1
    for _ in range(2):
        last = np.where(np.isin(codes[last], EMPHASIS) & (last > begins), last - 1, last)
    return codes[last]
