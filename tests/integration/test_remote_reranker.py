"""The reranker behind a server, against a real one on loopback that answers well, badly or not at all."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from dataclasses import replace

import numpy as np
import pytest
from fakes.clock import Time
from fakes.rerank_server import MODEL, Answer, RerankServer, send_error, send_json, send_scores, serve_reranks
from fakes.rerankers import share_pairs

from kb.errors import Unavailable
from retrieval.rerank_client import LONGEST_TEXT, PATIENCE, TRIES, RemoteReranker
from retrieval.rerank_client import RerankServer as Address

KEY = "sk-Canary.of_the_rerank_server"
QUESTIONS = ["成人票多少钱？", "What does a boat cost?"]
TEXTS = ["开放夜的成人票每张一百六十元。", "A boat for a day costs twelve pounds.", "岚川县暗夜保护办法"]


@pytest.fixture
def server() -> Iterator[RerankServer]:
    with serve_reranks() as running:
        yield running


@pytest.fixture
def time() -> Time:
    return Time()


@pytest.fixture
def reranker(server: RerankServer, time: Time) -> Iterator[RemoteReranker]:
    address = Address(base_url=server.url, model=MODEL, api_key=KEY)
    reranker = RemoteReranker(address, sleep=time.sleep, clock=lambda: time.now)
    yield reranker
    reranker.close()


def refuse(act: Callable[[], object]) -> str:
    with pytest.raises(Unavailable) as caught:
        act()
    assert caught.value.code == "reranker_unavailable"
    assert KEY not in str(caught.value)
    return caught.value.detail


@pytest.mark.parametrize("question", QUESTIONS)
def test_what_is_asked_and_what_comes_back(server: RerankServer, reranker: RemoteReranker, question: str) -> None:
    scores = reranker.score_texts(question, TEXTS)
    np.testing.assert_allclose(scores, [share_pairs(question, text) for text in TEXTS])
    assert server.bodies == [{"model": MODEL, "query": question, "documents": TEXTS, "top_n": 3}]
    assert server.keys == [f"Bearer {KEY}"]


def test_a_blank_text_is_not_sent_and_scores_no_more_than_another(
    server: RerankServer, reranker: RemoteReranker
) -> None:
    scores = reranker.score_texts(QUESTIONS[0], ["", *TEXTS, " \n"])
    assert server.bodies[0]["documents"] == TEXTS
    assert scores[0] == scores[4] == scores[1:4].min()
    assert list(reranker.score_texts(QUESTIONS[0], [" ", ""])) == [0.0, 0.0]
    assert list(reranker.score_texts(QUESTIONS[0], [])) == []
    assert len(server.bodies) == 1


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize(
    ("question", "word"), [("成人票", "成人票每张一百六十元。"), ("boat", "A boat costs twelve pounds. ")]
)
def test_what_is_too_long_is_cut_until_it_is_taken(
    server: RerankServer, reranker: RemoteReranker, question: str, word: str, *, late: bool
) -> None:
    server.window, server.refuses_late = 600, late
    texts = [word * 400, *TEXTS]
    scores = reranker.score_texts(question, texts)
    sent = server.bodies[-1]["documents"]
    assert sent[1:] == TEXTS
    assert 350 < len(sent[0]) <= 600
    assert sent[0] == texts[0][: len(sent[0])]
    np.testing.assert_allclose(scores, [share_pairs(question, text) for text in sent])
    assert max(len(text) for body in server.bodies for text in body["documents"]) <= LONGEST_TEXT


@pytest.mark.parametrize("question", ["成人票多少钱？" * 1_100, "What does a boat cost? " * 340])
def test_a_question_that_is_too_long_is_cut_as_well(
    server: RerankServer, reranker: RemoteReranker, question: str
) -> None:
    server.window = 800
    reranker.score_texts(question, TEXTS)
    assert server.bodies[-1]["documents"] == TEXTS
    assert question.startswith(server.bodies[-1]["query"])
    assert 400 < len(server.bodies[-1]["query"]) < 800


def test_a_server_that_takes_nothing_is_not_asked_without_end(server: RerankServer, reranker: RemoteReranker) -> None:
    server.always = send_error(400, "BadRequestError", "The model does not support the Rerank API")
    told = refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
    assert "answered 400 (BadRequestError) to a question with 3 texts, however short they were cut" in told
    assert len(server.bodies) == TRIES
    assert all(all([body["query"], *body["documents"]]) for body in server.bodies)
    server.always = None
    assert len(reranker.score_texts(QUESTIONS[0], TEXTS)) == 3  # it is not taken to be away for that


NAN = b'{"results": [{"index": 0, "relevance_score": NaN}]}'


def say_row(score: object, index: object = 0) -> Answer:
    return send_json({"results": [{"index": index, "relevance_score": score}]})


BAD = {
    "too few": (send_json({"results": []}), "sent 0 scores for 1 texts"),
    "too many": (send_scores([1, 2]), "sent 2 scores for 1 texts"),
    "no results": (send_json({"data": []}), "sent no results"),
    "results no list": (send_json({"results": {"a": 1}}), "sent no results"),
    "NaN": (Answer(200, NAN), "NaN or infinite"),
    "infinite": (Answer(200, NAN.replace(b"NaN", b"-Infinity")), "NaN or infinite"),
    "beyond doubles": (Answer(200, NAN.replace(b"NaN", b"1e999")), "something else in place of JSON"),
    "null": (say_row(None), "a score that is not a number"),
    "string": (say_row("0.5"), "a score that is not a number"),
    "true": (say_row(True), "a score that is not a number"),
    "score missing": (send_json({"results": [{"index": 0, "score": 1}]}), "a score that is not a number"),
    "index": (say_row(0.5, index=1), "numbered its scores wrongly"),
    "index negative": (say_row(0.5, index=-1), "numbered its scores wrongly"),
    "index text": (say_row(0.5, index="0"), "numbered its scores wrongly"),
    "row": (send_json({"results": [0.5]}), "numbered its scores wrongly"),
    "error in a 200": (send_json({"error": {"type": "api_error", "message": KEY}}), "reports an error (api_error)"),
    "list": (send_json([1]), "not an object"),
    "html": (Answer(200, b"<html>proxy</html>"), "a web page in place of JSON; is it a reranker?"),
    "401": (send_error(401, "invalid_api_key", f"wrong key {KEY}"), "set KB_RERANKER_API_KEY"),
    "403": (send_error(403, KEY), "set KB_RERANKER_API_KEY"),
    "404": (send_error(404, "NotFoundError"), "KB_RERANKER_MODEL must be a model that it serves"),
    "501": (send_error(501, "not_supported_error"), "answered 501 (not_supported_error)"),
    "redirect": (Answer(307, b"", {"Location": f"http://elsewhere/?{KEY}"}), "set KB_RERANKER to the address"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_bad_answer_is_named_and_gives_no_score(
    server: RerankServer, reranker: RemoteReranker, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    server.always, reason = BAD[fault]
    told = refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS[:1]))
    assert reason in told
    assert f"the reranker server {server.url} (model {MODEL!r})" in told
    assert KEY not in caplog.text
    assert TEXTS[0] not in caplog.text + told
    assert len(server.bodies) == 1


def test_equal_places_in_one_answer_are_refused(server: RerankServer, reranker: RemoteReranker) -> None:
    rows = [{"index": 0, "relevance_score": 1.0}, {"index": 0, "relevance_score": 2.0}]
    server.always = send_json({"results": rows})
    assert "numbered its scores wrongly" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS[:2]))


# -- a server that is away ----------------------------------------------------------------------------------------


def test_a_connection_that_broke_is_made_once_again(server: RerankServer, reranker: RemoteReranker, time: Time) -> None:
    reranker.score_texts(QUESTIONS[0], TEXTS)
    server.faults = [Answer(0)]
    assert len(reranker.score_texts(QUESTIONS[0], TEXTS)) == 3
    assert time.slept == [PATIENCE.pause_s]
    server.always = Answer(0)
    server.bodies.clear()
    assert "broke off" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
    assert len(server.bodies) == 2


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_busy_server_is_not_waited_for(
    server: RerankServer, reranker: RemoteReranker, time: Time, status: int
) -> None:
    server.always = send_error(status, "busy", **{"Retry-After": "7"})
    assert f"answered {status} (busy)" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
    assert (time.slept, len(server.bodies)) == ([], 1)
    server.always = None
    refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
    assert len(server.bodies) == 1  # taken to be away
    time.now += PATIENCE.away_s
    assert len(reranker.score_texts(QUESTIONS[0], TEXTS)) == 3


def test_a_stalled_server_costs_one_attempt(server: RerankServer, time: Time) -> None:
    hasty = replace(PATIENCE, read_s=0.05)
    address = Address(base_url=server.url, model=MODEL, patience=hasty)
    reranker = RemoteReranker(address, sleep=time.sleep, clock=lambda: time.now)
    server.always = Answer(stall=True)
    assert "sent nothing for 0.05 s" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
    assert (time.slept, len(server.bodies)) == ([], 1)
    reranker.close()


def test_nothing_listens(server: RerankServer, reranker: RemoteReranker) -> None:
    server.stop()
    assert "cannot be reached" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))


def test_the_key_is_sent_and_never_shown(server: RerankServer, reranker: RemoteReranker) -> None:
    server.key = KEY
    reranker.score_texts(QUESTIONS[0], TEXTS)
    assert KEY not in repr(reranker) + repr(vars(reranker))
    server.key = "another"
    assert "set KB_RERANKER_API_KEY" in refuse(lambda: reranker.score_texts(QUESTIONS[0], TEXTS))
