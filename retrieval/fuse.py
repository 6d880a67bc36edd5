"""Fusing two rankings into one: weighted reciprocal ranks, because BM25 and inner products share no scale."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kb.types import Match

# Of reciprocal rank fusion: how slowly the weight of a rank falls. With the customary 60 two places far down outweigh a
# first one, and fused rankings answered less within 512 tokens than words alone (docs/search.md has the figures).
SMOOTHING = 10


@dataclass(frozen=True, kw_only=True, slots=True)
class Weights:
    """What a rank in each ranking counts."""

    dense: float
    lexical: float


BOTH = Weights(dense=0.75, lexical=1.0)  # of an embedding model that knows meaning
# Vectors that know no more than shared characters make a good lexical ranking worse when they count the same (doc@1 on
# nq_en: .91 at this weight, .86 at five times it); they order what words cannot and fill up where words find little.
LEXICAL_FIRST = Weights(dense=0.01, lexical=1.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class FusedMatch:
    """A chunk with its fused score and the score of each leg, None where that leg did not find it."""

    chunk_id: int
    score: float
    dense: float | None
    lexical: float | None


def fuse_rankings(dense: Sequence[Match], lexical: Sequence[Match], weights: Weights) -> list[FusedMatch]:
    """Both rankings as one, best first, each chunk once. Ties go to the chunk that the heavier leg has first."""
    scores: dict[int, float] = {}
    for ranking, weight in ((lexical, weights.lexical), (dense, weights.dense)):
        for rank, match in enumerate(ranking, 1):
            scores[match.chunk_id] = scores.get(match.chunk_id, 0.0) + weight / (SMOOTHING + rank)
    by_vector = {match.chunk_id: match.score for match in dense}
    by_words = {match.chunk_id: match.score for match in lexical}
    fused = [
        FusedMatch(chunk_id=i, score=score, dense=by_vector.get(i), lexical=by_words.get(i))
        for i, score in scores.items()
    ]
    return sorted(fused, key=lambda match: -match.score)
