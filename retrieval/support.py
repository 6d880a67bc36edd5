"""How well a sentence of a passage supports what is asked or claimed: shared terms, weighted by how rare they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from math import log

from retrieval.question import list_matchable, list_terms
from retrieval.search import Passage
from retrieval.sentences import Span, cut_sentences

LONE_CHARACTER = 0.4  # a single Han character says less than a pair
LENGTH_WEIGHT = 0.25  # how much a sentence pays for being longer than the average, as BM25's b


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence of passage number `place` (from 0): `text` is `passage.text[start:end]`."""

    place: int
    start: int
    end: int
    text: str
    terms: frozenset[str]


def list_sentences(passages: Sequence[Passage]) -> list[Sentence]:
    """All sentences, in the order of the passages and within each in reading order."""
    return [
        _make_sentence(place, passage.text, span)
        for place, passage in enumerate(passages)
        for span in cut_sentences(passage.text)
    ]


def score_sentences(claim: str, sentences: Sequence[Sentence]) -> list[float]:
    """One score a sentence, ≥ 0; 0 means that it shares no content term with the claim."""
    wanted = list_terms(claim)
    frequency = Counter(term for sentence in sentences for term in sentence.terms & wanted)
    average = sum(len(sentence.text) for sentence in sentences) / max(1, len(sentences))
    return [_score(sentence, wanted, frequency, len(sentences), average) for sentence in sentences]


def _make_sentence(place: int, text: str, span: Span) -> Sentence:
    piece = text[span.start : span.end]
    return Sentence(place=place, start=span.start, end=span.end, text=piece, terms=frozenset(list_matchable(piece)))


def _score(sentence: Sentence, wanted: set[str], frequency: Counter[str], count: int, average: float) -> float:
    shared = sorted(sentence.terms & wanted)  # sorted: a sum of floats must not depend on hash order
    found = sum(_weigh(term, frequency[term], count) for term in shared)
    return found / (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(sentence.text) / max(1.0, average))


def _weigh(term: str, frequency: int, count: int) -> float:
    rarity = log(1 + (count - frequency + 0.5) / (frequency + 0.5)) + 0.2
    return rarity * LONE_CHARACTER if len(term) == 1 and not term.isascii() else rarity
