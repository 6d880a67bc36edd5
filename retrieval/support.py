"""How well a sentence of a passage supports what is asked or claimed: shared terms, weighted by how rare they are."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from math import log

from retrieval.passages import Passage
from retrieval.question import list_matchable, list_terms
from retrieval.sentences import RULE, cut_sentences, holds_statement, is_row

LONE_CHARACTER = 0.4  # a single Han character says less than a pair
APART = 0.1  # of a pair of Han characters, for each of the two that stands there without the other
IMAGINED = 50  # sentences without the term, added so that in a handful of them a common term still counts for something
CONTEXT = 0.35  # of a term in what a sentence stands under against the same term in it
LENGTH_WEIGHT = 0.25  # how much a sentence pays for being longer than the average, as BM25's b


@dataclass(frozen=True, kw_only=True, slots=True)
class Sentence:
    """A sentence of passage number `place` (from 0): `text` is `passage.text[start:end]`.

    `context` are the terms of what it stands under: title, heading, path, the last line above it that is no sentence,
    and for a table's row the table's first one; `head` is that first row when a rule under it says that it names the
    columns.
    """

    place: int
    start: int
    end: int
    text: str
    terms: frozenset[str]
    context: frozenset[str]
    head: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Claim:
    """What is asked or claimed, as weighted terms; `average` is the mean length of the sentences it is held against."""

    weights: Mapping[str, float]
    average: float

    def weigh(self, terms: Set[str]) -> float:
        """The weight of those of its terms that are among `terms`."""
        return sum(weight for term, weight in self.weights.items() if term in terms)

    def weigh_loosely(self, terms: Set[str]) -> float:
        """The same, where a pair of Han characters that stand there apart counts for a little: 卡住 and 停住."""
        return sum(weight * _match_loosely(term, terms) for term, weight in self.weights.items())


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
    and the sentences before and after it."""
    whole = sum(claim.weights.values())
    best = 0.0
    for i, sentence in enumerate(sentences):
        terms = sentence.terms | sentence.context
        for near in sentences[max(0, i - 1) : i + 2]:
            if near.place == sentence.place:
                terms |= near.terms
        best = max(best, claim.weigh_loosely(terms))
    return best / whole if whole else 0.0


def _match_loosely(term: str, terms: Set[str]) -> float:
    if term in terms:
        return 1.0
    is_pair = len(term) == 2 and not term.isascii()
    return APART * sum(character in terms for character in term) if is_pair else 0.0


def _iter_sentences(place: int, passage: Passage) -> Iterator[Sentence]:
    above = frozenset(list_matchable(" ".join([passage.title or "", passage.heading or "", passage.path])))
    table: list[Sentence] = []
    line: frozenset[str] = frozenset()
    for span in cut_sentences(passage.text):
        text = passage.text[span.start : span.end]
        terms = frozenset(list_matchable(text))
        context = above | line | (table[0].terms if table and is_row(text) else frozenset())
        head = table[0].text if len(table) > 1 and RULE.fullmatch(table[1].text) else None
        sentence = Sentence(
            place=place, start=span.start, end=span.end, text=text, terms=terms, context=context, head=head
        )
        yield sentence
        table = [*table[:2], sentence] if is_row(text) else []
        if not is_row(text) and not holds_statement(text):
            line = terms


def _weigh_term(term: str, frequency: int, count: int) -> float:
    rarity = log(1 + (count - frequency + 0.5) / (frequency + 0.5)) + 0.2
    return rarity * LONE_CHARACTER if len(term) == 1 and not term.isascii() else rarity
