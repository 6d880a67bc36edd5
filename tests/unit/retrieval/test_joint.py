"""Joining rankings that share no scale: by the rank at home and by the rank of the question's words among all."""

from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.hits import make_hit

from retrieval.joint import COMMON_WEIGHT, join_rankings, rank_by_words
from retrieval.merge import Hit

TEXTS = {
    "a": "职工年假为十五天。",
    "b": "病假另有规定。",
    "c": "Employees have fifteen days of annual leave.",
    "d": "The dome opens at nine.",
    "e": "年假须提前申请。",
}


def read(hit: Hit) -> str:
    return TEXTS[hit.chunk.document_id]


def list_ids(hits: list[Hit]) -> list[str]:
    return [hit.chunk.document_id for hit in hits]


@pytest.mark.parametrize(
    ("question", "texts", "ranks"),
    [
        ("年假有几天", ["病假另有规定。", "职工年假为十五天。", "年假"], [None, 2, 1]),
        ("annual leave", ["no such thing", "annual leave", "leave it", "annual leave"], [None, 1, 3, 1]),
        ("dome 天窗", ["the dome", "天窗", "dome 天窗"], [2, 2, 1]),
        ("，。！？", ["，。", "！"], [None, None]),
        ("leave", [], []),
    ],
)
def test_texts_are_ranked_by_the_words_of_the_question(
    question: str, texts: list[str], ranks: list[int | None]
) -> None:
    assert rank_by_words(question, texts) == ranks


def test_a_rare_word_counts_more_than_a_common_one() -> None:
    texts = ["leave it", "annual days", "leave days", "leave here"]
    assert rank_by_words("annual leave", texts)[1] == 1


@pytest.mark.parametrize(
    ("question", "best", "rest"),
    [("年假有几天", "a", {"b", "c", "d", "e"}), ("days of annual leave", "c", {"a", "b", "d", "e"})],
)
@pytest.mark.parametrize("turned", [False, True])
def test_a_knowledge_base_that_knows_the_answer_comes_first_in_whatever_order_they_are_asked(
    question: str, best: str, rest: set[str], *, turned: bool
) -> None:
    """Its first hit stands before the first hit of the other, which has none of the words."""
    rankings = [[make_hit("d", 9.0), make_hit("b", 8.0)], [make_hit(best, 0.02), make_hit("e", 0.01)]]
    rankings += [[make_hit(name, 0.5)] for name in sorted(rest - {"b", "d", "e"})]
    joined = join_rankings(question, rankings[::-1] if turned else rankings, read)
    assert joined[0].chunk.document_id == best
    assert set(list_ids(joined[1:])) == rest


def test_the_score_is_that_of_both_ranks_and_other_scores_stay() -> None:
    """`e` is shorter than `a`, and so before it by words; equal scores keep the order they came in."""
    first = replace(make_hit("a", 0.3), dense=0.9, lexical=7.0, fused=0.3)
    joined = join_rankings("年假", [[make_hit("d", 0.9)], [first, make_hit("e", 0.2)]], read)
    wanted = [("a", 1 / 11 + COMMON_WEIGHT / 12), ("e", 1 / 12 + COMMON_WEIGHT / 11), ("d", 1 / 11)]
    assert [(hit.chunk.document_id, hit.score) for hit in joined] == [(name, pytest.approx(at)) for name, at in wanted]
    assert (joined[0].dense, joined[0].lexical, joined[0].fused) == (0.9, 7.0, 0.3)


def test_without_a_word_they_take_turns_in_the_order_asked() -> None:
    rankings = [[make_hit("a", 0.1), make_hit("b", 0.05)], [make_hit("c", 0.9), make_hit("d", 0.8)]]
    assert list_ids(join_rankings("？", rankings, read)) == ["a", "c", "b", "d"]
    assert join_rankings("x", [[], []], read) == []


def test_where_a_reranker_saw_all_its_scores_decide_and_where_it_did_not_ranks_do() -> None:
    seen = [[replace(make_hit("a", 0.9), rerank=0.1)], [replace(make_hit("b", 0.1), rerank=0.7)]]
    assert list_ids(join_rankings("年假", seen, read)) == ["b", "a"]
    assert list_ids(join_rankings("年假", [[make_hit("a", 0.9)], seen[1]], read)) == ["a", "b"]
