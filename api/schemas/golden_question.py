"""Golden questions: as they come in, as they are shown, and how they fare."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.schemas.text import RequestBody
from kb.errors import InvalidInput
from kb.matching import fold_text
from kb.types import GoldenQuestion, NewGoldenQuestion
from retrieval.golden import GoldenResult
from retrieval.question import check_question

MOST_STRINGS = 100  # paths or answers of one question
LONGEST_PATH = 1_024
LONGEST_ANSWER = 1_000


def check_answer(answer: str) -> str:
    """What folds to nothing would stand in every passage."""
    if not fold_text(answer):
        raise PydanticCustomError("bad_answers", "an answer is empty or white space")
    return answer


def compose_path(path: str) -> str:
    """In NFC, as the paths of documents are kept."""
    return unicodedata.normalize("NFC", path)


GoldenPath = Annotated[str, Field(min_length=1, max_length=LONGEST_PATH), AfterValidator(compose_path)]
GoldenAnswer = Annotated[str, Field(max_length=LONGEST_ANSWER), AfterValidator(check_answer)]
Paths = Annotated[list[GoldenPath], Field(max_length=MOST_STRINGS)]
Answers = Annotated[list[GoldenAnswer], Field(max_length=MOST_STRINGS)]


class GoldenQuestionBody(RequestBody):
    """At least one of `paths` and `answers` must not be empty. A path with a `/` at its end is that of a folder."""

    question: str
    paths: Paths = Field(default_factory=list)
    answers: Answers = Field(default_factory=list)


class GoldenQuestionChange(RequestBody):
    question: str | None = None
    paths: Paths | None = None
    answers: Answers | None = None


class GoldenQuestionImport(RequestBody):
    """Each item is read as GoldenQuestionBody. With `replace` they take the place of all that are there."""

    items: list[Any]
    replace: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenQuestionAnswer:
    id: str
    question: str
    paths: Sequence[str]
    answers: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportAnswer:
    """`unchanged` were there already, or stood in the import twice; `total` is what the knowledge base has now."""

    added: int
    unchanged: int
    total: int


@dataclass(frozen=True, kw_only=True, slots=True)
class RankAnswer:
    """`rank` is that of the first passage that answers, from 1; null when none does."""

    id: str
    question: str
    rank: int | None


@dataclass(frozen=True, kw_only=True, slots=True)
class RunAnswer:
    questions: int
    hit_rate: float
    mrr: float
    degraded: Sequence[str]
    items: Sequence[RankAnswer]


def read_draft(body: GoldenQuestionBody, longest: int) -> NewGoldenQuestion:
    """Raises InvalidInput (`question_empty`, `question_too_long`, `missing_field`)."""
    question = check_question(body.question, longest)
    if not body.paths and not body.answers:
        raise InvalidInput("missing_field", "say what must be found: paths, answers or both")
    return NewGoldenQuestion(question=question, paths=body.paths, answers=body.answers)


def merge_change(found: GoldenQuestion, change: GoldenQuestionChange) -> GoldenQuestionBody:
    """The question with what was given in place of what was there."""
    before = {"question": found.question, "paths": list(found.paths), "answers": list(found.answers)}
    return GoldenQuestionBody(**before | change.model_dump(exclude_none=True))


def show_question(found: GoldenQuestion) -> GoldenQuestionAnswer:
    return GoldenQuestionAnswer(
        id=found.id,
        question=found.question,
        paths=found.paths,
        answers=found.answers,
        created_at=found.created_at,
    )


def show_run(result: GoldenResult) -> RunAnswer:
    ranks = [RankAnswer(id=one.question.id, question=one.question.question, rank=one.rank) for one in result.ranks]
    return RunAnswer(
        questions=len(ranks),
        hit_rate=result.hit_rate,
        mrr=result.mrr,
        degraded=result.degraded,
        items=ranks,
    )
