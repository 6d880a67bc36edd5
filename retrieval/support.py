"""How well a sentence of a passage supports what is asked or claimed: shared terms, weighted by how rare they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import log

from retrieval.question import list_matchable, list_terms
from retrieval.search import Passage
from retrieval.sentences import cut_sentences

LONE_CHARACTER = 0.4  # a single Han character says less than a pair
IMAGINED = 50  # sentences without the term, added so that in a handful of them a common term still counts for something
CONTEXT = 0.35  # of a term in what a sentence stands under against the same term in it
LENGTH_WEIGHT = 0.25  # how much a sentence pays for being longer than the average, as BM25's b


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence of passage number `place` (from 0): `text` is `passage.text[start:end]`.

    `context` are the terms of what it stands under: title, heading, path, and for a table's row the table's first one.
    """

    place: int
    start: int
    end: int
    text: str
    terms: frozenset[str]
    context: frozenset[str]


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
    return [sentence for place, passage in enumerate(passages) for sentence in _iter_sentences(place, passage)]


def weigh_claim(claim: str, sentences: Sequence[Sentence]) -> Claim:
    """A term is worth the more the fewer of the sentences have it; one that none has is worth most."""
    wanted = list_terms(claim)
    frequency = Counter(term for sentence in sentences for term in sentence.terms & wanted)
    average = sum(len(sentence.text) for sentence in sentences) / max(1, len(sentences))
    # sorted: a sum of floats must not depend on hash order
    weights = {term: _weigh_term(term, frequency[term], len(sentences) + IMAGINED) for term in sorted(wanted)}
    return Claim(weights=weights, average=max(1.0, average))


def score_sentences(claim: Claim, sentences: Sequence[Sentence]) -> list[float]:
    """One score a sentence, ≥ 0; 0 means that neither it nor its context shares a content term with the claim."""
    return [
        (claim.weigh(sentence.terms) + CONTEXT * claim.weigh(sentence.context - sentence.terms))
        / (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * len(sentence.text) / claim.average)
        for sentence in sentences
    ]


def measure_cover(claim: Claim, sentences: Sequence[Sentence]) -> float:
    """The largest share of the claim's weight, 0 to 1, that one sentence has together with its context
    and the sentence before it."""
    whole = sum(claim.weights.values())
    best = 0.0
    for i, sentence in enumerate(sentences):
        follows = i > 0 and sentences[i - 1].place == sentence.place
        terms = sentence.terms | sentence.context
        best = max(best, claim.weigh(terms | sentences[i - 1].terms if follows else terms))
    return best / whole if whole else 0.0


def _iter_sentences(place: int, passage: Passage) -> Iterator[Sentence]:
    above = frozenset(list_matchable(" ".join([passage.title or "", passage.heading or "", passage.path])))
    columns: frozenset[str] | None = None
    for span in cut_sentences(passage.text):
        text = passage.text[span.start : span.end]
        terms = frozenset(list_matchable(text))
        is_row = text.startswith("|")
        context = above | columns if is_row and columns else above
        yield Sentence(place=place, start=span.start, end=span.end, text=text, terms=terms, context=context)
        columns = (columns or terms) if is_row else None


def _weigh_term(term: str, frequency: int, count: int) -> float:
    rarity = log(1 + (count - frequency + 0.5) / (frequency + 0.5)) + 0.2
    return rarity * LONE_CHARACTER if len(term) == 1 and not term.isascii() else rarity
