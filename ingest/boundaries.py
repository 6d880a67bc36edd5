"""Where a text may be cut, and how good each place is.

Everything here is one pass over the text, in `re` or numpy, so that cost is linear whatever the text. The text falls
into *spans* free of white space; each carries the rank of the border before it. Sentence ends are found by rule: a
full-width mark always ends one, an ASCII mark only where it is no abbreviation, decimal, initial, address, ellipsis or
list number.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import IntEnum
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ingest.blocks import find_blocks

Ints = NDArray[np.int64]


class Rank(IntEnum):
    """How good a border is; higher is better. Units (sentences, rows, items) begin at SENTENCE and above."""

    KEEP = 0  # between a heading and what follows: only ever cut when the budget leaves no choice
    HARD = 1  # inside a word
    WORD = 2  # white space
    COMMA = 3
    CLAUSE = 4
    LINE = 5  # a single line break, which in running text may fall anywhere
    SENTENCE = 6
    ITEM = 7  # a list item, a table, a fence, a sentence that ends its line
    PARAGRAPH = 8
    HEADING = 9


@dataclass(frozen=True, kw_only=True, slots=True)
class Spans:
    """The white-space-free stretches of a text, in order; arrays of equal length."""

    starts: Ints
    ends: Ints
    ranks: NDArray[np.int8]  # of the border before each span
    cuts: Ints  # every cut, 0 and len(text) included: what a counter is asked with
    at: Ints  # index into cuts of each span's start; its end is the next cut
    codes: NDArray[np.uint32]  # the text's code points


CLOSERS = "”’」』】》〉）)\\]}\"'»］｝〕〗*_"
FULL_END = re.compile(f"[。！？；…｡][。！？；…｡.!?{CLOSERS}]*")
ASCII_END = re.compile(f"[.!?][。！？；…｡.!?{CLOSERS}]*")
LAST_WORD = re.compile(r"[^\s(\[“‘\"'（]*\Z")
DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]\Z")
LEADING_NUMBER = re.compile(r"(?:\d{1,3}|[ivxlc]{1,5}|[A-Za-z])\Z")

# Never the end of a sentence, whatever follows.
TITLES = frozenset(
    """
    mr mrs ms dr prof st messrs mme mlle rev hon gen col capt cmdr lt maj sgt gov sen rep pres supt mt ft vs cf viz e.g
    i.e eg ie al approx appt dept est assn ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec univ misc tel
    ext
    """.split()  # noqa: SIM905  a list of seventy quoted words says less
)
# An abbreviation before a number only: "No. 5", "Fig. 2"; otherwise a plain word or the last one.
BEFORE_NUMBER = frozenset(
    "no nos fig figs sec secs vol vols ch p pp eq eqs art arts tab ed eds para pt sect cl".split()  # noqa: SIM905
)
# May end a sentence: it does when a capital follows.
CLOSING = frozenset("etc inc ltd co corp jr sr bros a.m p.m am pm ph.d m.d b.c a.d".split())  # noqa: SIM905

# A line that is a sentence whatever its marks: behind an empty one, a Markdown heading, a table row, an indented one.
OWN_LINE = re.compile(r"\n(?=[ \t]*(?:\n|#{1,6}[ \t]|\|)|\u3000)|^[ \t]*(?:#{1,6}[ \t]|\|)[^\n]*\n", re.MULTILINE)

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


def is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def find_sentence_ends(text: str) -> list[int]:
    """Offsets just behind each sentence's last mark, closing quotes and brackets included; not in order."""
    ends = [found.end() for found in FULL_END.finditer(text)]
    ends.extend(found.end() for found in ASCII_END.finditer(text) if ends_sentence(text, found.start(), found.end()))
    return ends


def find_sentences(text: str) -> list[tuple[int, int]]:
    """Offsets `[start, end)` of each sentence in order, white space left out; together they hold all other text.

    A heading, a list item, a table row is a sentence of its own, whatever marks it bears.
    """
    cuts = {*find_sentence_ends(text), *(found.end() for found in OWN_LINE.finditer(text)), len(text)}
    for block in find_blocks(text):
        cuts |= {block.start, block.end}
    sentences = []
    start = 0
    for end in sorted(cuts):
        body = text[start:end]
        if bare := body.strip():
            begin = start + len(body) - len(body.lstrip())
            sentences.append((begin, begin + len(bare)))
        start = end
    return sentences


def ends_sentence(text: str, start: int, end: int) -> bool:
    """Whether the run of ASCII marks `text[start:end]` ends a sentence."""
    before, after = text[start - 1 : start], text[end : end + 1]
    marks = text[start:end]
    glued = bool(after) and not after.isspace()
    if glued and not is_han(after) and after not in "“‘「『《（":
        return False
    ahead = text[end : end + 8]
    following = ahead.lstrip()[:1]
    if following.islower() and "\n" not in ahead.partition(following)[0]:  # "Yahoo! is", '"What?" he said'
        return False
    if marks[0] != "." or marks.startswith("...."):
        return True
    if marks.startswith(".."):  # an ellipsis: in Chinese it closes, in English it may stand anywhere
        return is_han(before)
    if glued and not before.isalpha():
        return False
    return not is_abbreviation(text, start, following)


def is_abbreviation(text: str, dot: int, following: str) -> bool:
    """Whether the full stop at `dot` belongs to an abbreviation, an initial or a list number."""
    found = LAST_WORD.search(text[max(0, dot - 24) : dot])
    word = found.group() if found else ""
    if not word:
        return False
    lower = word.lower()
    if lower in TITLES:
        return True
    if lower in BEFORE_NUMBER and (following.isdigit() or following in "IVX"):
        return True
    if LEADING_NUMBER.match(word) and starts_line(text, dot - len(word)):
        return True
    if lower in CLOSING:
        return not following.isupper()
    return (len(word) == 1 and word.isupper() and word != "I") or DOTTED.match(word) is not None


def starts_line(text: str, position: int) -> bool:
    """Whether only blanks stand between the line's start and `position` (looking back a short way)."""
    return text[max(0, position - 12) : position].rpartition("\n")[2].strip(" \t\u3000>*-") == "" and (
        position <= 12 or "\n" in text[position - 12 : position]
    )


def find_spans(text: str, extra: list[int], longest: int) -> Spans:
    """Spans of `text`, with cuts at `extra` too, and hard cuts in runs longer than `longest` characters."""
    codes = read_codes(text)
    size = len(codes)
    kinds = build_class_table()[np.minimum(codes, 0xFFFF)]
    space = kinds == SPACE
    marks = find_marks(kinds)
    sentence_ends = np.array(find_sentence_ends(text), dtype=np.int64)
    cut = np.zeros(size + 1, dtype=bool)
    cut[[0, size]] = True
    cut[1:size] = space[1:] != space[:-1]
    cut[1:size] |= ends_of_marks(kinds, marks)
    cut[sentence_ends] = True
    cut[extra] = True
    add_hard_cuts(cut, codes, kinds, longest)
    cuts = np.flatnonzero(cut)
    at = np.flatnonzero(~space[cuts[:-1]])
    starts, ends = cuts[at], cuts[at + 1]
    ranks = rank_gaps(codes, marks, starts, ends)
    found = np.searchsorted(starts, sentence_ends)
    found = found[found < len(starts)]
    ranks[found] = np.where(ranks[found] == Rank.LINE, Rank.ITEM, np.maximum(ranks[found], Rank.SENTENCE))
    return Spans(starts=starts, ends=ends, ranks=ranks, cuts=cuts, at=at, codes=codes)


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


def rank_gaps(codes: NDArray[np.uint32], marks: NDArray[np.uint8], starts: Ints, ends: Ints) -> NDArray[np.int8]:
    """Rank of the border before each span by what lies between it and the one before."""
    ranks = np.full(len(starts), Rank.HARD, dtype=np.int8)
    if not len(starts):
        return ranks
    ranks[0] = Rank.PARAGRAPH
    breaks = np.flatnonzero(codes == 0x0A)
    count = np.searchsorted(breaks, starts[1:]) - np.searchsorted(breaks, ends[:-1])
    gap = starts[1:] > ends[:-1]
    inner = np.maximum(np.where(gap, Rank.WORD, Rank.HARD), marks[ends[:-1] - 1])
    inner = np.where(count == 1, Rank.LINE, inner)
    indented = (count == 1) & (codes[starts[1:] - 1] == 0x3000)  # a Chinese first-line indent begins a paragraph
    ranks[1:] = np.where((count > 1) | indented, Rank.PARAGRAPH, inner)
    return ranks
