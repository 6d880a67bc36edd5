"""A search with a reranker: whom it asks, what becomes of the order, and what is left when it cannot answer."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.feed import Encoders as OneEncoder
from fakes.feed import HashEncoder, MemoryFeed
from fakes.rerankers import PairReranker, share_pairs

from kb.types import Filter
from retrieval.fuse import FusedMatch
from retrieval.reranking import count_candidates
from retrieval.search import Passage, Searcher, SearchRequest, SearchResult
from retrieval.state import IndexShelf
from retrieval.texts import MOST_HELD, TextReader

CROWD = {f"人群/{i:02}.txt": [f"开放夜门票 the price of a boat {'门票 boat ' * (5 - i % 5)}{i:02}"] for i in range(60)}
PLANTED = {"zh/价目.txt": ["门票价目见牌子，开放夜除外。"], "en/fees.txt": ["The boat of the keeper has a price."]}
QUESTIONS = {"开放夜门票多少钱？": "zh/价目.txt", "What is the price of a boat?": "en/fees.txt"}
BOTH = pytest.mark.parametrize("question", QUESTIONS)


class House:
    def __init__(self, folder: Path) -> None:
        self.feed = MemoryFeed()
        self.feed.add_kb("kb1")
        self.feed.publish("kb1", {**CROWD, **PLANTED})
        self.reranker = PairReranker()
        self.shelf = IndexShelf(self.feed, folder)
        self.searcher = Searcher(self.shelf, self.feed, self.feed, OneEncoder(HashEncoder()), self.reranker)

    def search(self, question: str, **options: object) -> SearchResult:
        return self.searcher.search(SearchRequest(query=question, kb_id="kb1", **{"merge": False, **options}))

    def list_fused(self, question: str, top_k: int) -> list[tuple[str, FusedMatch]]:
        """Text and scores of the whole fused ranking of a search that is not reranked."""
        walk = self.searcher.walk(SearchRequest(query=question, kb_id="kb1", top_k=top_k, rerank=False))
        rows = {row.chunk_id: row.text for row in self.feed.get_rows(1, [match.chunk_id for match in walk.fused])}
        return [(rows[match.chunk_id], match) for match in walk.fused]

    def plant(self, question: str) -> str:
        """Has the reranker prefer the planted text of `question`; its path, which the fused ranking has far down."""
        path = QUESTIONS[question]
        self.reranker.favourite = PLANTED[path][0]
        return path


@pytest.fixture
def house(tmp_path: Path) -> Iterator[House]:
    house = House(tmp_path)
    yield house
    house.shelf.close()


def list_paths(result: SearchResult) -> list[str]:
    return [passage.path for passage in result.passages]


def show(passages: list[Passage]) -> list[tuple[str, float]]:
    return [(passage.path, passage.score) for passage in passages]


@BOTH
def test_a_text_that_it_prefers_comes_first(house: House, question: str) -> None:
    path = house.plant(question)
    assert path not in list_paths(house.search(question, rerank=False))
    result = house.search(question)
    assert (list_paths(result)[0], result.degraded) == (path, ())
    best = result.passages[0]
    assert (best.score, best.scores.rerank) == (1000.0, 1000.0)
    assert best.scores.fused is not None
    assert best.text == house.reranker.favourite
    assert result.timings_ms["rerank"] > 0
    assert result.timings_ms["rerank"] <= result.timings_ms["total"]


@BOTH
@pytest.mark.parametrize("top_k", [1, 3, 8, 40])
def test_the_best_of_the_fused_ranking_are_ordered_by_its_scores(house: House, question: str, top_k: int) -> None:
    fused = house.list_fused(question, top_k)[: count_candidates(top_k)]
    result = house.search(question, top_k=top_k, max_tokens=100_000)
    assert house.reranker.asked == [(question, [text for text, _ in fused])]
    expected = sorted(fused, key=lambda one: -share_pairs(question, one[0]))[:top_k]  # stable, as it must be
    assert [passage.text for passage in result.passages] == [text for text, _ in expected]
    for passage, (text, match) in zip(result.passages, expected, strict=True):
        assert passage.score == passage.scores.rerank == share_pairs(question, text)
        scores = passage.scores
        assert (scores.fused, scores.dense, scores.lexical) == (match.score, match.dense, match.lexical)


def test_how_many_are_read() -> None:
    assert [count_candidates(top_k) for top_k in (1, 7, 8, 20, 25, 26, 100)] == [30, 30, 32, 80, 100, 100, 100]


@BOTH
def test_it_is_asked_by_default_and_not_when_told_so(house: House, question: str) -> None:
    house.plant(question)
    asked = house.search(question, rerank=True)
    assert show(house.search(question).passages) == show(asked.passages)
    house.reranker.asked.clear()
    result = house.search(question, rerank=False)
    assert house.reranker.asked == []
    assert result.timings_ms["rerank"] == 0
    assert {passage.scores.rerank for passage in result.passages} == {None}
    assert [passage.scores.fused for passage in result.passages] == [passage.score for passage in result.passages]


@BOTH
@pytest.mark.parametrize("rerank", [True, None])
def test_one_that_cannot_answer_costs_the_rerank_not_the_search(
    house: House, question: str, caplog: pytest.LogCaptureFixture, *, rerank: bool | None
) -> None:
    house.plant(question)
    house.reranker.down = True
    result = house.search(question, rerank=rerank)
    assert result.degraded == ("rerank",)
    assert show(result.passages) == show(house.search(question, rerank=False).passages)
    told = [record for record in caplog.records if record.name == "retrieval.reranking"]
    assert [record.levelno for record in told] == [logging.WARNING]
    assert "switched off" in told[0].getMessage()
    assert question not in caplog.text


@BOTH
def test_a_filter_is_kept_and_what_is_hidden_is_not_read(house: House, question: str) -> None:
    path = house.plant(question)
    house.search(question)
    house.feed.remove("kb1", path, purge=False)
    house.reranker.asked.clear()
    assert path not in list_paths(house.search(question))
    result = house.search(question, only=Filter(path_prefix="人群/0"))
    assert {one[: len("人群/0")] for one in list_paths(result)} == {"人群/0"}
    assert [len(texts) for _, texts in house.reranker.asked] == [32, 10]
    assert all(house.reranker.favourite not in texts for _, texts in house.reranker.asked)


def test_nothing_found_is_nothing_to_read(house: House) -> None:
    result = house.search("qqqq", mode="lexical")
    assert (result.passages, result.degraded) == ([], ())


@BOTH
def test_a_text_that_is_gone_is_left_out(house: House, question: str) -> None:
    gone = list_paths(house.search(question))[0]
    house.feed.texts.pop(next(v.text_sha for v in house.feed.versions.values() if v.path == gone))
    house.reranker.asked.clear()
    result = house.search(question)
    assert gone not in list_paths(result)
    assert (len(result.passages), result.degraded) == (8, ())
    assert len(house.reranker.asked[0][1]) == 31


@BOTH
def test_merging_follows_its_order(house: House, question: str) -> None:
    house.feed.publish(
        "kb1",
        {"two.txt": ["开放夜 boat 一", "牌子：开放夜门票 the price of a boat 二", "开放夜门票 price of a boat 三"]},
    )
    house.reranker.favourite = "牌子：开放夜门票 the price of a boat 二"
    passage = house.search(question, merge=True, top_k=4).passages[0]
    assert passage.path == "two.txt"
    assert "牌子：开放夜门票 the price of a boat 二" in passage.text
    assert passage.score == 1000.0


class Texts:
    def __init__(self, **texts: str) -> None:
        self.texts = texts
        self.read: list[str] = []

    def read_text(self, text_sha: str) -> str:
        self.read.append(text_sha)
        return self.texts[text_sha]


def test_texts_are_read_once_unless_they_are_too_large_to_hold() -> None:
    source = Texts(small="年假 leave", large="长" * (MOST_HELD - 5))
    reader = TextReader(source)
    for name in ("small", "large", "small", "large"):
        assert reader.read_text(name) == source.texts[name]
    assert source.read == ["small", "large", "large"]


def test_scores_may_be_of_any_float_type(house: House) -> None:
    house.reranker.score_texts = lambda question, texts: np.linspace(0, 1, len(texts), dtype=np.float32)  # type: ignore[method-assign]
    scores = [passage.score for passage in house.search(next(iter(QUESTIONS))).passages]
    assert all(type(score) is float for score in scores)
    assert scores == sorted(scores, reverse=True)
