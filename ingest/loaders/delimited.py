"""CSV and TSV, a line a row: `name | age`. Encodings as for any text."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.plain import read_text
from kb.text import clean_text
from kb.types import ParsedDocument

_DELIMITERS = ",;\t|，"
_SAMPLE_LINES = 50
_SAMPLE_CHARACTERS = 20_000
_LONGEST_FIELD = 2**31 - 1
_MOST_LINES = 200  # of one row


def load_delimited(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page with all rows; what no delimiter divides stands as it is.

    Raises DocumentFailed like `load_plain`.
    """
    decoded = read_text(path, limits)
    text = clean_text(decoded.text)
    lines = TextLines(limits)
    for row in iter_rows(text):
        lines.add_row(row)
    return lines.finish(title=None, encoding=decoded.encoding)


def iter_rows(text: str) -> Iterator[list[str]]:
    """The rows of a table in text. A quote over hundreds of lines was never closed: then quotes mean nothing."""
    delimiter = find_delimiter(text)
    csv.field_size_limit(_LONGEST_FIELD)
    lines = text.split("\n")
    quoting: Literal[0, 3] = csv.QUOTE_MINIMAL if _is_well_quoted(lines, delimiter) else csv.QUOTE_NONE
    return csv.reader((line + "\n" for line in lines), delimiter=delimiter, quoting=quoting, skipinitialspace=True)


def _is_well_quoted(lines: list[str], delimiter: str) -> bool:
    reader = csv.reader((line + "\n" for line in lines), delimiter=delimiter, skipinitialspace=True)
    before = 0
    for _ in reader:
        if reader.line_num - before > _MOST_LINES:
            return False
        before = reader.line_num
    return True


def find_delimiter(text: str) -> str:
    """The one that divides the first lines into the same number of fields most often; a comma when none does."""
    sample = [line for line in islice(text[:_SAMPLE_CHARACTERS].split("\n"), _SAMPLE_LINES) if line.strip()]
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        counts = [len(row) for row in csv.reader(sample, delimiter=delimiter)]
        usual = max(set(counts), key=lambda count: (counts.count(count), count), default=1)
        if usual > 1 and (score := (counts.count(usual) / len(counts), usual)) > best_score:
            best, best_score = delimiter, score
    return best
