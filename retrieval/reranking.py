"""The step of a search that reranks: a model reads the best hits of the fused ranking once more, beside the question.

What is read is a hit's own text, which is what is cited and what the score is to be of. Path, title and heading are
left out: they stand before every chunk of a document alike, so that they would lift all of its chunks, and the models
were trained on passages without them. The fused ranking has counted them already.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace

from kb.errors import Unavailable
from retrieval.merge import Hit
from retrieval.rerank import Reranker
from retrieval.texts import TextReader

FEWEST = 30
MOST = 100

log = logging.getLogger(__name__)


def count_candidates(top_k: int) -> int:
    """How many of the best hits are reranked. The work follows this number, and a hit that is not among them cannot be
    brought up; figures in `docs/search.md`."""
    return min(max(FEWEST, 4 * top_k), MOST)


@dataclass(frozen=True, kw_only=True, slots=True)
class Reranking:
    """`hits` by the reranker's score; those it was given as they were when it could not answer: `fault` says why."""

    hits: Sequence[Hit]
    fault: str | None = None


def rerank_hits(reranker: Reranker | None, question: str, hits: Sequence[Hit], texts: TextReader) -> Reranking:
    """A reranker that cannot answer costs the rerank, not the search. Those without a text come last, as they were;
    equal scores keep their order."""
    if reranker is None:
        return Reranking(hits=hits, fault="no reranker is set (KB_RERANKER)")
    read = list(zip(hits, texts.read_chunks([hit.chunk for hit in hits]), strict=True))
    pairs = [(hit, text) for hit, text in read if text is not None]
    try:
        scores = reranker.score_texts(question, [text for _, text in pairs])
    except Unavailable as error:
        log.warning("rerank.failed reason=%s", error.detail)  # no request of a user's tells it
        return Reranking(hits=hits, fault=error.detail)
    scored = [
        replace(hit, score=score, rerank=score) for (hit, _), score in zip(pairs, map(float, scores), strict=True)
    ]
    scored.sort(key=lambda hit: -hit.score)
    return Reranking(hits=[*scored, *(hit for hit, text in read if text is None)])
