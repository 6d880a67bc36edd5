"""The dense index against brute force: values, not lengths."""

from __future__ import annotations

import numpy as np
import pytest

from retrieval.dense import DenseBuilder, DenseView, SealedDense, check_vectors, open_view

DIMENSION = 24


def make_rows(count: int, seed: int = 3) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def seal(ids: list[int], rows: np.ndarray) -> SealedDense:
    builder = DenseBuilder(DIMENSION)
    builder.add(ids, rows)
    return builder.finish()


def all_in_delta(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION).apply(ids, rows, [])


def all_in_base(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION, seal(ids, rows))


def half_and_half(ids: list[int], rows: np.ndarray) -> DenseView:
    half = len(ids) // 2
    return all_in_base(ids[:half], rows[:half]).apply(ids[half:], rows[half:], [])


def one_by_one(ids: list[int], rows: np.ndarray) -> DenseView:
    view = open_view(DIMENSION)
    for place, chunk_id in enumerate(ids):
        view = view.apply([chunk_id], rows[place : place + 1], [])
    return view


LAYOUTS = [all_in_delta, all_in_base, half_and_half, one_by_one]


def find_best(ids: list[int], rows: np.ndarray, question: np.ndarray, k: int) -> list[tuple[int, float]]:
    scores = rows.astype(np.float64) @ (question / np.linalg.norm(question))
    order = sorted(range(len(ids)), key=lambda i: (-scores[i], ids[i]))[:k]
    return [(ids[i], scores[i]) for i in order]


def assert_same(view: DenseView, expected: list[tuple[int, float]], question: np.ndarray, k: int) -> None:
    found = view.search(question[None], k)
    assert [m.chunk_id for m in found] == [i for i, _ in expected]
    assert [m.score for m in found] == pytest.approx([s for _, s in expected], abs=1e-3)


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("k", [1, 7, 300, 1000])
def test_best_rows_and_scores_are_those_of_brute_force(layout, k: int) -> None:
    ids, rows = [10 + 3 * i for i in range(300)], make_rows(300)
    view = layout(ids, rows)
    assert len(view) == 300
    for question in np.random.default_rng(5).normal(size=(10, DIMENSION)).astype(np.float32):
        assert_same(view, find_best(ids, rows, question, k), question, k)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_row_finds_itself_first(layout) -> None:
    ids, rows = list(range(1, 101)), make_rows(100)
    view = layout(ids, rows)
    for chunk_id, row in zip(ids, rows, strict=True):
        best = view.search(row[None].astype(np.float32), 1)[0]
        assert (best.chunk_id, best.score) == (chunk_id, pytest.approx(1, abs=2e-3))


@pytest.mark.parametrize("layout", LAYOUTS)
def test_rows_of_another_length_count_by_direction_alone(layout) -> None:
    rows = make_rows(40).astype(np.float32)
    lengths = np.linspace(0.01, 90, 40)[:, None].astype(np.float32)
    view = layout(list(range(40)), rows * lengths)
    question = rows[7] * 13
    assert_same(view, find_best(list(range(40)), rows, question, 10), question, 10)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_removed_rows_are_never_found_and_their_places_are_refilled(layout) -> None:
    ids, rows = list(range(200)), make_rows(200)
    question = rows[0].astype(np.float32)
    gone = [i for i, _ in find_best(ids, rows, question, 90)]
    view = layout(ids, rows).apply([], np.empty((0, DIMENSION), np.float16), gone)
    kept = [i for i in ids if i not in gone]
    assert len(view) == 110
    assert view.list_ids() == set(kept)
    assert_same(view, find_best(kept, rows[kept], question, 100), question, 100)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_row_that_comes_back_is_found_again_once(layout) -> None:
    ids, rows = list(range(50)), make_rows(50)
    empty = np.empty((0, DIMENSION), np.float16)
    view = layout(ids, rows).apply([], empty, [4]).apply([4], rows[4:5], []).apply([4], rows[4:5], [])
    assert [m.chunk_id for m in view.search(rows[4:5], 50)].count(4) == 1
    assert len(view) == 50


def test_unknown_ids_may_be_removed() -> None:
    view = all_in_base([1, 2], make_rows(2)).apply([], np.empty((0, DIMENSION), np.float16), [77])
    assert len(view) == 2


def test_nothing_is_found_in_nothing() -> None:
    assert open_view(DIMENSION).search(make_rows(1), 5) == []
    assert open_view(DIMENSION, seal([], np.empty((0, DIMENSION)))).search(make_rows(1), 5) == []


def test_old_views_do_not_change_when_newer_ones_grow() -> None:
    rows = make_rows(500)
    old = all_in_delta(list(range(10)), rows[:10])
    before = old.search(rows[3:4], 10)
    newer = old
    for i in range(10, 500):
        newer = newer.apply([i], rows[i : i + 1], [i - 10])
    other = old.apply([900], rows[20:21], [])  # a second branch of the same past
    assert old.search(rows[3:4], 10) == before
    assert newer.list_ids() == set(range(490, 500))
    assert other.list_ids() == {*range(10), 900}


@pytest.mark.parametrize(
    "bad",
    [
        np.zeros((1, DIMENSION), np.float32),
        np.full((1, DIMENSION), np.nan, np.float32),
        np.full((1, DIMENSION), np.inf, np.float32),
        np.ones((1, DIMENSION + 1), np.float32),
        np.ones(DIMENSION, np.float32),
    ],
    ids=["zero", "nan", "infinite", "dimension", "flat"],
)
def test_bad_vectors_are_refused_before_faiss_sees_them(bad: np.ndarray) -> None:
    view = all_in_delta([1], make_rows(1))
    with pytest.raises(ValueError, match="vector"):
        view.search(bad, 1)
    with pytest.raises(ValueError, match="vector"):
        check_vectors(bad, DIMENSION)


def test_one_question_at_a_time() -> None:
    with pytest.raises(ValueError, match="one question at a time, not 2"):
        all_in_delta([1], make_rows(1)).search(make_rows(2), 1)


@pytest.mark.parametrize("k", [0, -1, 10_001])
def test_k_has_limits(k: int) -> None:
    with pytest.raises(ValueError, match="k is"):
        all_in_delta([1], make_rows(1)).search(make_rows(1), k)


def test_a_builder_wants_ascending_ids_with_a_vector_each() -> None:
    builder = DenseBuilder(DIMENSION)
    builder.add([5, 6], make_rows(2))
    with pytest.raises(ValueError, match="ascend"):
        builder.add([6], make_rows(1))
    with pytest.raises(ValueError, match="2 ids for 1 vectors"):
        builder.add([8, 9], make_rows(1))
