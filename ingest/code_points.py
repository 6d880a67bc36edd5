"""A text as numbers, and the class of each of its characters."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.sentence_ends import CLOSERS, FULL_MARKS

Codes = NDArray[np.unsignedinteger[Any]]
Classes = NDArray[np.uint8]
Flags = NDArray[np.bool_]
Ints = NDArray[np.int64]

SPACE, COMMA_MARK, CLAUSE_MARK, CLOSER, ASCII_WORD, EXTEND, SENTENCE_MARK = 1, 2, 3, 4, 5, 6, 7
BYTE = 256
SLICE = 1 << 16  # code points classed at a time: keeps the arrays in the processor's cache


@dataclass(frozen=True, kw_only=True, slots=True)
class CodedText:
    """A text as arrays of equal length."""

    codes: Codes  # code points, of the fewest bytes each that hold them all: 1, 2 or 4
    classes: Classes  # 0 where a character has none

    def cut_out(self, start: int, end: int) -> CodedText:
        return CodedText(codes=self.codes[start:end], classes=self.classes[start:end])


def code_text(text: str) -> CodedText:
    codes = read_codes(text)
    return CodedText(codes=codes, classes=find_classes(codes))


def read_codes(text: str) -> Codes:
    """Code points of `text`, shape (len(text),), lone surrogates among them."""
    if text.isascii():
        return np.frombuffer(text.encode("ascii"), dtype=np.uint8)
    narrow = np.frombuffer(text.encode("utf-16-le", "surrogatepass"), dtype=np.uint16)
    if len(narrow) == len(text):
        return narrow
    return np.frombuffer(text.encode("utf-32-le", "surrogatepass"), dtype=np.uint32)


def find_classes(codes: Codes) -> Classes:
    """Class of each code point, 0 where it has none."""
    classes = np.empty(len(codes), dtype=np.uint8)
    for start in range(0, len(codes), SLICE):
        part = codes[start : start + SLICE]
        if part.max() < BYTE:
            small = part.astype(np.uint8).tobytes().translate(build_byte_table())
            classes[start : start + SLICE] = np.frombuffer(small, dtype=np.uint8)
        else:
            classes[start : start + SLICE] = build_class_table().take(part, mode="clip")
    return classes


def find_places(text: CodedText, test: Callable[[CodedText], Flags]) -> Ints:
    """Offsets of the characters that `test` says yes to, which is asked of one slice of the text at a time."""
    found = [
        start + np.flatnonzero(test(text.cut_out(start, start + SLICE))) for start in range(0, len(text.codes), SLICE)
    ]
    return np.concatenate(found) if found else np.zeros(0, dtype=np.int64)


@cache
def build_byte_table() -> bytes:
    return build_class_table()[:BYTE].tobytes()


@cache
def build_class_table() -> Classes:
    """Class of each code point of the BMP; its last one has none, so that code points above it may share it."""
    table = np.zeros(0x10000, dtype=np.uint8)
    for code in range(0x10000):
        if chr(code).isspace():
            table[code] = SPACE
    for letters, kind in (
        (FULL_MARKS + ".!?", SENTENCE_MARK),
        (",，、､", COMMA_MARK),
        (";；:：—", CLAUSE_MARK),  # the full-width one is both: it ends sentences too
        (CLOSERS.replace("\\", ""), CLOSER),
    ):
        table[[ord(letter) for letter in letters]] = kind
    for first, last in ((0x30, 0x39), (0x41, 0x5A), (0x61, 0x7A)):
        table[first : last + 1] = ASCII_WORD
    for first, last in ((0x300, 0x36F), (0x1AB0, 0x1AFF), (0x1DC0, 0x1DFF), (0x200D, 0x200D), (0x20D0, 0x20FF)):
        table[first : last + 1] = EXTEND
    table[0xFE00:0xFE10] = EXTEND
    table[0xFE20:0xFE30] = EXTEND
    return table


def is_small(letters: Codes) -> Flags:
    small: Flags = (letters >= ord("a")) & (letters <= ord("z"))
    return small


def is_capital(letters: Codes) -> Flags:
    capital: Flags = (letters >= ord("A")) & (letters <= ord("Z"))
    return capital


def is_digit(letters: Codes) -> Flags:
    digit: Flags = (letters >= ord("0")) & (letters <= ord("9"))
    return digit
