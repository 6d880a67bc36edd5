"""What the gate is asked before something is published, and what it answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True, slots=True)
class SafetyLimits:
    """What a knowledge base puts up with before nothing is published: how far the rates of its golden questions may
    fall, and which share of a source's documents may vanish in one run. All lie between 0 and 1."""

    hit_rate_fall: float = 0.05
    mrr_fall: float = 0.05
    vanish_share: float = 0.5


@dataclass(frozen=True, kw_only=True, slots=True)
class Candidate:
    """A knowledge base as it would be: the head, less the versions `closed`, with the versions `opened`, answering
    from the chunks and vectors of `space_id`, which may be one that is still being built."""

    kb_id: str
    space_id: int
    opened: Sequence[int] = ()
    closed: Sequence[int] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class GateReport:
    """How the golden questions fared before and after. Rates lie between 0 and 1; `lost` are questions found before
    and not after, the first of them only when there are many."""

    passed: bool
    questions: int
    hit_rate_before: float
    hit_rate_after: float
    mrr_before: float
    mrr_after: float
    lost: Sequence[str] = ()

    def describe(self) -> dict[str, Any]:
        """As a revision and a job's result keep it."""
        return {
            "passed": self.passed,
            "questions": self.questions,
            "hit_rate": {"before": self.hit_rate_before, "after": self.hit_rate_after},
            "mrr": {"before": self.mrr_before, "after": self.mrr_after},
            "lost": list(self.lost),
        }
