from __future__ import annotations

from collections.abc import Sequence
from itertools import combinations

from fakes.clock import LONG_AGO
from hypothesis import given
from hypothesis import strategies as st

from kb.ports import OrdinalRange
from kb.types import StoredChunk, VisibleChunk
from retrieval.merge import CLOSE_RANKS, Hit, Stretch, cut_hits, list_stretches, merge_hits


def make_chunk(version: int, ordinal: int, tokens: int) -> VisibleChunk:
    return VisibleChunk(
        id=1000 * version + ordinal,
        version_id=version,
        version=1,
        text_sha=str(version),
        ordinal=ordinal,
        start=ordinal * 100,
        end=ordinal * 100 + 99,
        page_start=1,
        page_end=1,
        heading=None,
        tokens=tokens,
        document_id=str(version),
        path=f"{version}.txt",
        title=None,
        kb_id="kb1",
        input_sha=f"{version}:{ordinal}",
        stated_date=None,
        added_at=LONG_AGO,
    )


class Library:
    """Versions of `length` chunks; counts how often it is asked."""

    def __init__(self, length: int, tokens: int = 10) -> None:
        self.length, self.tokens, self.asked, self.calls = length, tokens, 0, 0

    def list_neighbours(self, ranges: Sequence[OrdinalRange]) -> list[list[StoredChunk]]:
        self.asked += len(ranges)
        self.calls += 1
        return [self._list_range(*one) for one in ranges]

    def _list_range(self, version: int, first: int, last: int) -> list[StoredChunk]:
        chunks = [make_chunk(version, o, self.tokens) for o in range(max(0, first), min(self.length, last + 1))]
        names = StoredChunk.__dataclass_fields__
        return [StoredChunk(**{name: getattr(chunk, name) for name in names}) for chunk in chunks]


def make_hits(*places: tuple[int, int], tokens: int = 10) -> list[Hit]:
    return [Hit(chunk=make_chunk(v, o, tokens), score=1 - 0.01 * rank) for rank, (v, o) in enumerate(places)]


def show(stretches: list[Stretch]) -> list[tuple[int, list[int]]]:
    return [(s.version_id, [chunk.ordinal for chunk in s.chunks]) for s in stretches]


def merge(hits: list[Hit], max_tokens: int, length: int = 40) -> list[tuple[int, list[int]]]:
    return show(merge_hits(cut_hits(hits, max_tokens), max_tokens, Library(length).list_neighbours))


def test_touching_hits_become_one_passage_in_reading_order() -> None:
    assert merge(make_hits((1, 5), (1, 4), (1, 6)), 30) == [(1, [4, 5, 6])]


def test_a_hit_that_closes_a_gap_joins_both_sides_into_the_better_one() -> None:
    assert merge(make_hits((1, 7), (2, 0), (1, 5), (1, 6)), 40) == [(1, [5, 6, 7]), (2, [0])]


def test_hits_of_other_versions_never_join() -> None:
    assert merge(make_hits((1, 5), (2, 6)), 20) == [(1, [5]), (2, [6])]


def test_a_hit_far_down_is_not_pulled_up() -> None:
    others = [(i, 0) for i in range(2, 2 + CLOSE_RANKS)]
    assert merge(make_hits((1, 5), *others[:-1], (1, 6)), 10 * (CLOSE_RANKS + 1))[0] == (1, [5, 6])
    assert merge(make_hits((1, 5), *others, (1, 6)), 10 * (CLOSE_RANKS + 2))[0] == (1, [5])


def test_what_is_left_buys_neighbours_for_the_best_first() -> None:
    assert merge(make_hits((1, 5), (2, 5)), 20) == [(1, [5]), (2, [5])]
    assert merge(make_hits((1, 5), (2, 5)), 30) == [(1, [5, 6]), (2, [5])]
    assert merge(make_hits((1, 5), (2, 5)), 50) == [(1, [4, 5, 6]), (2, [5, 6])]


def test_hits_with_one_chunk_between_them_become_one_passage_when_it_can_be_paid() -> None:
    assert merge(make_hits((1, 5), (1, 7)), 20) == [(1, [5]), (1, [7])]
    assert merge(make_hits((1, 5), (1, 7)), 30) == [(1, [5, 6, 7])]


def test_hits_that_only_grow_towards_each_other_stay_apart() -> None:
    grown = merge(make_hits((1, 5), (1, 8)), 40, length=10)
    assert grown == [(1, [4, 5, 6]), (1, [8])]
    assert merge(make_hits((1, 5), (1, 8)), 60, length=10) == [(1, [4, 5, 6]), (1, [7, 8, 9])]


def test_growing_stops_at_the_ends_of_the_document() -> None:
    assert merge(make_hits((1, 0)), 1000, length=3) == [(1, [0, 1, 2])]


def test_hits_over_the_budget_are_cut_from_the_end() -> None:
    assert merge(make_hits((1, 0), (2, 0), (3, 0)), 25) == [(1, [0]), (2, [0])]


def test_the_first_hit_stays_even_when_it_is_over_the_budget_alone() -> None:
    assert merge(make_hits((1, 0), (2, 0), tokens=50), 20) == [(1, [0])]


def test_no_hits_no_passages() -> None:
    assert cut_hits([], 10) == []


def test_the_score_is_that_of_the_best_chunk() -> None:
    best = merge_hits(make_hits((1, 5), (1, 4)), 20, Library(9).list_neighbours)[0]
    assert (best.best.score, best.best.chunk.ordinal, best.start, best.end) == (1, 5, 400, 599)


def test_work_follows_the_number_of_hits() -> None:
    library = Library(100_000)
    hits = make_hits(*((v, 50_000) for v in range(8)))
    merge_hits(hits, 10_000, library.list_neighbours)
    assert (library.asked, library.calls) == (8, 1)
    merge_hits(hits, 80, library.list_neighbours)
    assert (library.asked, library.calls) == (8, 1)
    merge_hits(make_hits(*((v, 50_000) for v in range(40))), 10_000, library.list_neighbours)
    assert (library.asked, library.calls) == (48, 4)


PLACES = st.lists(st.tuples(st.integers(1, 3), st.integers(0, 12)), min_size=1, max_size=20, unique=True)


@given(PLACES, st.integers(1, 400), st.integers(1, 40))
def test_merged_holds_all_that_unmerged_holds(places: list[tuple[int, int]], budget: int, tokens: int) -> None:
    hits = cut_hits(make_hits(*places, tokens=tokens), budget)
    unmerged = {chunk.id for stretch in list_stretches(hits) for chunk in stretch.chunks}
    merged = merge_hits(hits, budget, Library(13, tokens).list_neighbours)
    ids = [chunk.id for stretch in merged for chunk in stretch.chunks]
    assert unmerged <= set(ids)
    assert len(ids) == len(set(ids))
    assert sum(chunk.tokens for stretch in merged for chunk in stretch.chunks) <= max(budget, tokens)
    assert [s.best.score for s in merged] == sorted((s.best.score for s in merged), reverse=True)
    assert merged[0].best is hits[0]
    for stretch in merged:
        ordinals = [chunk.ordinal for chunk in stretch.chunks]
        assert ordinals == list(range(ordinals[0], ordinals[-1] + 1))
        assert {chunk.id // 1000 for chunk in stretch.chunks} == {stretch.version_id}
    for one, other in combinations(merged, 2):
        assert one.version_id != other.version_id or one.end <= other.start or other.end <= one.start
