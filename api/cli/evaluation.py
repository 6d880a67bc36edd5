"""What `kb eval` reads, asks and reckons: questions whose answers are known, and how they fare."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from statistics import quantiles
from time import perf_counter
from typing import Any

from api.cli.question_lines import BadQuestions, read_question_lines
from kb.matching import fold_text, holds_any, is_of
from kb.tokens import estimate_tokens
from kb.types import NewGoldenQuestion

BUDGETS = (512, 1024, 2048)  # tokens of context, by `kb.tokens`
LEAST_SHARE = 0.05  # of a passage that is cut to fit; less of it is left out

Ask = Callable[[str], Mapping[str, Any]]


@dataclass(frozen=True, kw_only=True, slots=True)
class Outcome:
    """How one question fared."""

    question: str
    rank: int | None  # of the first passage that answers it, from 1
    within: Sequence[int]  # the BUDGETS within which an answer stands
    milliseconds: float
    first: str | None  # path of the first passage


@dataclass(frozen=True, kw_only=True, slots=True)
class Run:
    """One evaluation; `degraded` names the steps that some search had to do without."""

    knowledge_base: str
    asked: Mapping[str, Any]  # the search's parameters
    revision: int | None
    outcomes: Sequence[Outcome]
    degraded: Sequence[str] = field(default=())

    @property
    def hit_rate(self) -> float:
        return mean([one.rank is not None for one in self.outcomes])

    @property
    def mrr(self) -> float:
        return mean([1 / one.rank if one.rank else 0.0 for one in self.outcomes])

    def answered_within(self, budget: int) -> float:
        return mean([budget in one.within for one in self.outcomes])

    def find_latency(self, percent: int) -> float:
        """Milliseconds that `percent` of the searches took at most, as the client saw them."""
        times = [one.milliseconds for one in self.outcomes]
        return quantiles(times, n=100, method="inclusive")[percent - 1] if len(times) > 1 else sum(times)


def mean(values: Sequence[float]) -> float:
    return sum(values) / len(values) if values else 0.0


def read_questions(data: bytes) -> list[NewGoldenQuestion]:
    """Questions of a file, one JSON object a line, as `kb golden import` takes them. Raises BadQuestions."""
    lines = read_question_lines(data)
    if not lines:
        raise BadQuestions("the file holds no question")
    return [read_question(number, found) for number, found in lines]


def read_question(number: int, found: Mapping[str, Any]) -> NewGoldenQuestion:
    paths, answers = (read_strings(number, found, name) for name in ("paths", "answers"))
    if not paths and not answers:
        raise BadQuestions(f"line {number} says neither paths nor answers: what is to be found?")
    return NewGoldenQuestion(question=found["question"], paths=paths, answers=answers)


def read_strings(number: int, found: Mapping[str, Any], name: str) -> list[str]:
    values = found.get(name) or []
    if not isinstance(values, list) or not all(isinstance(value, str) and value.strip() for value in values):
        raise BadQuestions(f"line {number}: {name} is no list of strings")
    return values


def ask_all(questions: Sequence[NewGoldenQuestion], ask: Ask) -> Iterator[tuple[Outcome, Mapping[str, Any]]]:
    """Each question's outcome with the server's answer; raises what `ask` raises."""
    for question in questions:
        began = perf_counter()
        answer = ask(question.question)
        spent = 1000 * (perf_counter() - began)
        yield judge_answer(question, answer["passages"], spent), answer


def judge_answer(question: NewGoldenQuestion, passages: Sequence[Mapping[str, Any]], milliseconds: float) -> Outcome:
    answers = [fold_text(answer) for answer in question.answers]
    right = [any(is_of(path, question.paths) for path in list_places(passage)) for passage in passages]
    texts = [passage["text"] for passage in passages]
    meets = (at for at, text in enumerate(texts, start=1) if right[at - 1] and holds_any(text, answers))
    within = [
        budget
        for budget in BUDGETS
        if any(right[at] and holds_any(text, answers) for at, text in enumerate(cut_texts(texts, budget)))
    ]
    return Outcome(
        question=question.question,
        rank=next(meets, None),
        within=within,
        milliseconds=round(milliseconds, 3),
        first=passages[0]["document"]["path"] if passages else None,
    )


def list_places(passage: Mapping[str, Any]) -> list[str]:
    """Paths of the documents that hold this text: its own, and those that are copies."""
    return [str(one["path"]) for one in (passage["document"], *passage.get("duplicates", ()))]


def cut_texts(texts: Sequence[str], budget: float) -> Iterator[str]:
    """The texts that fit into `budget` tokens, the last one cut to fit."""
    for text in texts:
        cost = estimate_tokens(text)
        if cost > budget:
            if budget / cost > LEAST_SHARE:
                yield text[: int(len(text) * budget / cost)]
            return
        yield text
        budget -= cost


def write_run(run: Run) -> dict[str, Any]:
    """A run as JSON: its figures, then each question's outcome."""
    return {
        "knowledge_base": run.knowledge_base,
        "asked": dict(run.asked),
        "revision": run.revision,
        "degraded": list(run.degraded),
        "questions": len(run.outcomes),
        "hit_rate": round(run.hit_rate, 4),
        "mrr": round(run.mrr, 4),
        "answered_within": {str(budget): round(run.answered_within(budget), 4) for budget in BUDGETS},
        "latency_ms": {"p50": round(run.find_latency(50), 2), "p95": round(run.find_latency(95), 2)},
        "items": [asdict(one) for one in run.outcomes],
    }


def read_run(data: bytes) -> Run:
    """A run as `write_run` wrote it. Raises ValueError."""
    try:
        found = json.loads(data)
        return Run(
            knowledge_base=str(found["knowledge_base"]),
            asked=dict(found["asked"]),
            revision=found["revision"],
            degraded=list(found["degraded"]),
            outcomes=[Outcome(**one) for one in found["items"]],
        )
    except (ValueError, KeyError, TypeError) as error:
        raise ValueError("this is no run that `kb eval --out` wrote") from error


@dataclass(frozen=True, kw_only=True, slots=True)
class Comparison:
    """Questions of both runs that were answered in one of them only, in order."""

    gained: Sequence[str]
    lost: Sequence[str]
    shared: int  # questions that both runs asked


def compare_runs(before: Run, after: Run) -> Comparison:
    earlier = {one.question: one.rank for one in before.outcomes}
    both = [one for one in after.outcomes if one.question in earlier]
    return Comparison(
        gained=[one.question for one in both if one.rank and not earlier[one.question]],
        lost=[one.question for one in both if not one.rank and earlier[one.question]],
        shared=len(both),
    )
