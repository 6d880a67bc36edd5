"""The ledger of a version: a line for each page of the file, as it is kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from kb.types import Page, PageVerdict


def read_ledger(ledger: Sequence[Sequence[Any]] | None) -> list[Page]:
    return [Page(number=n, start=s, end=e, verdict=PageVerdict(v)) for n, s, e, v in ledger or ()]


def count_verdicts(ledger: Sequence[Sequence[Any]] | None) -> Mapping[PageVerdict, int]:
    counts = Counter(verdict for *_, verdict in ledger or ())
    return {verdict: counts[verdict] for verdict in PageVerdict if counts[verdict]}
