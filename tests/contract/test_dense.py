"""The dense index against brute force: values, not lengths."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest

from retrieval.dense import DenseView, open_view
from retrieval.sealed import SIZES, DenseBuilder, SealedDense, Sizes, read_sealed, write_index
from retrieval.unit_vectors import check_vectors

DIMENSION = 24


def make_rows(count: int, seed: int = 3) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, DIMENSION))
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


# Sealed by their codes from 11 rows on, and in lists. Looking at 200 of them is looking at most.
CODES, LISTS = Sizes(exact=10), Sizes(exact=10, flat=20)


def seal(ids: list[int], rows: np.ndarray, sizes: Sizes = SIZES) -> SealedDense:
    """Built, written, and read back."""
    dimension = rows.shape[1]
    with TemporaryDirectory() as name:
        folder = Path(name)
        with closing(DenseBuilder(dimension, folder / "1.vectors", sizes)) as builder:
            for start in range(0, len(ids), 1000):
                builder.add(ids[start : start + 1000], rows[start : start + 1000])
            built = builder.finish()
        with (folder / "1.dense").open("wb") as file:
            write_index(built, file.write)
        (folder / "1.ids").write_bytes(builder.dump_ids())
        assert (folder / "1.vectors").exists() == builder.keeps_vectors
        return read_sealed(folder, 1, dimension)  # what is mapped outlives its name


def all_in_delta(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION).apply(ids, rows, [])


def all_in_base(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION, seal(ids, rows))


def all_in_codes(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION, seal(ids, rows, CODES))


def all_in_lists(ids: list[int], rows: np.ndarray) -> DenseView:
    return open_view(DIMENSION, seal(ids, rows, LISTS))


def codes_and_delta(ids: list[int], rows: np.ndarray) -> DenseView:
    half = len(ids) // 2
    return all_in_codes(ids[:half], rows[:half]).apply(ids[half:], rows[half:], [])


def half_and_half(ids: list[int], rows: np.ndarray) -> DenseView:
    half = len(ids) // 2
    return all_in_base(ids[:half], rows[:half]).apply(ids[half:], rows[half:], [])


def one_by_one(ids: list[int], rows: np.ndarray) -> DenseView:
    view = open_view(DIMENSION)
    for place, chunk_id in enumerate(ids):
        view = view.apply([chunk_id], rows[place : place + 1], [])
    return view


LAYOUTS = [all_in_delta, all_in_base, all_in_codes, all_in_lists, half_and_half, codes_and_delta, one_by_one]


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


def test_a_builder_wants_ascending_ids_with_a_vector_each(tmp_path: Path) -> None:
    with closing(DenseBuilder(DIMENSION, tmp_path / "rows")) as builder:
        builder.add([5, 6], make_rows(2))
        with pytest.raises(ValueError, match="ascend"):
            builder.add([6], make_rows(1))
        with pytest.raises(ValueError, match="2 ids for 1 vectors"):
            builder.add([8, 9], make_rows(1))
        with pytest.raises(ValueError, match="NaN"):
            builder.add([8], np.full((1, DIMENSION), np.nan, np.float32))


def make_clusters(count: int, dimension: int) -> np.ndarray:
    """Rows near 40 centres, so that there are near neighbours to tell apart."""
    generator = np.random.default_rng(7)
    centres = generator.normal(size=(40, dimension)) / np.sqrt(dimension)
    rows = centres[generator.integers(0, 40, count)] + 0.8 * generator.normal(size=(count, dimension)) / np.sqrt(
        dimension
    )
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("sizes", [CODES, LISTS], ids=["codes", "lists"])
def test_codes_find_what_brute_force_finds_with_its_scores(sizes: Sizes) -> None:
    count, dimension = 8_000, 96
    ids, rows = [3 * i + 1 for i in range(count)], make_clusters(count, dimension)
    view = open_view(dimension, seal(ids, rows, sizes))
    generator, right = np.random.default_rng(11), 0
    for _ in range(100):
        near = rows[generator.integers(count)].astype(np.float32)
        question = near + 0.5 * generator.normal(size=dimension).astype(np.float32) / np.sqrt(dimension)
        expected = dict(find_best(ids, rows, question, 200))
        found = view.search(question[None], 10)
        right += len({match.chunk_id for match in found} & set(list(expected)[:10]))
        assert [match.score for match in found] == sorted((match.score for match in found), reverse=True)
        for match in found:
            assert match.score == pytest.approx(expected[match.chunk_id], abs=1e-3)
    assert right >= 990  # recall@10


@pytest.mark.parametrize("sizes", [CODES, LISTS], ids=["codes", "lists"])
def test_codes_give_every_row_when_every_row_is_asked_for(sizes: Sizes) -> None:
    count = 3_000
    ids, rows = list(range(count)), make_rows(count)
    gone = list(range(0, count, 2))
    view = open_view(DIMENSION, seal(ids, rows, sizes)).apply([], np.empty((0, DIMENSION), np.float16), gone)
    assert {match.chunk_id for match in view.search(make_rows(1, 9), count)} == set(range(1, count, 2))


@pytest.mark.parametrize("sizes", [CODES, LISTS], ids=["codes", "lists"])
def test_rows_that_are_all_alike_are_all_found(sizes: Sizes) -> None:
    rows = np.repeat(make_rows(1), 50, axis=0)
    view = open_view(DIMENSION, seal(list(range(50)), rows, sizes))
    assert {match.chunk_id for match in view.search(rows[:1], 50)} == set(range(50))


@pytest.mark.parametrize("damage", ["rows", "ids", "dimension", "none"])
def test_files_that_do_not_belong_together_are_refused(tmp_path: Path, damage: str) -> None:
    with closing(DenseBuilder(DIMENSION, tmp_path / "1.vectors", CODES)) as builder:
        builder.add(list(range(50)), make_rows(50))
        built = builder.finish()
    with (tmp_path / "1.dense").open("wb") as file:
        write_index(built, file.write)
    ids = builder.dump_ids()
    (tmp_path / "1.ids").write_bytes(ids[:-8] if damage == "ids" else ids)
    if damage == "rows":
        (tmp_path / "1.vectors").write_bytes((tmp_path / "1.vectors").read_bytes()[: -2 * DIMENSION])
    if damage == "none":
        (tmp_path / "1.dense").write_bytes(b"IxWat" + bytes(200))
    with pytest.raises(ValueError, match=r"1\.(vectors|dense)"):
        read_sealed(tmp_path, 1, DIMENSION + (damage == "dimension"))
