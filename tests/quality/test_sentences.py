"""Sentence borders beside those marked by hand: precision, recall and F1, Chinese and English apart."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from bench.borders import (
    Comparison,
    Passage,
    compare_borders,
    find_piece_ends,
    pick_passages,
    read_hard_cases,
    read_passage,
    read_passages,
    score_borders,
)
from ingest.boundaries import find_sentences

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data"))
FEWEST = 300  # sentences marked in a language
FLOORS = {"zh": 0.98, "en": 0.97}
# Made of nothing but cases that go wrong somewhere, so a single one costs half a percent.
HARD_FLOORS = {"zh": 0.98, "en": 0.98}

needs_data = pytest.mark.skipif(not DATA.exists(), reason="no evaluation data at KB_EVAL_DATA")


def compare(passages: Sequence[Passage]) -> list[Comparison]:
    return [compare_borders(passage, [end for _, end in find_sentences(passage.text)]) for passage in passages]


def describe(compared: Sequence[Comparison]) -> str:
    score = score_borders(compared)
    faults = [fault for one in compared for fault in one.list_faults()]
    return "\n".join([f"{score}, {len(faults)} wrong borders:", *faults])


@pytest.mark.evaluation
@needs_data
@pytest.mark.parametrize("part", [1, 2])
@pytest.mark.parametrize("lang", FLOORS)
def test_sentences_of_the_evaluation_data(lang: str, part: int) -> None:
    compared = compare(pick_passages(read_passages(DATA), lang, part))
    assert score_borders(compared).f1 >= FLOORS[lang], describe(compared)


@pytest.mark.evaluation
@needs_data
@pytest.mark.parametrize("lang", FLOORS)
def test_enough_sentences_are_marked(lang: str) -> None:
    assert sum(len(passage.sentences) for passage in pick_passages(read_passages(DATA), lang, part=1)) >= FEWEST


@pytest.mark.parametrize("lang", HARD_FLOORS)
def test_hard_cases(lang: str) -> None:
    compared = compare(pick_passages(read_hard_cases(), lang))
    assert score_borders(compared).f1 >= HARD_FLOORS[lang], describe(compared)


@pytest.mark.evaluation
@needs_data
def test_traditional_chinese_is_among_the_passages() -> None:
    assert sum(len(passage.sentences) for passage in read_passages(DATA) if passage.lang == "zh-Hant") >= 50


@pytest.mark.parametrize("passage", read_hard_cases(), ids=lambda passage: f"{passage.lang} {passage.name}")
def test_marks_are_sentences_in_order_without_white_space_around_them(passage: Passage) -> None:
    check_marks(passage)


@pytest.mark.evaluation
@needs_data
def test_so_are_those_in_the_evaluation_data() -> None:
    for passage in read_passages(DATA):
        check_marks(passage)


def check_marks(passage: Passage) -> None:
    before = 0
    for first, last in passage.sentences:
        assert before <= first < last <= len(passage.text), passage.name
        sentence = passage.text[first:last]
        assert sentence == sentence.strip(), passage.name
        before = last


def test_a_border_too_many_and_one_missed_are_told() -> None:
    passage = Passage(part=0, name="two", lang="en", text="One. Two.  Three.", sentences=[(0, 4), (5, 9), (11, 17)])
    compared = compare_borders(passage, [2, 5, 17])  # 5: white space behind "One." does not matter
    assert (compared.right, compared.extra, compared.missed) == (2, [2], [9])
    assert list(compared.list_faults()) == [
        "two: too many at 2: 'On' | 'e. Two.  Three.'",
        "two: missed at 9: 'One. Two.' | '  Three.'",
    ]
    score = score_borders([compared])
    assert (score.precision, score.recall, score.f1) == pytest.approx((2 / 3, 2 / 3, 2 / 3))


def test_what_lies_between_two_marked_sentences_is_not_judged() -> None:
    passage = Passage(part=0, name="code", lang="en", text="Run:\na = 1.\nDone.", sentences=[(0, 4), (12, 17)])
    compared = compare_borders(passage, [4, 11, 17])
    assert (compared.right, compared.extra, compared.missed) == (2, [], [])


def test_a_file_that_is_not_the_marked_one_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.txt").write_text("another text", encoding="utf-8")
    row = {"part": 1, "lang": "en", "path": "note.txt", "sha256": "0" * 64, "start": 0, "end": 5, "sentences": [[0, 5]]}
    with pytest.raises(ValueError, match=r"note\.txt .* SHA-256"):
        read_passage(tmp_path, row)


def test_pieces_are_found_again_whatever_became_of_white_space() -> None:
    assert find_piece_ends("One.  Two\nmore. 三。", ["One. ", "Two more.", "三。"]) == [4, 15, 18]
