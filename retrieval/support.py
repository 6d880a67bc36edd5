"""How well a sentence of a passage supports what is asked or claimed: shared terms, weighted by how rare they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass
from math import log

from retrieval.question import list_matchable, list_terms
from retrieval.search import Passage
from retrieval.sentences import Span, cut_sentences

LONE_CHARACTER = 0.4  # a single Han character says less than a pair
IMAGINED = 50  # sentences without the term, added so that in a handful of them a common term still counts for something
LENGTH_WEIGHT = 0.25  # how much a sentence pays for being longer than the average, as BM25's b


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence of passage number `place` (from 0): `text` is `passage.text[start:end]`."""

    place: int
    start: int
    end: int
    text: str
    terms: frozenset[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What is asked or claimed, as weighted terms; `average` is the mean length of the sentences it is held against."""

    weights: Mapping[str, float]
    average: float

    def weigh(self, terms: Set[str]) -> float:
        """The weight of those of its terms that are among `terms`."""
        return sum(weight for term, weight in self.weights.items() if term in terms)


def list_sentences(passages: Sequence[Passage]) -> list[Sentence]:
    """All sentences, in the order of the passages and within each in reading order."""
    return [
        _make_sentence(place, passage.text, span)
        for place, passage in enumerate(passages)
        for span in cut_sentences(passage.text)
    ]


def weigh_claim(claim: str, sentences: Sequence[Sentence]) -> Claim:
    """A term is worth the more the fewer of the sentences have it; one that none has is worth most."""
    wanted = list_terms(claim)
    frequency = Counter(term for sentence in sentences for term in sentence.terms & wanted)
    average = sum(len(sentence.text) for sentence in sentences) / max(1, len(sentences))
    # sorted: a sum of floats must not depend on hash order
    weights = {term: _weigh_term(term, frequency[term], len(sentences) + IMAGINED) for term in sorted(wanted)}
    return Claim(weights=weights, average=max(1.0, average))


def score_sentences(claim: Claim, sentences: Sequence[Sentence]) -> list[float]:
    """One score a sentence, ≥ 0; 0 means that it shares no content term with the claim."""
    return [
        claim.weigh(sentence.terms) / (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(sentence.text) / claim.average)
        for sentence in sentences
    ]


def measure_cover(claim: Claim, sentences: Sequence[Sentence]) -> float:
    """The largest share of the claim's weight, 0 to 1, that one sentence has together with the one before it."""
    whole = sum(claim.weights.values())
    best = 0.0
    for i, sentence in enumerate(sentences):
        follows = i > 0 and sentences[i - 1].place == sentence.place
        best = max(best, claim.weigh(sentence.terms | sentences[i - 1].terms if follows else sentence.terms))
    return best / whole if whole else 0.0


def _make_sentence(place: int, text: str, span: Span) -> Sentence:
    piece = text[span.start : span.end]
    return Sentence(place=place, start=span.start, end=span.end, text=piece, terms=frozenset(list_matchable(piece)))


def _weigh_term(term: str, frequency: int, count: int) -> float:
    rarity = log(1 + (count - frequency + 0.5) / (frequency + 0.5)) + 0.2
    return rarity * LONE_CHARACTER if len(term) == 1 and not term.isascii() else rarity
