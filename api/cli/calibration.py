"""From questions that a knowledge base can and cannot answer to the threshold below which it refuses.

The error rates are of questions that were held out: each fifth is judged by the threshold that the other four give.
Rates of the questions that chose a threshold would flatter it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import sqrt
from typing import Any

from api.cli.question_lines import BadQuestions, read_question_lines

Z = 1.959964  # of the normal distribution: 95 % lie within
FOLDS = 5
FEWEST = 10  # questions of either kind
HALVINGS = 40  # until the end of an interval is found
NEAR_CHANCE = 0.6  # an AUC below it parts next to nothing: of 20 pairs 12 in order, where 10 are by chance


class MixedMeasures(Exception):
    """Some questions were measured otherwise than others: a part of the search did not answer for a while."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Labelled:
    question: str
    answerable: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class Rate:
    """A share with its interval of 95 %."""

    share: float
    low: float
    high: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Point:
    """What a threshold does: the shares of both kinds that it refuses."""

    threshold: float
    answerable: float
    unanswerable: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Calibration:
    """`threshold` is of all questions; the rates of refusal are of questions held out from choosing it. `auc` is the
    share of pairs in which the answerable question is the more relevant: .5 is chance."""

    threshold: float
    measure: str
    answerable: Rate
    unanswerable: Rate
    auc: Rate

    @property
    def is_near_chance(self) -> bool:
        return is_near_chance(self.auc)


def read_labelled(data: bytes) -> list[Labelled]:
    """One JSON object a line with `question` and `answerable`; a golden question, as `kb golden export` writes it, is
    answerable. Raises BadQuestions, also for too few of either kind."""
    found = [_read_label(number, line) for number, line in read_question_lines(data)]
    for kind, word in ((True, "answerable"), (False, "unanswerable")):
        count = sum(one.answerable is kind for one in found)
        if count < FEWEST:
            raise BadQuestions(f"{count} {word} questions are too few: at least {FEWEST} are needed, better 100")
    return found


def _read_label(number: int, found: Mapping[str, Any]) -> Labelled:
    answerable = found.get("answerable", True if found.get("paths") or found.get("answers") else None)
    if not isinstance(answerable, bool):
        raise BadQuestions(f"line {number} does not say whether it is answerable: true or false")
    return Labelled(question=found["question"], answerable=answerable)


def calibrate_measured(
    questions: Sequence[Labelled], found: Sequence[Mapping[str, Any] | None], most: float
) -> Calibration:
    """Of the relevances that the server told, None where it found nothing. Raises MixedMeasures."""
    measures = sorted({one["measure"] for one in found if one})
    if len(measures) != 1:
        told = f"by {' and '.join(measures)}" if measures else "of nothing: the searches found nothing"
        raise MixedMeasures(f"the questions were measured {told}; see what is down (kb doctor) and calibrate again")
    values = [float(one["value"]) if one else 0.0 for one in found]
    pairs = list(zip(questions, values, strict=True))
    answerable = [value for question, value in pairs if question.answerable]
    unanswerable = [value for question, value in pairs if not question.answerable]
    return calibrate(answerable, unanswerable, most, measures[0])


def calibrate(
    answerable: Sequence[float], unanswerable: Sequence[float], most: float, measure: str = "vectors"
) -> Calibration:
    """Of relevances; `most` is the share of the answerable questions that may be refused."""
    wrong = right = 0
    for fold in range(FOLDS):
        threshold = choose_threshold(_leave_out(answerable, fold), _leave_out(unanswerable, fold), most)
        wrong += count_below(answerable[fold::FOLDS], threshold)
        right += count_below(unanswerable[fold::FOLDS], threshold)
    return Calibration(
        threshold=round(choose_threshold(answerable, unanswerable, most), 4),
        measure=measure,
        answerable=find_rate(wrong, len(answerable)),
        unanswerable=find_rate(right, len(unanswerable)),
        auc=measure_auc(answerable, unanswerable),
    )


def choose_threshold(answerable: Sequence[float], unanswerable: Sequence[float], most: float) -> float:
    """That which refuses the most of the unanswerable among those that refuse at most that share of the answerable;
    where several do, the one that refuses the fewest answerable, half-way to the next question. 0 refuses nothing."""
    ordered = sorted(answerable)
    allowed = int(most * len(ordered) + 1e-9)  # 0.05 of 20 is one
    border = ordered[allowed] if allowed < len(ordered) else float("inf")
    below = [value for value in unanswerable if value < border]
    if not below:
        return 0.0
    highest = max(below)
    following = min((value for value in ordered if value > highest), default=1.0)
    return (highest + following) / 2


def list_points(answerable: Sequence[float], unanswerable: Sequence[float], shares: Iterable[float]) -> list[Point]:
    """The curve: for each share of the answerable questions that may be refused, the best threshold of these."""
    points = []
    for share in shares:
        threshold = choose_threshold(answerable, unanswerable, share)
        points.append(judge_threshold(answerable, unanswerable, threshold))
    return points


def judge_threshold(answerable: Sequence[float], unanswerable: Sequence[float], threshold: float) -> Point:
    return Point(
        threshold=threshold,
        answerable=count_below(answerable, threshold) / max(1, len(answerable)),
        unanswerable=count_below(unanswerable, threshold) / max(1, len(unanswerable)),
    )


def count_below(values: Sequence[float], threshold: float) -> int:
    return sum(value < threshold for value in values)


def find_rate(count: int, whole: int) -> Rate:
    """By Wilson's interval, which holds for few questions and for shares near 0 and 1."""
    if whole == 0:
        return Rate(share=0.0, low=0.0, high=1.0)
    share, square = count / whole, Z * Z
    middle = (share + square / (2 * whole)) / (1 + square / whole)
    reach = Z * sqrt(share * (1 - share) / whole + square / (4 * whole * whole)) / (1 + square / whole)
    return Rate(share=share, low=max(0.0, min(share, middle - reach)), high=min(1.0, max(share, middle + reach)))


def measure_auc(answerable: Sequence[float], unanswerable: Sequence[float]) -> Rate:
    """The interval is Newcombe's (2006, method 5), which like Wilson's does not shrink to a point at 0 and 1."""
    many, few = len(answerable), len(unanswerable)
    if not many or not few:
        return Rate(share=0.5, low=0.0, high=1.0)
    won = sum((one > other) + 0.5 * (one == other) for one in answerable for other in unanswerable)
    area = won / (many * few)
    return Rate(share=area, low=_find_end(area, 0.0, many, few), high=_find_end(area, 1.0, many, few))


def is_near_chance(area: Rate) -> bool:
    """Whether it may be: the interval reaches down there, be it for weak relevances or for few questions."""
    return area.low < NEAR_CHANCE


def _find_end(area: float, far: float, many: int, few: int) -> float:
    """Between `area` and `far`, the true area from which the measured one lies just Z standard errors away."""
    near = area
    for _ in range(HALVINGS):
        middle = (near + far) / 2
        if abs(area - middle) > Z * _find_error(middle, many, few):
            far = middle
        else:
            near = middle
    return near


def _find_error(area: float, many: int, few: int) -> float:
    """The standard error of Hanley and McNeil (1982), with both groups taken to be of the mean size."""
    rest = (many + few) / 2 - 1
    spread = 1 + rest * (1 - area) / (2 - area) + rest * area / (1 + area)
    return sqrt(area * (1 - area) * spread / (many * few))


def _leave_out(values: Sequence[float], fold: int) -> list[float]:
    return [value for place, value in enumerate(values) if place % FOLDS != fold]
