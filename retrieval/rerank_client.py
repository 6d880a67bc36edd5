"""A reranker behind a server: `POST …/v1/rerank` as vLLM, llama-server and others answer it.

The scores are the server's own: vLLM sends numbers from 0 to 1, llama-server the model's raw ones. Either orders texts.
A server has the tokenizer, so that it must say itself when question and text are too long for its model. Then what is
longest is cut, again and again, until it takes them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kb.model_answer import order_by_index, read_object
from kb.model_server import ModelClient, ModelServer, ModelTask, Patience, TextsRefused
from kb.text import replace_surrogates
from retrieval.rerank import Scores

TASK = ModelTask(noun="reranker", path="rerank", code="reranker_unavailable", setting="KB_RERANKER")

# Somebody waits for the search, which has an order without us. Only a connection that broke is made again: a server may
# have closed one that was kept.
PATIENCE = Patience(connect_s=2, read_s=10, total_s=10, attempts=2, pause_s=0.1, away_s=5, awaits_busy=False)
LONGEST_TEXT = 8_000  # characters; a chunk has a tenth of that, and models of ours read as much
TRIES = 10  # a third of the longest is cut off before each other one: at last 208 characters, which 512 tokens hold


@dataclass(frozen=True, kw_only=True, slots=True)
class RerankServer(ModelServer):
    patience: Patience = PATIENCE


class RemoteReranker:
    """`retrieval.rerank.Reranker`. Thread-safe. `sleep` and `clock` are handed in so that a test needs no time."""

    def __init__(
        self,
        server: RerankServer,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.name = server.model
        self._patience = server.patience
        self._client = ModelClient(server, TASK, sleep=sleep, clock=clock)

    def score_texts(self, question: str, texts: Sequence[str]) -> Scores:
        scores = np.full(len(texts), -np.inf)
        whole = [replace_surrogates(text).strip() for text in texts]
        places = [place for place, text in enumerate(whole) if text]  # servers refuse a text without a character
        if places:
            asked = replace_surrogates(question).strip()
            scores[places] = self._score_shortened(asked, [whole[place] for place in places])
        lowest = float(scores[places].min()) if places else 0.0
        return np.where(np.isfinite(scores), scores, lowest)

    def check_reachable(self) -> None:
        """Whether the server answers at all. Raises Unavailable (`reranker_unavailable`)."""
        self._client.check_reachable()

    def close(self) -> None:
        self._client.close()

    def _score_shortened(self, question: str, texts: Sequence[str]) -> Scores:
        refused, longest = "", min(LONGEST_TEXT, max(map(len, [question, *texts])))
        for _ in range(TRIES):
            try:
                return self._ask(question[:longest], [text[:longest] for text in texts])
            except TextsRefused as refusal:
                refused, longest = str(refusal), max(1, longest * 2 // 3)
        fault = f"{refused} to a question with {len(texts)} texts, however short they were cut; is it a reranker?"
        raise self._client.say(fault)

    def _ask(self, question: str, texts: Sequence[str]) -> Scores:
        request = {"query": question, "documents": list(texts), "top_n": len(texts)}
        content = self._client.post(request, self._patience)
        try:
            return read_scores(content, len(texts))
        except ValueError as fault:
            raise self._client.say(str(fault)) from None


def read_scores(content: bytes, count: int) -> Scores:
    """One score a text, in the order of the texts. Raises ValueError: what the server sent in place of that."""
    rows = read_object(content, "a reranker").get("results")
    if not isinstance(rows, list):
        raise ValueError("sent no results")
    scores = np.array([_read_score(row) for row in order_by_index(rows, count, "scores")])
    if not np.isfinite(scores).all():
        raise ValueError("sent numbers that are none (NaN or infinite)")
    return scores


def _read_score(row: Mapping[str, Any]) -> float:
    score = row.get("relevance_score")
    if isinstance(score, bool) or not isinstance(score, int | float):
        raise ValueError("sent a score that is not a number")
    return float(score)
