"""Workbooks: a page a sheet, its name as heading, its rows as lines. Values as they were last worked out; a formula
that never was stands for itself. Hidden sheets and charts are `empty`.

Rows are streamed, so that a sheet of a million rows costs time, which is limited, and not memory.
"""

from __future__ import annotations

import warnings
from contextlib import closing
from pathlib import Path
from typing import IO, Any

from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import check_office, reading
from ingest.loaders.sheet_rows import CellFormats, iter_rows
from kb.errors import DocumentFailed
from kb.types import ParsedDocument

KIND = "workbook"

_MOST_CELLS = 20_000_000  # empty ones that stand before others count


def load_sheets(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page a sheet.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `no_text`, `too_many_pages`, `text_too_large`,
    `parse_limit`.
    """
    check_office(path, KIND)
    with reading(KIND), path.open("rb") as file, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of what openpyxl leaves out: nothing of it is text
        reader = _open_reader(file)
        with closing(reader.archive):
            sheets = list(reader.parser.find_sheets())
            limits.check_pages(len(sheets))
            lines = TextLines(limits)
            formats = CellFormats(reader.wb, reader.shared_strings)
            cells = 0
            for sheet, relation in sheets:
                if sheet.state == "visible" and relation.Type.endswith("/worksheet"):
                    with reader.archive.open(relation.target) as part:
                        cells += _write_sheet(lines, sheet.name, part, formats)
                        _check_cells(cells)
                lines.end_page()
            title = reader.wb.properties.title
    return lines.finish(title=title)


def _open_reader(file: IO[bytes]) -> Any:  # noqa: ANN401 - openpyxl ships no types
    """All of the workbook but its sheets. By the open file: a stored file's name has no ending to tell it by."""
    from openpyxl.reader.excel import ExcelReader
    from openpyxl.styles.stylesheet import apply_stylesheet

    reader = ExcelReader(file, read_only=True, data_only=True, keep_links=False)
    reader.read_manifest()
    reader.read_strings()
    reader.read_workbook()
    reader.read_properties()
    apply_stylesheet(reader.archive, reader.wb)
    return reader


def _write_sheet(lines: TextLines, name: str, part: IO[bytes], formats: CellFormats) -> int:
    """How many cells it has."""
    cells = 0
    named = False
    for row in iter_rows(part, formats):
        cells += len(row)
        _check_cells(cells)
        if row and not named:
            lines.add(name, level=1)
            named = True
        lines.add_row(row)
    return cells


def _check_cells(cells: int) -> None:
    """Raises DocumentFailed (`parse_limit`)."""
    if cells > _MOST_CELLS:
        raise DocumentFailed("parse_limit", f"more than {_MOST_CELLS:,} cells; split the workbook")
