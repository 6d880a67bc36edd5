"""What a check of the store reports."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

EXAMPLES = 5

OnProgress = Callable[[str, int, int], None]  # what is looked at, done, total


@dataclass(frozen=True, kw_only=True, slots=True)
class Finding:
    """One invariant that does not hold: how often, and where first."""

    code: str
    detail: str
    count: int = 1


@dataclass(kw_only=True, slots=True)
class FindingLog:
    """Counts what is found by code and keeps the first examples: a broken store must not fill the memory."""

    _counts: dict[str, int] = field(default_factory=dict)
    _examples: dict[str, list[str]] = field(default_factory=dict)

    def add(self, code: str, example: str) -> None:
        self._counts[code] = self._counts.get(code, 0) + 1
        examples = self._examples.setdefault(code, [])
        if len(examples) < EXAMPLES:
            examples.append(example)

    def list_findings(self) -> list[Finding]:
        findings = []
        for code, count in self._counts.items():
            more = f"; and {count - EXAMPLES} more" if count > EXAMPLES else ""
            findings.append(Finding(code=code, detail="; ".join(self._examples[code]) + more, count=count))
        return findings
