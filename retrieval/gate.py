"""The gate: what is about to be published must answer the golden questions about as well as what is there."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Protocol

from kb.errors import Unavailable
from kb.types import Candidate, GateReport, GoldenQuestion, SafetyLimits
from retrieval.golden import TOP_K, GoldenResult, ask_questions
from retrieval.search import SearchResult

logger = logging.getLogger(__name__)

SLACK = 1e-9  # of rounding: a fall of exactly what is allowed passes
MOST_LOST = 50  # questions named in a report
LONGEST_LOST = 200  # characters of each


class QuestionSource(Protocol):
    def list_all(self, kb_id: str) -> Sequence[GoldenQuestion]: ...


class LimitSource(Protocol):
    def get_limits(self, kb_id: str) -> SafetyLimits:
        """Raises NotFound (`knowledge_base_not_found`)."""
        ...


class Asked(Protocol):
    """One state of a knowledge base."""

    def ask(self, question: str, top_k: int) -> SearchResult: ...


class Comparison(Protocol):
    """Opens a knowledge base before and after a candidate."""

    def open_both(self, candidate: Candidate) -> AbstractContextManager[tuple[Asked, Asked]]:
        """Raises NotFound (`knowledge_base_not_found`), Unavailable (`index_unavailable`)."""
        ...


class GoldenGate:
    """`kb.ports.Gate`. Thread-safe."""

    def __init__(self, questions: QuestionSource, limits: LimitSource, comparison: Comparison) -> None:
        self._questions = questions
        self._limits = limits
        self._comparison = comparison

    def judge(self, candidate: Candidate) -> GateReport | None:
        """None without golden questions.

        Raises NotFound (`knowledge_base_not_found`), Unavailable (`index_unavailable`, `embedding_unavailable`): half
        a search is no judgement.
        """
        limits = self._limits.get_limits(candidate.kb_id)
        questions = self._questions.list_all(candidate.kb_id)
        if not questions:
            return None
        with self._comparison.open_both(candidate) as (before, after):
            report = compare_results(_ask_all(questions, before), _ask_all(questions, after), limits)
        logger.info("gate.judged", extra={"kb_id": candidate.kb_id, "passed": report.passed})
        return report


def compare_results(before: GoldenResult, after: GoldenResult, limits: SafetyLimits) -> GateReport:
    """Both are of the same questions in the same order."""
    pairs = zip(before.ranks, after.ranks, strict=True)
    lost = [was.question.question for was, now in pairs if was.rank is not None and now.rank is None]
    return GateReport(
        passed=after.hit_rate >= before.hit_rate - limits.hit_rate_fall - SLACK
        and after.mrr >= before.mrr - limits.mrr_fall - SLACK,
        questions=len(before.ranks),
        hit_rate_before=before.hit_rate,
        hit_rate_after=after.hit_rate,
        mrr_before=before.mrr,
        mrr_after=after.mrr,
        lost=[question[:LONGEST_LOST] for question in lost[:MOST_LOST]],
    )


def _ask_all(questions: Sequence[GoldenQuestion], state: Asked) -> GoldenResult:
    result = ask_questions(questions, lambda question: state.ask(question, TOP_K))
    if "dense" in result.degraded:
        reason = "the embedding model does not answer, so the golden questions cannot be judged; try again later"
        raise Unavailable("embedding_unavailable", reason)
    return result
