"""The marks whose case is plain, told for all of a text's marks at once; `ingest/sentence_ends.py` looks at the others.

Nine marks in ten are: a full-width stop before the next sentence; a full stop behind an ordinary word and before a
capital; a decimal's point. Which rules hold is said there alone. A mark counts as plain here only where they cannot
say otherwise, which a test holds against them.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ingest.code_points import (
    ASCII_WORD,
    CLOSER,
    SENTENCE_MARK,
    SPACE,
    CodedText,
    Codes,
    Flags,
    Ints,
    find_places,
    is_capital,
    is_digit,
    is_small,
)
from ingest.sentence_ends import ABBREVIATIONS, QUOTES, TITLE_REACH

MARGIN = 16  # characters looked at around a mark, and more: marks nearer to an end of the text are not plain
SLICE = 1 << 14  # marks judged at a time: keeps the arrays in the processor's cache
LONGEST_WORD = 9  # letters: longer than any abbreviation
MOST_SPACES = 4
YES, NO, QUOTE, OPEN = 1, 2, 3, 0  # ends a sentence; does not; does unless the quotation goes on; not told here

FULL_STOP, SEMICOLON, TITLE, REFERENCE, TAG, TAG_END = (ord(char) for char in "。；《[<>")
QUOTE_CODES = np.array(sorted(ord(char) for char in QUOTES), dtype=np.uint32)
OPENING = np.array([ord(char) for char in '“‘「『"'], dtype=np.uint32)
FULL = np.array([ord(char) for char in "。！？"], dtype=np.uint32)


def pack_word(word: str) -> int:
    """The word as `read_words` gives it: a byte a letter, the last one first."""
    return int.from_bytes(word.encode()[::-1], "big")


ABBREVIATED = np.array(sorted(pack_word(word) for word in ABBREVIATIONS if word.isalpha()), dtype=np.uint64)
ROMAN = np.isin(np.arange(128), [ord(letter) for letter in "ivxlc"])


@dataclass(frozen=True, kw_only=True, slots=True)
class PlainMarks:
    """What is told of each mark; arrays of equal length."""

    places: Ints
    ends: Ints  # behind the mark and a closing quote
    verdicts: NDArray[np.uint8]  # YES, NO, QUOTE or OPEN


def judge_marks(text: CodedText) -> PlainMarks:
    """All marks of the text."""
    places = find_places(text, lambda part: (part.classes == SENTENCE_MARK) | (part.codes == SEMICOLON))
    ends, verdicts = places + 1, np.full(len(places), OPEN, dtype=np.uint8)
    first, last = np.searchsorted(places, [MARGIN, len(text.codes) - MARGIN])
    for start in range(first, last, SLICE):
        part = slice(start, min(start + SLICE, last))
        quoted = np.isin(text.codes[places[part] + 1], QUOTE_CODES)
        ends[part] += quoted
        judge_slice(text, places[part], quoted, verdicts[part])
    return PlainMarks(places=places, ends=ends, verdicts=verdicts)


def judge_slice(text: CodedText, places: Ints, quoted: Flags, verdicts: NDArray[np.uint8]) -> None:
    """Sets the verdicts of marks, all of them MARGIN characters inside the text; `quoted`: a closing quote follows."""
    alone = stands_alone(text, places, places + 1 + quoted)
    wide = text.codes[places] >= 0x80
    for which, judge in ((alone & wide, judge_full_width), (alone & ~wide, judge_ascii)):
        if which.any():
            verdicts[which] = judge(text, places[which], quoted[which])


def stands_alone(text: CodedText, places: Ints, ends: Ints) -> Flags:
    """Whether a mark and its quote are all of what closes there, nor part of what closes before them."""
    before, behind = text.codes[places - 1], text.codes[ends]
    further = is_closing(text, places - 2)
    loose = (text.classes[places - 1] == CLOSER) & (before != ord("]")) & ~further
    begins = ~is_closing(text, places - 1) | loose
    alone: Flags = begins & ~is_closing(text, ends) & (behind != TAG) & (behind != REFERENCE)
    return alone


def is_closing(text: CodedText, places: Ints) -> Flags:
    """Whether a character may be part of what closes a sentence: a mark, a closing bracket or quote, a tag's end."""
    here, kind = text.codes[places], text.classes[places]
    closing: Flags = (kind == SENTENCE_MARK) | (kind == CLOSER) | (here == SEMICOLON) | (here == TAG_END)
    return closing


def judge_full_width(text: CodedText, places: Ints, quoted: Flags) -> NDArray[np.uint8]:
    codes = text.codes
    marks = codes[places]
    verdicts = np.full(len(places), OPEN, dtype=np.uint8)
    verdicts[~quoted & ((marks == FULL_STOP) | (marks == SEMICOLON))] = YES
    known = np.isin(marks, FULL)
    verdicts[~quoted & known & (marks != FULL_STOP) & ~follows_title(text, places)] = YES
    spaced = text.classes[places + 2] == SPACE
    verdicts[quoted & known & ~spaced] = QUOTE
    nexts = find_next_words(text, places + 2)
    head = codes[nexts].astype(np.uint32)
    head = np.where(np.isin(head, OPENING), codes[nexts + 1], head)
    verdicts[quoted & known & spaced & (head >= 0x3400) & (head <= 0x9FFF)] = YES
    return verdicts


def follows_title(text: CodedText, places: Ints) -> Flags:
    """Whether a title opens so near before each mark that the mark may stand in it."""
    begin, end = max(0, places[0] - TITLE_REACH), places[-1]
    titles = begin + np.flatnonzero(text.codes[begin:end] == TITLE)
    if not len(titles):
        return np.zeros(len(places), dtype=bool)
    last = np.searchsorted(titles, places) - 1
    near: Flags = (last >= 0) & (places - titles[last] <= TITLE_REACH)
    return near


def judge_ascii(text: CodedText, places: Ints, quoted: Flags) -> NDArray[np.uint8]:
    codes = text.codes
    marks, behind = codes[places], places + 1 + quoted
    stop = marks == ord(".")
    verdicts = np.full(len(places), OPEN, dtype=np.uint8)
    verdicts[stop & ~quoted & (text.classes[behind] == ASCII_WORD)] = NO
    spaced = text.classes[behind] == SPACE
    nexts = find_next_words(text, behind)
    head = codes[nexts].astype(np.uint32)
    verdicts[spaced & (nexts == behind + 1) & (codes[behind] == ord(" ")) & is_small(head)
             & ~is_capital(codes[nexts + 1])] = NO  # fmt: skip
    opened = np.isin(head, OPENING)
    capital = spaced & is_capital(np.where(opened, codes[nexts + 1], head))
    speaker = quoted & (nexts == behind + 1) & ~opened  # '"Why?" Mary asked.'
    verdicts[capital & ~stop & ~speaker] = YES
    asked = np.flatnonzero(capital & stop)
    verdicts[asked[~may_be_abbreviation(codes, places[asked])]] = YES
    return verdicts


def find_next_words(text: CodedText, places: Ints) -> Ints:
    """Offset behind the white space at each place, or of its fifth character."""
    nexts = places.copy()
    for _ in range(MOST_SPACES):
        nexts += text.classes[nexts] == SPACE
    return nexts


def may_be_abbreviation(codes: Codes, dots: Ints) -> Flags:
    """False where the full stop surely belongs to no abbreviation, initial or list number."""
    before = codes[dots - 1].astype(np.uint32)
    lengths, words, roman = read_words(codes, dots)
    glued = is_word(codes[dots - lengths - 1].astype(np.uint32))
    listed = ABBREVIATED[np.minimum(np.searchsorted(ABBREVIATED, words), len(ABBREVIATED) - 1)] == words
    ordinary = (lengths >= LONGEST_WORD) | ((lengths > 1) & ~glued & ~listed & ~roman)
    year = np.ones(len(dots), dtype=bool)
    for back in range(1, 5):
        year &= is_digit(codes[dots - back])
    doubtful: Flags = ~(ordinary | year) & is_word(before)
    return doubtful


def read_words(codes: Codes, dots: Ints) -> tuple[Ints, NDArray[np.uint64], Flags]:
    """Of the ASCII letters right before each dot: how many, at most LONGEST_WORD; packed, the small ones of them; and
    whether a Roman number could be written with them."""
    lengths, words = np.zeros(len(dots), dtype=np.int64), np.zeros(len(dots), dtype=np.uint64)
    going, roman = np.ones(len(dots), dtype=bool), np.ones(len(dots), dtype=bool)
    for back in range(1, LONGEST_WORD + 1):
        letters = codes[dots - back].astype(np.uint32) | np.uint32(0x20)
        going &= is_small(letters)
        lengths += going
        words = np.where(going, words << np.uint64(8) | letters, words)
        roman &= ~going | ROMAN[np.minimum(letters, 127)]
    return lengths, words, roman


def is_word(letters: Codes) -> Flags:
    """A letter of what an abbreviation is looked for in, a digit or a dot."""
    accented = (letters >= 0xC0) & (letters <= 0x24F)
    word: Flags = is_small(letters | np.uint32(0x20)) | is_digit(letters) | accented | (letters == ord("."))
    return word
