"""When a knowledge base refuses a question for which its search finds nothing that bears on it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class RelevanceMeasure(StrEnum):
    """What a relevance is made of: words and vectors, words alone where there was no vector, a reranker's score."""

    VECTORS = "vectors"
    WORDS = "words"
    RERANK = "rerank"


@dataclass(frozen=True, kw_only=True, slots=True)
class RefusalRule:
    """Refused is what is less relevant than `threshold`, 0 to 1, by that measure."""

    threshold: float
    measure: RelevanceMeasure
