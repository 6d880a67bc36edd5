"""Workbooks: a page a sheet, its name as heading, its rows as lines. Values as they were last worked out; a formula
that never was stands for itself. Hidden sheets and charts are `empty`.

Rows are streamed, so that a sheet of a million rows costs time, which is limited, and not memory.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing
from datetime import date, datetime, time, timedelta
from itertools import repeat
from pathlib import Path
from typing import Any
from zipfile import ZipFile

from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import check_office, reading
from kb.errors import DocumentFailed
from kb.types import ParsedDocument

KIND = "workbook"

_FORMULA = re.compile(rb"<(?:\w+:)?f[ >]")
_READ_AT_ONCE = 1 << 20
_MOST_CELLS = 20_000_000
_PERCENT = "%"

Row = Sequence[Any]  # cells of openpyxl, which ships no types


def load_sheets(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page a sheet.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `no_text`, `too_many_pages`, `text_too_large`,
    `parse_limit`.
    """
    check_office(path, KIND)
    with reading(KIND), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl leaves out: nothing of it is text
        with closing(_open_book(path, values=True)) as values:
            limits.check_pages(len(values.sheetnames))
            lines = TextLines(limits)
            if _has_formulas(path):
                with closing(_open_book(path, values=False)) as formulas:
                    _write_book(lines, values, formulas)
            else:
                _write_book(lines, values, None)
            title = values.properties.title
    return lines.finish(title=title)


def _open_book(path: Path, *, values: bool) -> Any:  # noqa: ANN401
    from openpyxl import load_workbook

    return load_workbook(path, read_only=True, data_only=values, keep_links=False)


def _has_formulas(path: Path) -> bool:
    """Whether it is worth reading the sheets a second time, for the formulas behind cells without a value."""
    with ZipFile(path) as archive:
        for entry in archive.infolist():
            if "worksheets/" in entry.filename:
                with archive.open(entry) as part:
                    tail = b""
                    while block := part.read(_READ_AT_ONCE):
                        if _FORMULA.search(tail + block):
                            return True
                        tail = block[-_READ_AT_ONCE // 1024 :]
    return False


def _write_book(lines: TextLines, values: Any, formulas: Any) -> None:  # noqa: ANN401
    cells = 0
    for name in values.sheetnames:
        sheet = values[name]
        if sheet.sheet_state == "visible" and hasattr(sheet, "iter_rows"):
            behind = _iter_rows(formulas[name]) if formulas is not None else repeat(())
            named = False
            for row, formula_row in zip(_iter_rows(sheet), behind, strict=False):
                cells += len(row)
                if cells > _MOST_CELLS:
                    raise DocumentFailed("parse_limit", f"more than {_MOST_CELLS:,} cells; split the workbook")
                written = _write_row(row, formula_row)
                if any(written) and not named:
                    lines.add(name, level=1)
                    named = True
                lines.add_row(written)
        lines.end_page()


def _iter_rows(sheet: Any) -> Iterator[Row]:  # noqa: ANN401
    sheet.reset_dimensions()  # what a file says of its own size may be wrong either way
    yield from sheet.iter_rows()


def _write_row(row: Row, formulas: Row) -> list[str]:
    cells = [write_value(cell.value, cell) for cell in row]
    for place, formula in enumerate(formulas[: len(cells)]):
        if not cells[place] and formula.data_type == "f":
            cells[place] = str(getattr(formula.value, "text", formula.value) or "")
    return cells


def write_value(value: object, cell: Any) -> str:  # noqa: ANN401
    """As a reader would write it: dates in ISO form, 0.1 + 0.2 as 0.3, shares as the sheet shows them."""
    match value:
        case None:
            return ""
        case str():
            return value
        case bool():
            return "TRUE" if value else "FALSE"
        case datetime():
            return str(value.date()) if value.time() == time() else value.isoformat(sep=" ", timespec="seconds")
        case date() | timedelta():
            return str(value)
        case time():
            return value.isoformat(timespec="seconds")
        case int() | float() if str(cell.number_format).endswith(_PERCENT):
            return f"{value * 100:.15g}%"
        case float():
            return f"{value:.15g}"
    return str(value)
