"""Ranks of golden questions, and the rates made of them."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from fakes.passages import make_passage

from kb.matching import fold_text
from kb.types import GoldenQuestion
from retrieval.copies import Duplicate
from retrieval.golden import GoldenRank, GoldenResult, ask_questions, find_rank
from retrieval.search import SearchResult


def make_question(text: str = "q", paths: tuple[str, ...] = (), answers: tuple[str, ...] = ()) -> GoldenQuestion:
    return GoldenQuestion(id=text, question=text, paths=paths, answers=answers, created_at=datetime.now(UTC))


PASSAGES = [
    make_passage("The dome weighs 200 tons.", path="domes/a.md"),
    make_passage("年假有 十五\n天。", path="hr/制度.md"),
    make_passage("Annual leave: ＦＩＦＴＥＥＮ days.", path="hr/en/leave.md"),
]


@pytest.mark.parametrize(
    ("paths", "answers", "rank"),
    [
        (["domes/a.md"], [], 1),
        (["hr/制度.md"], [], 2),
        (["nothing.md", "hr/en/leave.md"], [], 3),
        (["hr/"], [], 2),
        (["hr/en/"], [], 3),
        (["hr"], [], None),
        (["hr/en"], [], None),
        (["hr/en/leave"], [], None),
        ([], ["200 Tons"], 1),
        ([], ["十五天"], 2),
        ([], ["十 五 天"], 2),
        ([], ["fifteen"], 3),
        ([], ["zero", "fifteen  DAYS"], 3),
        ([], ["sixteen"], None),
        (["hr/"], ["days"], 3),
        (["domes/"], ["fifteen"], None),
    ],
)
def test_the_first_passage_that_satisfies_gives_the_rank(
    paths: list[str], answers: list[str], rank: int | None
) -> None:
    assert find_rank(make_question(paths=tuple(paths), answers=tuple(answers)), PASSAGES) == rank


@pytest.mark.parametrize(("paths", "rank"), [(("copies/制度.md",), 1), (("copies/",), 1), (("other.md",), None)])
def test_a_copy_that_another_passage_stands_for_is_found(paths: tuple[str, ...], rank: int | None) -> None:
    copy = Duplicate(document_id="d2", path="copies/制度.md", title=None, kb_id="kb1")
    passages = [make_passage("年假有十五天。", path="hr/制度.md", duplicates=(copy,))]
    assert find_rank(make_question(paths=paths), passages) == rank


@pytest.mark.parametrize(
    ("one", "other"),
    [("ＡＢＣ１２", "abc12"), ("Straße", "STRASSE"), ("a\u3000b\n c", "abc"), ("㎏", "kg"), ("é", "é")],
)
def test_what_makes_no_difference(one: str, other: str) -> None:
    assert fold_text(one) == fold_text(other)


def make_result(*ranks: int | None) -> GoldenResult:
    return GoldenResult(ranks=[GoldenRank(question=make_question(str(n)), rank=rank) for n, rank in enumerate(ranks)])


def test_rates() -> None:
    result = make_result(1, 2, None, 4)
    assert (result.hit_rate, result.mrr) == (0.75, pytest.approx((1 + 0.5 + 0.25) / 4))
    assert (make_result().hit_rate, make_result().mrr) == (0, 0)
    assert (make_result(None).hit_rate, make_result(None).mrr) == (0, 0)


def test_each_question_is_asked_and_what_was_lacking_is_said() -> None:
    asked: list[str] = []

    def ask(question: str) -> SearchResult:
        asked.append(question)
        degraded = ["dense"] if question == "b" else []
        return SearchResult(passages=PASSAGES, revision=1, degraded=degraded, timings_ms={})

    result = ask_questions([make_question("a", ("hr/",)), make_question("b", (), ("200tons",))], ask)
    assert asked == ["a", "b"]
    assert [one.rank for one in result.ranks] == [2, 1]
    assert result.degraded == ["dense"]
