"""What the gate lets pass."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime

import pytest
from fakes.passages import make_passage

from kb.errors import Unavailable
from kb.types import Candidate, GoldenQuestion, SafetyLimits
from retrieval.gate import MOST_LOST, GoldenGate, compare_results
from retrieval.golden import GoldenRank, GoldenResult
from retrieval.search import SearchResult

CANDIDATE = Candidate(kb_id="kb1", space_id=1)


def make_questions(count: int) -> list[GoldenQuestion]:
    return [
        GoldenQuestion(id=str(n), question=f"q{n}", paths=[f"{n}.txt"], answers=[], created_at=datetime.now(UTC))
        for n in range(count)
    ]


def make_result(*ranks: int | None) -> GoldenResult:
    pairs = zip(make_questions(len(ranks)), ranks, strict=True)
    return GoldenResult(ranks=[GoldenRank(question=question, rank=rank) for question, rank in pairs])


@pytest.mark.parametrize(
    ("before", "after", "limits", "passed"),
    [
        ([1, 1], [1, 1], (0, 0), True),
        ([1, None], [None, 1], (0, 0), True),
        ([2, None], [1, 1], (0, 0), True),
        ([None, None], [None, None], (0, 0), True),
        ([1, 1], [1, None], (0, 1), False),
        ([1, 1], [1, 2], (0, 0.2), False),
        ([1, 1], [1, 2], (0, 0.25), True),
        ([1, 1], [1, 10], (0, 0.5), True),
        ([1] * 20, [1] * 19 + [None], (0.05, 0.05), True),
        ([1] * 20, [1] * 18 + [None] * 2, (0.05, 0.05), False),
        ([1] * 20, [1] * 18 + [None] * 2, (0.1, 0.05), False),
        ([1] * 20, [1] * 18 + [None] * 2, (0.05, 0.1), False),
        ([1] * 20, [1] * 18 + [None] * 2, (0.1, 0.1), True),
        ([1] * 7 + [None] * 13, [1] * 6 + [None] * 14, (0.05, 0.05), True),
        ([1] * 2, [None] * 2, (1, 1), True),
    ],
)
def test_a_fall_of_what_is_allowed_passes_and_no_more(
    before: Sequence[int | None], after: Sequence[int | None], limits: tuple[float, float], *, passed: bool
) -> None:
    allowed = SafetyLimits(hit_rate_fall=limits[0], mrr_fall=limits[1])
    assert compare_results(make_result(*before), make_result(*after), allowed).passed is passed


@pytest.mark.parametrize("count", [3, 7, 9, 11, 13, 19, 29, 49, 97])
def test_rounding_never_refuses_what_is_exactly_allowed(count: int) -> None:
    for lost in range(count + 1):
        limits = SafetyLimits(hit_rate_fall=lost / count, mrr_fall=lost / count)
        for found in range(lost, count + 1):
            before = make_result(*[1] * found, *[None] * (count - found))
            after = make_result(*[1] * (found - lost), *[None] * (count - found + lost))
            assert compare_results(before, after, limits).passed


def test_a_report_tells_both_rates_and_what_was_lost() -> None:
    report = compare_results(make_result(1, 2, 3, None), make_result(1, None, 1, 4), SafetyLimits())
    assert report.describe() == {
        "passed": True,
        "questions": 4,
        "hit_rate": {"before": 0.75, "after": 0.75},
        "mrr": {"before": pytest.approx(11 / 24), "after": pytest.approx(9 / 16)},
        "lost": ["q1"],
    }
    many = compare_results(make_result(*[1] * 200), make_result(*[None] * 200), SafetyLimits())
    assert list(many.lost) == [f"q{n}" for n in range(MOST_LOST)]


class Found:
    """Answers each question with the passages of these paths."""

    def __init__(self, paths: Mapping[str, Sequence[str]], degraded: Sequence[str] = ()) -> None:
        self.paths = paths
        self.degraded = degraded

    def ask(self, question: str, top_k: int) -> SearchResult:
        passages = [make_passage("x", path=path) for path in self.paths.get(question, [])]
        return SearchResult(passages=passages[:top_k], revision=1, degraded=self.degraded, timings_ms={})


class House:
    """The gate's surroundings. `opened` counts comparisons."""

    def __init__(self, before: Found, after: Found, questions: int = 2) -> None:
        self.both = (before, after)
        self.questions = make_questions(questions)
        self.opened = 0
        self.gate = GoldenGate(self, self, self)

    def list_all(self, kb_id: str) -> list[GoldenQuestion]:
        return self.questions

    def get_limits(self, kb_id: str) -> SafetyLimits:
        return SafetyLimits(hit_rate_fall=0.4, mrr_fall=1)

    @contextmanager
    def open_both(self, candidate: Candidate) -> Iterator[tuple[Found, Found]]:
        assert candidate is CANDIDATE
        self.opened += 1
        yield self.both


def test_a_knowledge_base_without_questions_costs_nothing() -> None:
    house = House(Found({}), Found({}), questions=0)
    assert house.gate.judge(CANDIDATE) is None
    assert house.opened == 0


def test_the_knowledge_bases_own_limits_decide() -> None:
    good = Found({"q0": ["x", "0.txt"], "q1": ["1.txt"]})
    bad = Found({"q0": ["0.txt"], "q1": ["x"]})
    passed, refused = House(good, good).gate.judge(CANDIDATE), House(good, bad).gate.judge(CANDIDATE)
    assert passed is not None
    assert refused is not None
    assert (passed.passed, refused.passed) == (True, False)
    assert (refused.hit_rate_before, refused.hit_rate_after, refused.mrr_before) == (1, 0.5, 0.75)


@pytest.mark.parametrize("half", [0, 1])
def test_half_a_search_is_no_judgement(half: int) -> None:
    good, poor = Found({"q0": ["0.txt"]}), Found({"q0": ["0.txt"]}, degraded=["dense"])
    house = House(*([poor, good] if half == 0 else [good, poor]))
    with pytest.raises(Unavailable, match="embedding_unavailable"):
        house.gate.judge(CANDIDATE)
