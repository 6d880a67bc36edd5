"""Golden questions asked of an index: at which rank is each answered, and how good is the whole."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from kb.matching import fold_text, holds_any, is_of
from kb.types import GoldenQuestion
from retrieval.passages import Passage
from retrieval.search import SearchResult

TOP_K = 10

Ask = Callable[[str], SearchResult]


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenRank:
    """`rank` is that of the first passage that answers the question, from 1; None when none does."""

    question: GoldenQuestion
    rank: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenResult:
    """`degraded` names the steps that some search could not have."""

    ranks: Sequence[GoldenRank]
    degraded: Sequence[str] = ()

    @property
    def hit_rate(self) -> float:
        """The share of questions that are answered at any rank; 0 for none."""
        return sum(one.rank is not None for one in self.ranks) / max(1, len(self.ranks))

    @property
    def mrr(self) -> float:
        """The mean of 1/rank, where a question that is not answered counts 0."""
        return sum(1 / one.rank for one in self.ranks if one.rank is not None) / max(1, len(self.ranks))


def ask_questions(questions: Sequence[GoldenQuestion], ask: Ask) -> GoldenResult:
    """Ask each one; raises what `ask` raises."""
    ranks: list[GoldenRank] = []
    degraded: set[str] = set()
    for question in questions:
        found = ask(question.question)
        degraded.update(found.degraded)
        ranks.append(GoldenRank(question=question, rank=find_rank(question, found.passages)))
    return GoldenResult(ranks=ranks, degraded=sorted(degraded))


def find_rank(question: GoldenQuestion, passages: Sequence[Passage]) -> int | None:
    """The rank of the first passage that is of one of the question's paths, or a copy of what stands there, and holds
    one of its answers."""
    answers = [fold_text(answer) for answer in question.answers]
    for rank, passage in enumerate(passages, start=1):
        places = [passage.path, *(one.path for one in passage.duplicates)]
        if any(is_of(path, question.paths) for path in places) and holds_any(passage.text, answers):
            return rank
    return None
