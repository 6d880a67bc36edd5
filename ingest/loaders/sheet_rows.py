"""The rows of one sheet, streamed from its XML: what Excel shows in each cell, a line at a time.

openpyxl reads all that a workbook's sheets share; its own rows cost several times as much, and the formulas behind
cells without a value would take a second pass.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date, datetime, time, timedelta
from enum import Enum, auto
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_NS = "{http://schemas.openxmlformats.org/spreadsheetml/2006/main}"
_ROW, _CELL, _VALUE, _FORMULA, _INLINE, _TEXT, _PHONETIC = (
    _NS + name for name in ("row", "c", "v", "f", "is", "t", "rPh")
)
_WIDEST = 16_384  # columns
_PERCENT = "%"


class _Shown(Enum):
    NUMBER = auto()
    SHARE = auto()
    DATE = auto()
    LENGTH = auto()


class CellFormats:
    """What the numbers of a workbook stand for, by the style of their cell."""

    def __init__(self, workbook: Any, strings: Sequence[object]) -> None:  # noqa: ANN401 - openpyxl ships no types
        self._workbook = workbook
        self._strings = strings
        self._shown: dict[int, _Shown] = {}
        self.parent = workbook  # where a cell of openpyxl looks for its style

    def read(self, cell: Element) -> str:
        """The value as a reader would write it; a formula that was never worked out stands for itself."""
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            inline = cell.find(_INLINE)
            return "".join(_iter_inline(inline)) if inline is not None else ""
        value = cell.findtext(_VALUE) or ""
        if not value:
            formula = cell.findtext(_FORMULA)
            return f"={formula}" if formula else ""
        if kind == "s":
            return str(self._strings[int(value)])
        if kind == "b":
            return "FALSE" if value == "0" else "TRUE"
        return self._write_number(value, int(cell.get("s") or 0)) if kind == "n" else value

    def _write_number(self, value: str, style: int) -> str:
        from openpyxl.utils.datetime import from_excel

        if style not in self._shown:
            self._shown[style] = self._find_form(style)
        shown = self._shown[style]
        number = float(value)
        if shown in {_Shown.DATE, _Shown.LENGTH}:
            try:
                length = shown is _Shown.LENGTH
                return write_time(from_excel(number, epoch=self._workbook.epoch, timedelta=length))
            except (ValueError, OverflowError):
                pass  # no day of any calendar: the number itself
        return f"{number * 100:.15g}%" if shown is _Shown.SHARE else f"{number:.15g}"

    def _find_form(self, style: int) -> _Shown:
        from openpyxl.cell.read_only import ReadOnlyCell
        from openpyxl.styles.numbers import is_date_format, is_timedelta_format

        written = str(ReadOnlyCell(self, 1, 1, None, style_id=style).number_format)
        if is_timedelta_format(written):
            return _Shown.LENGTH
        if is_date_format(written):
            return _Shown.DATE
        return _Shown.SHARE if written.endswith(_PERCENT) else _Shown.NUMBER


def iter_rows(part: IO[bytes], formats: CellFormats) -> Iterator[list[str]]:
    """Each row that the file has, cells in their columns; rows that it leaves out are empty."""
    from lxml.etree import iterparse

    for _, row in iterparse(part, tag=_ROW, resolve_entities=False, no_network=True):
        cells: list[str] = []
        for cell in row.iterchildren(_CELL):
            text = formats.read(cell)
            if text:
                cells.extend([""] * (_find_column(cell, len(cells)) - len(cells)))
                cells.append(text)
        yield cells
        row.clear()
        while row.getprevious() is not None:
            del row.getparent()[0]


def write_time(value: object) -> str:
    """Dates in ISO form, without a time when it is midnight."""
    match value:
        case datetime():
            return str(value.date()) if value.time() == time() else value.isoformat(sep=" ", timespec="seconds")
        case time():
            return value.isoformat(timespec="seconds")
        case date() | timedelta():
            return str(value)
    return ""


def _find_column(cell: Element, follows: int) -> int:
    """From 0, by its name (`AB12`), or that of the next cell."""
    column = 0
    for letter in (cell.get("r") or "").upper():
        if not "A" <= letter <= "Z" or column > _WIDEST:  # of a million letters the number would take minutes
            break
        column = column * 26 + ord(letter) - ord("A") + 1
    return min(column, _WIDEST) - 1 if column else follows


def _iter_inline(inline: Element) -> Iterator[str]:
    """The text of a cell that holds its own, without how it is pronounced."""
    for element in inline.iter(_TEXT):
        parent = element.getparent()
        if parent is None or parent.tag != _PHONETIC:
            yield element.text or ""
