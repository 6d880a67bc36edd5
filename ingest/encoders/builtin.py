"""The encoder that needs no model: signed feature hashing of Han character uni- and bigrams, and of English words.

Its vectors know shared characters and words, not meaning, so the lexical ranking must lead (`lexical_leads`). All of it
is numpy over code points: words and n-grams of a whole batch are hashed at once, by a hash that is the same in every
process.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

from ingest.code_points import read_codes
from kb.tokens import HAN_TOKENS, OTHER_TOKENS
from kb.types import Counts, Offsets, Vectors

DIMENSION = 512
VERSION = 1
SLICE = 1 << 16  # characters counted or hashed at a time: keeps the arrays in the processor's cache
FIRST_HAN = 0x3400
PIECE = 4  # length of the word pieces

Hashes = NDArray[np.uint64]
Codes = NDArray[np.uint32]
Ints = NDArray[np.int64]

HAN, LETTER = 1, 2
# What a feature of each kind weighs. Single characters, short words and word pieces are common: they only break ties.
SINGLE, PAIR, WORD, SHORT_WORD, STEM, WORD_PIECE = range(6)
WEIGHTS = np.array([0.4, 1.0, 0.7, 0.3, 1.0, 0.25])
MULTIPLIER = np.uint64(0x9E3779B97F4A7C15)
# English endings that are dropped for the stem, longest first.
ENDINGS = ("ations", "ation", "ingly", "edly", "ings", "ing", "ies", "ied", "es", "ed", "ly", "s")
SHORTEST_STEM = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Features:
    """Features of a slice of texts: the text each belongs to, and its hash with the kind in the lowest three bits."""

    texts: Ints
    hashes: Hashes


class BuiltinEncoder:
    """`kb.ports.Encoder` without a model. Thread-safe: it holds no state."""

    name = "builtin"
    fingerprint = f"builtin-{VERSION}-{DIMENSION}"
    dimension = DIMENSION
    max_tokens = 8192
    lexical_leads = True

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), 512). A text gives the same vector whatever batch it comes in."""
        vectors = np.zeros((len(texts), DIMENSION), dtype=np.float32)
        for first, part in slice_texts([fold_text(text) for text in texts]):
            vectors[first : first + len(part)] = embed_slice(part)
        return vectors

    def embed_question(self, question: str) -> Vectors:
        return self.embed_texts([question])

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        """Equals `kb.tokens.estimate_tokens` of every span."""
        return estimate_spans(text, cuts)


def estimate_spans(text: str, cuts: Offsets) -> Counts:
    """`kb.tokens.estimate_tokens` of every span, in one pass."""
    places = np.asarray(cuts, dtype=np.int64)
    han = np.diff(count_han_before(text, places))
    tokens: NDArray[np.float64] = HAN_TOKENS * han + OTHER_TOKENS * (np.diff(places) - han)
    return tokens


def count_han_before(text: str, places: Ints) -> Ints:
    """Han characters before each of `places`, which are offsets in order."""
    before = np.zeros(len(places), dtype=np.int64)
    total = 0
    for start in range(0, len(text), SLICE):
        first, last = np.searchsorted(places, [start, start + SLICE])
        before[first:last] = total
        codes = read_codes(text[start : start + SLICE])
        if codes.max() >= FIRST_HAN:
            han = ((codes >= FIRST_HAN) & (codes <= 0x9FFF)) | ((codes >= 0xF900) & (codes <= 0xFAFF))
            running = np.concatenate(([0], np.cumsum(han, dtype=np.int32)))
            before[first:last] += running[places[first:last] - start]
            total += int(running[-1])
    before[np.searchsorted(places, len(text)) :] = total
    return before


def fold_text(text: str) -> str:
    """One form for what readers take as the same: full-width and half-width, capital and small."""
    return unicodedata.normalize("NFKC", text).lower()


def slice_texts(texts: Sequence[str]) -> Iterator[tuple[int, Sequence[str]]]:
    """Runs of texts of about SLICE characters, each with the index of its first."""
    first, size = 0, 0
    for index, text in enumerate(texts):
        size += len(text)
        if size >= SLICE:
            yield first, texts[first : index + 1]
            first, size = index + 1, 0
    if first < len(texts):
        yield first, texts[first:]


@cache
def build_kind_table() -> NDArray[np.uint8]:
    """Kind of each BMP code point: HAN (kana and Hangul too, which are hashed alike), LETTER (and digits), or 0."""
    table = np.array([LETTER if chr(code).isalnum() else 0 for code in range(0x10000)], dtype=np.uint8)
    for first, last in ((0x3400, 0x9FFF), (0xF900, 0xFAFF), (0x3041, 0x30FF), (0xAC00, 0xD7A3)):
        table[first : last + 1] = HAN
    return table


def embed_slice(texts: Sequence[str]) -> Vectors:
    codes = read_codes("\n".join(texts)).astype(np.uint32)
    owners = np.repeat(np.arange(len(texts)), [len(text) + 1 for text in texts])[: len(codes)]
    kinds = build_kind_table()[np.minimum(codes, 0xFFFF)]
    kinds[(codes >= 0x20000) & (codes <= 0x323AF)] = HAN
    found = [*find_han(codes, owners, kinds), *find_words(codes, owners, kinds == LETTER)]
    hashes = np.concatenate([features.hashes for features in found])
    return sum_features(np.concatenate([features.texts for features in found]), hashes, len(texts))


def find_han(codes: Codes, owners: Ints, kinds: NDArray[np.uint8]) -> Iterator[Features]:
    places = np.flatnonzero(kinds == HAN)
    wide = codes[places].astype(np.uint64)
    yield Features(texts=owners[places], hashes=mix_hashes(wide, SINGLE))
    pairs = np.flatnonzero(np.diff(places) == 1)
    yield Features(texts=owners[places[pairs]], hashes=mix_hashes(wide[pairs] << np.uint64(21) | wide[pairs + 1], PAIR))


def find_words(codes: Codes, owners: Ints, letters: NDArray[np.bool_]) -> Iterator[Features]:
    """Words, their stems, and the pieces of four letters of longer ones."""
    edges = np.flatnonzero(np.diff(letters.astype(np.int8), prepend=0, append=0))
    starts, ends = edges[::2], edges[1::2]
    if len(starts) == 0:
        return
    lengths, texts = ends - starts, owners[starts]
    sums = sum_letters(codes, letters, starts, lengths)
    whole = sums[ends] - sums[starts]
    short = lengths < PIECE
    yield Features(texts=texts[~short], hashes=mix_hashes(whole[~short], WORD))
    yield Features(texts=texts[short], hashes=mix_hashes(whole[short], SHORT_WORD))
    stems = starts + measure_stems(codes, ends, lengths)
    yield Features(texts=texts[~short], hashes=mix_hashes((sums[stems] - sums[starts])[~short], STEM))
    yield find_pieces(codes, owners, letters)


def sum_letters(codes: Codes, letters: NDArray[np.bool_], starts: Ints, lengths: Ints) -> Hashes:
    """Running sums of letter × MULTIPLIER^position in its word: hash of a word's beginning is one difference."""
    powers = np.cumprod(np.full(int(lengths.max()), MULTIPLIER, dtype=np.uint64))
    places = np.flatnonzero(letters)
    positions = places - np.repeat(starts, lengths)
    terms = np.zeros(len(codes) + 1, dtype=np.uint64)
    terms[places + 1] = codes[places].astype(np.uint64) * powers[positions]
    return np.cumsum(terms, dtype=np.uint64)


def measure_stems(codes: Codes, ends: Ints, lengths: Ints) -> Ints:
    """Length of each word without its English ending: the longest of ENDINGS that leaves three letters."""
    stems = lengths.copy()
    for ending in ENDINGS:
        room = (stems == lengths) & (lengths >= len(ending) + SHORTEST_STEM)
        for back, letter in enumerate(reversed(ending), start=1):
            room &= codes[np.maximum(ends - back, 0)] == ord(letter)
        stems[room] -= len(ending)
    return stems


def find_pieces(codes: Codes, owners: Ints, letters: NDArray[np.bool_]) -> Features:
    """Every four letters in a row; 16 bits of each are enough to tell pieces apart."""
    count = max(0, len(codes) - PIECE + 1)
    inside = np.ones(count, dtype=bool)
    packed = np.zeros(count, dtype=np.uint64)
    for shift in range(PIECE):
        inside &= letters[shift : shift + count]
        packed = packed << np.uint64(16) | (codes[shift : shift + count] & np.uint32(0xFFFF))
    return Features(texts=owners[:count][inside], hashes=mix_hashes(packed[inside], WORD_PIECE))


def mix_hashes(raw: Hashes, kind: int) -> Hashes:
    """splitmix64 of each number, salted by the kind of feature, which is kept in the lowest three bits of 40."""
    mixed = raw + np.uint64((kind + 1) * int(MULTIPLIER) & 0xFFFFFFFFFFFFFFFF)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return (mixed >> np.uint64(27)) << np.uint64(3) | np.uint64(kind)


def sum_features(texts: Ints, hashes: Hashes, count: int) -> Vectors:
    """Unit vectors, shape (count, DIMENSION): each distinct feature once, with 1 + log(occurrences) and its sign."""
    keys, occurrences = np.unique(texts.astype(np.uint64) << np.uint64(40) | hashes, return_counts=True)
    bits = keys >> np.uint64(3)
    slots = (bits & np.uint64(DIMENSION - 1)).astype(np.int64)
    signs = np.where(bits >> np.uint64(9) & np.uint64(1), 1.0, -1.0)
    values = signs * WEIGHTS[(keys & np.uint64(7)).astype(np.int64)] * (1.0 + np.log(occurrences))
    places = (keys >> np.uint64(40)).astype(np.int64) * DIMENSION + slots
    sums = np.bincount(places, weights=values, minlength=count * DIMENSION).reshape(count, DIMENSION)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    blank = norms[:, 0] < 1e-9
    sums[blank, 0], norms[blank] = 1.0, 1.0
    return np.ascontiguousarray(sums / norms, dtype=np.float32)
