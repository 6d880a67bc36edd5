"""Explanations: why a search finds a document or does not."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

from pydantic import AfterValidator, Field

from api.schemas.search import DocumentName, SearchBody
from api.schemas.text import compose
from retrieval.explain import Explanation
from retrieval.stages import StageName, Verdict

LONGEST_PATH = 1_024  # characters; a path has at most as many bytes


class ExplainBody(SearchBody):
    """A search, and the id or path of the document that it should have found."""

    document: Annotated[str, AfterValidator(compose)] = Field(min_length=1, max_length=LONGEST_PATH)


@dataclass(frozen=True, kw_only=True, slots=True)
class StageAnswer:
    """`present`: the stage had the document and handed it on. `rank` counts from 1 and is also told where it is too far
    down to be handed on; null where the document is in no ranking of that stage."""

    name: StageName
    present: bool
    rank: int | None
    score: float | None
    reason: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ExplanationAnswer:
    document: DocumentName
    stages: Sequence[StageAnswer]
    verdict: Verdict
    revision: int
    degraded: Sequence[str]


def show_explanation(found: Explanation) -> ExplanationAnswer:
    return ExplanationAnswer(
        document=DocumentName(id=found.document_id, path=found.path, title=found.title),
        stages=[
            StageAnswer(name=one.name, present=one.present, rank=one.rank, score=one.score, reason=one.reason)
            for one in found.stages
        ],
        verdict=found.verdict,
        revision=found.revision,
        degraded=found.degraded,
    )
