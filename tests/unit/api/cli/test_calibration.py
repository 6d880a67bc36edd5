"""The threshold below which nothing is answered, and how sure its error rates are."""

from __future__ import annotations

import random

import pytest

from api.cli.calibration import (
    Labelled,
    MixedMeasures,
    calibrate,
    calibrate_measured,
    choose_threshold,
    count_below,
    find_rate,
    list_points,
    measure_auc,
    read_labelled,
)
from api.cli.question_lines import BadQuestions


# Wilson's interval without correction: Newcombe (1998), table I, method 3.
@pytest.mark.parametrize(
    ("count", "whole", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_the_interval_is_wilsons(count: int, whole: int, low: float, high: float) -> None:
    rate = find_rate(count, whole)
    assert rate.share == count / whole
    assert (rate.low, rate.high) == (pytest.approx(low, abs=5e-5), pytest.approx(high, abs=5e-5))


def test_a_share_of_nothing_may_be_anything() -> None:
    assert (find_rate(0, 0).low, find_rate(0, 0).high) == (0, 1)
    assert find_rate(20, 20).high == 1


def choose_slowly(answerable: list[float], unanswerable: list[float], most: float) -> tuple[int, int]:
    """Most unanswerable refused, then fewest answerable, over every threshold that could matter."""
    best = (0, 0)
    for threshold in sorted({*answerable, *unanswerable, 0.0, 1.01}):
        wrong = count_below(answerable, threshold)
        if wrong <= most * len(answerable) + 1e-9:
            best = max(best, (count_below(unanswerable, threshold), -wrong))
    return best


@pytest.mark.parametrize("seed", range(30))
@pytest.mark.parametrize("most", [0.0, 0.05, 0.3, 1.0])
def test_the_threshold_refuses_what_trying_all_of_them_refuses(seed: int, most: float) -> None:
    dice = random.Random(seed)
    answerable = [round(dice.uniform(0.2, 1), 1 + seed % 2) for _ in range(dice.randint(1, 40))]
    unanswerable = [round(dice.uniform(0, 0.8), 1 + seed % 2) for _ in range(dice.randint(1, 40))]
    threshold = choose_threshold(answerable, unanswerable, most)
    found = count_below(unanswerable, threshold), -count_below(answerable, threshold)
    assert found == choose_slowly(answerable, unanswerable, most)
    assert 0 <= threshold <= 1


def test_the_threshold_lies_half_way_between_two_questions() -> None:
    assert choose_threshold([0.7, 0.9], [0.1, 0.3], 0.05) == pytest.approx(0.5)
    assert choose_threshold([0.7], [0.9], 0.05) == 0
    assert choose_threshold([0.1, *[0.7] * 19], [0.3], 0.05) == pytest.approx(0.5)  # one of twenty may go


def test_the_curve_rises() -> None:
    points = list_points([0.1, 0.4, 0.6, 0.8], [0.05, 0.3, 0.5, 0.7], [0, 0.25, 0.5, 1])
    assert [(point.answerable, point.unanswerable) for point in points] == [
        (0, 0.25),
        (0.25, 0.5),
        (0.5, 0.75),
        (0.75, 1),
    ]


def test_the_area_is_the_share_of_pairs_in_order() -> None:
    assert measure_auc([0.9, 0.5], [0.5, 0.1]).share == pytest.approx(3.5 / 4)
    assert measure_auc([1, 2], [0]).share == 1
    assert (measure_auc([], [0.1]).low, measure_auc([], [0.1]).high) == (0, 1)


def test_the_interval_of_the_area() -> None:
    """Hanley and McNeil (1982) tell an area of .893 of 51 and 58 ratings, with a standard error of .032."""
    answerable = [1.0] * 45 + [0.5] + [0.0] * 5
    rate = measure_auc(answerable, [0.4] * 31 + [0.6] * 27)
    assert rate.share == pytest.approx(0.893, abs=5e-4)
    assert rate.high - rate.low == pytest.approx(2 * 1.96 * 0.032, abs=0.005)
    assert rate.share - rate.low > rate.high - rate.share  # nearer to 1 there is less room
    perfect = measure_auc([1.0] * 19, [0.0] * 19)
    assert (perfect.share, perfect.high) == (1, 1)
    assert 0.8 < perfect.low < 0.95
    even = measure_auc([0.5] * 30, [0.5] * 30)
    assert 0.5 - even.low == pytest.approx(even.high - 0.5, abs=1e-6)


def test_what_cannot_be_told_apart_is_said_to_be_so() -> None:
    dice = random.Random(5)
    same = [[dice.random() for _ in range(100)] for _ in range(2)]
    assert calibrate(*same, 0.05).is_near_chance
    assert not calibrate([0.6 + 0.004 * i for i in range(50)], [0.004 * i for i in range(50)], 0.05).is_near_chance
    few = calibrate([0.5, 0.6, 0.4, 0.7], [0.45, 0.55, 0.3], 0.05)  # too few to tell
    assert few.is_near_chance


def test_the_rates_are_of_questions_held_out() -> None:
    """One answerable question far below all others: a threshold chosen without it does not spare it."""
    answerable = [0.1, *[0.8] * 19]
    found = calibrate(answerable, [0.3] * 20, 0.0)
    assert count_below(answerable, found.threshold) == 0  # the threshold itself refuses none
    assert found.answerable.share == pytest.approx(0.05)


def test_a_file_says_which_can_be_answered() -> None:
    lines = ['{"question": "年假几天？", "answerable": true}'] * 10
    lines += ['{"question": "q", "answerable": false}', ""] * 10 + [
        '{"question": "g", "paths": ["a.md"], "answers": []}'
    ]
    found = read_labelled("\ufeff".encode() + "\n".join(lines).encode())
    assert found[0] == Labelled(question="年假几天？", answerable=True)
    assert (len(found), found[10].answerable, found[-1].answerable) == (21, False, True)


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"\xff\xfe", "not UTF-8"),
        (b"", "0 answerable questions are too few"),
        (b"{", "line 1 is no JSON"),
        (b'\n{"question": " "}', "line 2 is no object with a question"),
        (b'{"question": "q"}', "line 1 does not say"),
        (b'{"question": "q", "answerable": 1}', "line 1 does not say"),
        (b'{"question": "q", "answerable": true}\n' * 10, "0 unanswerable questions are too few"),
    ],
)
def test_a_file_that_cannot_be_meant_is_refused(data: bytes, told: str) -> None:
    with pytest.raises(BadQuestions, match=told):
        read_labelled(data)


def test_nothing_found_counts_as_nothing_relevant_and_measures_are_not_mixed() -> None:
    questions = [Labelled(question=str(i), answerable=i < 10) for i in range(20)]
    found = [{"value": 0.8, "measure": "vectors"}] * 10 + [None] * 10
    made = calibrate_measured(questions, found, 0.05)
    assert (made.measure, made.threshold, made.unanswerable.share, made.answerable.share) == ("vectors", 0.4, 1, 0)
    with pytest.raises(MixedMeasures, match="by rerank and vectors"):
        calibrate_measured(questions, [{"value": 0.5, "measure": "rerank"}, *found[1:]], 0.05)
    with pytest.raises(MixedMeasures, match="of nothing"):
        calibrate_measured(questions, [None] * 20, 0.05)
