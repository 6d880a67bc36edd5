"""A Reranker in memory: counts what question and text share, or prefers what it was told to."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kb.errors import Unavailable


def share_pairs(question: str, text: str) -> float:
    """Raw, as a model's last layer: below 0 too. Pairs of characters that both have, less a little for length."""
    pairs = {question[i : i + 2].lower() for i in range(len(question) - 1)}
    return sum(text.lower().count(pair) for pair in sorted(pairs)) - 3 - len(text) / 1000


class PairReranker:
    """`asked` are the calls. A text that holds `favourite` is put before all others; `down` is switched by a test."""

    def __init__(self, favourite: str | None = None) -> None:
        self.name = "pairs"
        self.favourite = favourite
        self.down = False
        self.asked: list[tuple[str, list[str]]] = []

    def score_texts(self, question: str, texts: Sequence[str]) -> np.ndarray:
        if self.down:
            raise Unavailable("reranker_unavailable", "the fake reranker was switched off")
        self.asked.append((question, list(texts)))
        return np.array([self.score(question, text) for text in texts])

    def score(self, question: str, text: str) -> float:
        if self.favourite is not None and self.favourite in text:
            return 1000.0
        return share_pairs(question, text)
