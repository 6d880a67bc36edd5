from __future__ import annotations

import pytest

from kb.types import Match
from retrieval.fuse import BOTH, LEXICAL_FIRST, fuse_rankings


def rank(*ids: int) -> list[Match]:
    return [Match(chunk_id=i, score=10.0 - place) for place, i in enumerate(ids)]


def test_a_chunk_that_both_legs_have_beats_one_that_leads_a_single_leg() -> None:
    fused = fuse_rankings(rank(1, 2), rank(3, 2), BOTH)
    assert [match.chunk_id for match in fused] == [2, 3, 1]
    assert fused[0].score == pytest.approx(1.75 / 12)
    assert (fused[0].dense, fused[0].lexical) == (9.0, 9.0)
    assert (fused[1].dense, fused[1].lexical) == (None, 10.0)


def test_one_empty_leg_leaves_the_other_in_its_order() -> None:
    assert [match.chunk_id for match in fuse_rankings([], rank(5, 6, 7), BOTH)] == [5, 6, 7]
    assert [match.chunk_id for match in fuse_rankings(rank(5, 6, 7), [], LEXICAL_FIRST)] == [5, 6, 7]
    assert fuse_rankings([], [], BOTH) == []


def test_where_words_lead_vectors_only_fill_up() -> None:
    fused = fuse_rankings(rank(9, 8, 3), rank(1, 2, 3, 4), LEXICAL_FIRST)
    assert [match.chunk_id for match in fused] == [1, 2, 3, 4, 9, 8]
