"""Golden questions: what a knowledge base must go on answering."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class NewGoldenQuestion:
    """A question and what must be found for it: a passage of one of `paths` that holds one of `answers`.

    A path names a document, or with a `/` at its end everything under a folder. An empty list asks for nothing; both
    are never empty.
    """

    question: str
    paths: Sequence[str] = ()
    answers: Sequence[str] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenQuestion:
    """The same as it is kept."""

    id: str
    question: str
    paths: Sequence[str]
    answers: Sequence[str]
    created_at: datetime
