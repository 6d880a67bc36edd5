"""How much what a search found bears on the question: one number from 0 to 1, higher is more.

What a passage holds of the question's words, and how near its vector lies, are both weak alone; a reranker, where one
has read the passages, judges better than either. Which of them a number is of is said with it: numbers of two measures
do not compare.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

from kb.types import RefusalRule, RelevanceMeasure
from retrieval.passages import Passage
from retrieval.search import SearchRequest, SearchResult
from retrieval.support import list_sentences, measure_cover, weigh_claim


@dataclass(frozen=True, kw_only=True, slots=True)
class Relevance:
    value: float
    measure: RelevanceMeasure


class PassageSource(Protocol):
    """A search, or several of them as one. Blocks."""

    def search(self, request: SearchRequest) -> SearchResult: ...


class RefusalRules(Protocol):
    def get_refusal(self, kb_id: str) -> RefusalRule | None:
        """The rule of a knowledge base, None where none is set or it was set for another embedding model."""
        ...


class JudgedSource:
    """A PassageSource that says of what it finds whether it bears on the question. Thread-safe."""

    def __init__(self, source: PassageSource, rules: RefusalRules) -> None:
        self._source = source
        self._rules = rules

    def search(self, request: SearchRequest) -> SearchResult:
        """What the source finds, with `refused` where every knowledge base asked has a rule. Raises what the source's
        search raises."""
        found = self._source.search(request)
        if not found.passages:
            return found
        rules = [self._rules.get_refusal(kb_id) for kb_id in dict.fromkeys([request.kb_id, *request.also])]
        return replace(found, refused=refuse_by(rules, request.query, found.passages))


def measure_relevance(question: str, passages: Sequence[Passage]) -> Relevance:
    """By the best reranker's score; else the mean of the words' share and the best cosine; else by the words alone."""
    scores = [passage.scores for passage in passages]
    reranked = [score.rerank for score in scores if score.rerank is not None]
    if reranked:
        return Relevance(value=_bound(max(reranked)), measure=RelevanceMeasure.RERANK)
    sentences = list_sentences(passages)
    words = measure_cover(weigh_claim(question, sentences), sentences)
    cosines = [score.dense for score in scores if score.dense is not None]
    if cosines:
        return Relevance(value=_bound((words + _bound(max(cosines))) / 2), measure=RelevanceMeasure.VECTORS)
    return Relevance(value=_bound(words), measure=RelevanceMeasure.WORDS)


def refuse_by(rules: Sequence[RefusalRule | None], question: str, passages: Sequence[Passage]) -> bool | None:
    """Whether the passages are too far from the question for every rule; None where a rule is missing, or was made for
    another measure: then nothing is known, and the writer decides as it does without rules."""
    kept = [rule for rule in rules if rule is not None]
    if not kept or len(kept) < len(rules):
        return None
    found = measure_relevance(question, passages)
    if any(rule.measure is not found.measure for rule in kept):
        return None
    return found.value < min(rule.threshold for rule in kept)


def _bound(value: float) -> float:
    return min(1.0, max(0.0, value))
