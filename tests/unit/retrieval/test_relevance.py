from __future__ import annotations

from dataclasses import replace

import pytest
from fakes.passages import NO_SCORES, make_passage

from kb.types import RefusalRule, RelevanceMeasure
from retrieval.passages import Passage
from retrieval.relevance import JudgedSource, Relevance, measure_relevance, refuse_by
from retrieval.search import SearchRequest, SearchResult

FEES = make_passage("The museum opens at nine. A boat for a day costs twelve pounds.", title=None, path="a")
TICKETS = make_passage("开放夜的成人票每张一百六十元。学生票每张八十元。", title=None, path="b")
VECTORS, WORDS, RERANK = RelevanceMeasure.VECTORS, RelevanceMeasure.WORDS, RelevanceMeasure.RERANK


def score(passage: Passage, **scores: float) -> Passage:
    return replace(passage, scores=replace(NO_SCORES, **scores))


@pytest.mark.parametrize(
    ("near", "far", "passage"),
    [
        ("How much costs a boat for a day?", "Who painted the ceiling of the chapel?", FEES),
        ("成人票每张多少元？", "长江的源头在哪座山？", TICKETS),
    ],
)
def test_words_alone_tell_a_question_about_the_passage_from_one_about_nothing_in_it(
    near: str, far: str, passage: Passage
) -> None:
    assert measure_relevance(near, [passage]) == Relevance(value=1.0, measure=WORDS)
    assert measure_relevance(far, [passage]).value < 0.2


def test_words_and_the_best_cosine_count_alike() -> None:
    question = "How much costs a boat for a day?"
    found = [score(TICKETS, dense=0.1), score(FEES, dense=0.6), FEES]
    assert measure_relevance(question, found) == Relevance(value=pytest.approx(0.8), measure=VECTORS)
    assert measure_relevance(question, [score(FEES, dense=-0.6)]).value == pytest.approx(0.5)
    assert measure_relevance("?", [score(FEES, dense=0.6)]).value == pytest.approx(0.3)  # a question without words


def test_a_reranker_decides_alone() -> None:
    found = [score(FEES, dense=0.9, rerank=0.02), score(TICKETS, rerank=0.07)]
    assert measure_relevance("How much costs a boat?", found) == Relevance(value=0.07, measure=RERANK)
    assert measure_relevance("q", [score(FEES, rerank=7.5)]).value == 1
    assert measure_relevance("q", [score(FEES, rerank=-7.5)]).value == 0


def test_nothing_found_is_not_relevant() -> None:
    assert measure_relevance("成人票", []) == Relevance(value=0.0, measure=WORDS)


def rule(threshold: float, measure: RelevanceMeasure = VECTORS) -> RefusalRule:
    return RefusalRule(threshold=threshold, measure=measure)


def test_refused_is_what_lies_below_the_threshold() -> None:
    found = [score(FEES, dense=0.6)]
    question = "How much costs a boat for a day?"  # 0.8
    assert refuse_by([rule(0.81)], question, found) is True
    assert refuse_by([rule(0.79)], question, found) is False
    assert refuse_by([rule(0.0)], "Who?", [score(FEES, dense=-1.0)]) is False


def test_without_a_rule_that_fits_nothing_is_said() -> None:
    found = [score(FEES, dense=0.6)]
    assert refuse_by([None], "q", found) is None
    assert refuse_by([rule(1.0, RERANK)], "q", found) is None  # the reranker did not answer
    assert refuse_by([rule(1.0), None], "q", found) is None
    assert refuse_by([rule(1.0), rule(1.0, WORDS)], "q", found) is None


def test_of_several_knowledge_bases_the_most_patient_decides() -> None:
    found = [score(FEES, dense=0.6)]
    assert refuse_by([rule(0.9), rule(0.1)], "How much costs a boat for a day?", found) is False
    assert refuse_by([rule(0.9), rule(0.95)], "How much costs a boat for a day?", found) is True


class Found:
    def __init__(self, *passages: Passage) -> None:
        self.passages = passages

    def search(self, request: SearchRequest) -> SearchResult:
        return SearchResult(passages=self.passages, revision=3, degraded=(), timings_ms={})


class Rules(dict[str, RefusalRule]):
    def get_refusal(self, kb_id: str) -> RefusalRule | None:
        return self.get(kb_id)


def test_a_search_says_what_the_rules_of_those_asked_say() -> None:
    request = SearchRequest(query="Who painted the ceiling?", kb_id="a")
    found = Found(score(FEES, dense=0.2))
    rules = Rules(a=rule(0.5), b=rule(0.01))
    assert JudgedSource(found, rules).search(request).refused is True
    assert JudgedSource(found, rules).search(replace(request, also=["b"])).refused is False
    assert JudgedSource(found, rules).search(replace(request, also=["c"])).refused is None
    assert JudgedSource(Found(), rules).search(request) == Found().search(request)
