"""A figure with its target, and the table that a run prints."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

MARKS = {True: "yes", False: "NO", None: ""}


@dataclass(frozen=True, kw_only=True, slots=True)
class Figure:
    """`at_most` or `at_least` is the target; a figure without one is there to explain the others."""

    name: str
    value: float
    unit: str
    at_most: float | None = None
    at_least: float | None = None
    note: str = ""

    @property
    def target(self) -> str:
        if self.at_most is not None:
            return f"≤ {self.at_most:g} {self.unit}".rstrip()
        return f"≥ {self.at_least:g} {self.unit}".rstrip() if self.at_least is not None else ""

    @property
    def is_met(self) -> bool | None:
        if self.at_most is not None:
            return self.value <= self.at_most
        return self.value >= self.at_least if self.at_least is not None else None

    def to_row(self) -> tuple[str, str, str, str, str]:
        digits = (
            0
            if abs(self.value) >= 100 or not self.value
            else 1
            if abs(self.value) >= 10
            else 2
            if abs(self.value) >= 1
            else 3
        )
        shown = f"{self.value:,.{digits}f} {self.unit}".rstrip()
        return self.name, shown, self.target, MARKS[self.is_met], self.note


def print_group(title: str, figures: Sequence[Figure]) -> None:
    """A Markdown table, so that a run can be pasted into the page about performance."""
    print(f"\n### {title}\n")
    print("| what | figure | target | met | note |\n|---|---|---|---|---|")
    for figure in figures:
        print(f"| {' | '.join(figure.to_row())} |", flush=True)


def find_percentile(values: Sequence[float], share: float) -> float:
    """The value below which `share` of them lie; nearest rank."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def describe_spread(values: Sequence[float], unit: str) -> str:
    """`median of 5, 1.21–1.43 s`."""
    return f"median of {len(values)}, {min(values):.3g}–{max(values):.3g} {unit}"


def find_median(values: Sequence[float]) -> float:
    return float(statistics.median(values))
