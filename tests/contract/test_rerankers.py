"""What every reranker must do, with values: the same suite over each of them, beside an oracle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from fakes.rerank_server import MODEL, serve_reranks
from fakes.rerankers import PairReranker, share_pairs
from fakes.tiny_model import build_bert_reranker, build_xlm_reranker
from sentence_transformers import CrossEncoder

from retrieval.rerank import LocalReranker, Reranker, RerankerSettings
from retrieval.rerank_client import RemoteReranker, RerankServer

Oracle = Callable[[str, Sequence[str]], Sequence[float]]

QUESTIONS = ["今天天气好吗？", "What is a knowledge base?", "知识库 knowledge base 2024", "a"]
TEXTS = [
    "知识库的文档",
    "the weather is good today",
    "今天天气很好。",
    "a",
    "Hello, 中国! 3.14",
    "the the the model " * 3,
    "今天天气很好。",
]
ODD = [
    "\u202e\u200b\ufeff",
    "e\u0301\u0301",
    "👩\u200d👩\u200d👧",
    "\U00020000\U0010fffd",
    "\x00\x01",
    "\ud800半",
    "𝔘𝔫𝔦",
]
LONG = ["知识库的文档回答问题。" * 900, "the weather is good today. " * 700, "a" * 20_000, "天气"]
BUILDERS = {"bert": build_bert_reranker, "xlm-roberta": build_xlm_reranker}


def share_all(question: str, texts: Sequence[str]) -> list[float]:
    return [share_pairs(question, text) for text in texts]


@pytest.fixture(scope="session", params=["fake", "bert", "xlm-roberta", "remote"])
def pair(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Reranker, Oracle]]:
    if request.param == "fake":
        yield PairReranker(), share_all
    elif request.param == "remote":
        with serve_reranks() as server:
            reranker = RemoteReranker(RerankServer(base_url=server.url, model=MODEL))
            yield reranker, share_all
            reranker.close()
    else:
        folder = BUILDERS[request.param](tmp_path_factory.mktemp("models") / request.param)
        oracle = CrossEncoder(str(folder), device="cpu")
        settings = RerankerSettings(device="cpu", dtype="float32", batch_tokens=150)
        yield (
            LocalReranker(str(folder), Path, settings),
            lambda question, texts: oracle.predict([(question, text) for text in texts]),
        )


@pytest.fixture
def reranker(pair: tuple[Reranker, Oracle]) -> Reranker:
    return pair[0]


@pytest.fixture
def oracle(pair: tuple[Reranker, Oracle]) -> Oracle:
    return pair[1]


@pytest.mark.parametrize("question", QUESTIONS)
def test_scores_are_those_of_each_pair_alone(reranker: Reranker, oracle: Oracle, question: str) -> None:
    scores = reranker.score_texts(question, TEXTS)
    np.testing.assert_allclose(scores, oracle(question, TEXTS), atol=1e-3)
    assert scores[2] == pytest.approx(scores[6], abs=1e-6)


@pytest.mark.parametrize("text", TEXTS)
def test_one_text(reranker: Reranker, oracle: Oracle, text: str) -> None:
    [score] = reranker.score_texts(QUESTIONS[0], [text])
    assert score == pytest.approx(oracle(QUESTIONS[0], [text])[0], abs=1e-3)


def test_no_texts(reranker: Reranker) -> None:
    assert len(reranker.score_texts(QUESTIONS[0], [])) == 0


def test_many_texts_keep_their_order(reranker: Reranker, oracle: Oracle) -> None:
    texts = [f"{TEXTS[at % len(TEXTS)]} {at}" for at in range(100)]
    scores = reranker.score_texts(QUESTIONS[2], texts)
    np.testing.assert_allclose(scores, oracle(QUESTIONS[2], texts), atol=1e-3)
    np.testing.assert_allclose(reranker.score_texts(QUESTIONS[2], texts[::-1]), scores[::-1], atol=1e-5)


@pytest.mark.parametrize("question", ["天气", "weather", "知识库的问题" * 1_300, "what is the weather " * 400])
def test_what_is_too_long_is_taken_with_what_is_short(reranker: Reranker, oracle: Oracle, question: str) -> None:
    scores = reranker.score_texts(question, LONG)
    assert scores.shape == (4,)
    assert np.isfinite(scores).all()
    assert scores[3] == pytest.approx(oracle(question, LONG[3:])[0], abs=1e-3)


def test_odd_characters_and_blank_texts_have_a_score(reranker: Reranker) -> None:
    scores = reranker.score_texts("\ud800问\x00?", [*ODD, "", " ", "\n\t", "天气"])
    assert scores.shape == (len(ODD) + 4,)
    assert np.isfinite(scores).all()


def test_threads_agree(reranker: Reranker) -> None:
    expected = {question: reranker.score_texts(question, TEXTS) for question in QUESTIONS}
    with ThreadPoolExecutor(4) as threads:
        for question, scores in threads.map(lambda q: (q, reranker.score_texts(q, TEXTS)), QUESTIONS * 5):
            np.testing.assert_allclose(scores, expected[question], atol=1e-5)


def test_it_says_what_it_is(reranker: Reranker) -> None:
    assert reranker.name
