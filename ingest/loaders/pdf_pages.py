"""One page of a PDF: its lines with their places, and what became of it."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from ctypes import byref, c_double, c_int, create_string_buffer
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from ingest.loaders.pdf_columns import LEAST_GUTTER, SLACK, Box, Line, Strip, find_gutters, place_lines
from ingest.loaders.pdf_lines import LineSpan, clean_line, split_lines
from kb.text import clean_text
from kb.types import PageVerdict

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage, PdfTextPage

# What a page is full of when its font tells no Unicode: private use, replacement marks, controls, unassigned.
_UNREADABLE = re.compile("[\ue000-\uf8ff\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f]|[\U000f0000-\U0010ffff]")
_HIGH_LATIN = re.compile("[\u00a1-\u00bf\u00c0-\u00ff]")
_MOST_UNREADABLE = 0.3
_MOST_HIGH_LATIN = 0.5  # the most accented language stays under 0.2
_MOST_RECTS = 5_000  # of a page that are looked at for its columns
_PROBES = 4
_LEAST_CUT = 0.2  # of the lines of a page that is drawn across its columns jump over a gutter
_WORD = re.compile(r"\S+")
_FONT_NAME_BYTES = 128
_NOWHERE = Box(0.0, 0.0, 0.0, 0.0)


@dataclass(frozen=True, kw_only=True, slots=True)
class RawPage:
    """`in_columns` when the lines have columns and stand in reading order; else in the order they are drawn in.
    `by_ocr`: read off its picture."""

    lines: Sequence[Line]
    verdict: PageVerdict
    in_columns: bool = False
    broken: bool = False
    by_ocr: bool = False


def make_read_page(lines: Sequence[str]) -> RawPage:
    """A page of lines in reading order that were read off its picture: nothing is known of their fonts."""
    placed = [Line(text=line, box=_NOWHERE) for line in lines]
    return RawPage(lines=placed, verdict=PageVerdict.INDEXED, by_ocr=True)


def read_page(document: PdfDocument, number: int) -> RawPage:
    """The page `number`, from 0."""
    from pypdfium2 import PdfiumError

    try:
        page = document.get_page(number)
    except PdfiumError:
        return RawPage(lines=[], verdict=PageVerdict.EMPTY, broken=True)
    try:
        return _read_text(page)
    finally:
        page.close()


def _read_text(page: PdfPage) -> RawPage:
    from pypdfium2 import PdfiumError

    try:
        text_page = page.get_textpage()
    except PdfiumError:
        return RawPage(lines=[], verdict=PageVerdict.EMPTY, broken=True)
    try:
        text = str(text_page.get_text_range())
        if _is_garbled(text):
            return RawPage(lines=[], verdict=PageVerdict.GARBLED)
        lines, in_columns = _read_lines(text_page, text, upright=page.get_rotation() == 0)
        if lines:
            return RawPage(lines=lines, verdict=PageVerdict.INDEXED, in_columns=in_columns)
        return RawPage(lines=[], verdict=PageVerdict.SCANNED if _has_image(page) else PageVerdict.EMPTY)
    finally:
        text_page.close()


def _read_lines(text_page: PdfTextPage, text: str, *, upright: bool) -> tuple[list[Line], bool]:
    glyphs = _Glyphs(text_page)
    measured = [(span, line) for span in split_lines(text) if (line := _measure_line(glyphs, span)) is not None]
    lines = [line for _, line in measured]
    if not lines or not upright:
        return lines, False
    gutters = find_gutters([line.box for line in lines])
    if not gutters and _is_drawn_across(glyphs, text, measured):
        gutters = find_gutters(glyphs.list_rects(min(text_page.count_rects(), _MOST_RECTS)))
    if not gutters:
        return lines, False
    whole = measured
    for gutter in gutters:
        measured = [part for one in measured for part in _cut_line(glyphs, text, one, gutter)]
    if len(measured) - len(whole) < _LEAST_CUT * len(whole):  # a heading or a table row with a wide gap in it
        measured = whole
    placed = place_lines([line for _, line in measured], gutters)
    return (placed, True) if placed else (lines, False)


def _is_drawn_across(glyphs: _Glyphs, text: str, measured: Sequence[tuple[LineSpan, Line]]) -> bool:
    """Whether the widest lines have wide gaps in them; a few of them tell, without a look at every word."""
    widest = sorted(measured, key=lambda one: one[1].box.left - one[1].box.right)[: len(measured) // 2]
    probes = widest[:: max(1, len(widest) // _PROBES)][:_PROBES]
    return len(probes) == _PROBES and all(_has_gap(glyphs, text, span) for span, _ in probes)


def _has_gap(glyphs: _Glyphs, text: str, span: LineSpan) -> bool:
    words = [found.span() for found in _WORD.finditer(text, span.start, span.end)]
    return any(
        glyphs.locate(start).left - glyphs.locate(end - 1).right >= LEAST_GUTTER
        for (_, end), (start, _) in pairwise(words)
    )


def _cut_line(glyphs: _Glyphs, text: str, one: tuple[LineSpan, Line], gutter: Strip) -> Iterator[tuple[LineSpan, Line]]:
    """Two lines where one jumps over the gutter: a page that is drawn across its columns has them in one."""
    span, line = one
    parts = [span]
    if line.box.left < gutter.left and line.box.right > gutter.right + SLACK:
        words = [found.span() for found in _WORD.finditer(text, span.start, span.end)]
        for (_, end), (start, _) in pairwise(words):
            after = glyphs.locate(start).left
            if after >= gutter.right - SLACK:
                if after - glyphs.locate(end - 1).right >= LEAST_GUTTER:
                    cut = line.text[-1:] if line.text.endswith("\u00ad") else ""
                    halves = (clean_line(text[span.start : end]), clean_line(text[start : span.end] + cut))
                    parts = [
                        LineSpan(text=halves[0], start=span.start, end=end),
                        LineSpan(text=halves[1], start=start, end=span.end),
                    ]
                break
    for part in parts:
        measured = line if part is span else _measure_line(glyphs, part)
        if measured is not None:
            yield part, measured


def _measure_line(glyphs: _Glyphs, span: LineSpan) -> Line | None:
    text = clean_text(span.text).strip()
    if not text:
        return None
    first, last = glyphs.locate(span.start), glyphs.locate(span.end - 1)
    box = Box(first.left, min(first.bottom, last.bottom), max(first.right, last.right), max(first.top, last.top))
    font = glyphs.name_font(span.start)
    is_even = abs(first.top - first.bottom - last.top + last.bottom) < 0.1 * (box.top - box.bottom)
    return Line(text=text, box=box, font=font if is_even and glyphs.name_font(span.end - 1) == font else "")


class _Glyphs:
    """Where the characters of a page's text stand; an offset that is none of a glyph's stands at 0."""

    def __init__(self, text_page: PdfTextPage) -> None:
        from pypdfium2 import raw as pdfium

        self._pdfium = pdfium
        self._page = text_page.raw
        self._rect = pdfium.FS_RECTF()
        self._name = create_string_buffer(_FONT_NAME_BYTES)
        self._flags = c_int()

    def locate(self, offset: int) -> Box:
        index = self._pdfium.FPDFText_GetCharIndexFromTextIndex(self._page, offset)
        rect = self._rect
        if index < 0 or not self._pdfium.FPDFText_GetLooseCharBox(self._page, index, byref(rect)):
            return _NOWHERE
        return Box(rect.left, rect.bottom, rect.right, rect.top)

    def list_rects(self, count: int) -> list[Box]:
        """The stretches of text that are drawn in one go; counted before by pdfium."""
        left, top, right, bottom = c_double(), c_double(), c_double(), c_double()
        places = (byref(left), byref(top), byref(right), byref(bottom))
        read = self._pdfium.FPDFText_GetRect
        return [
            Box(left.value, bottom.value, right.value, top.value)
            for index in range(count)
            if read(self._page, index, *places)
        ]

    def name_font(self, offset: int) -> str:
        index = self._pdfium.FPDFText_GetCharIndexFromTextIndex(self._page, offset)
        size = self._pdfium.FPDFText_GetFontInfo(self._page, index, self._name, _FONT_NAME_BYTES, byref(self._flags))
        return self._name.value.decode(errors="replace") if 0 < size <= _FONT_NAME_BYTES else ""


def _has_image(page: PdfPage) -> bool:
    from pypdfium2 import raw as pdfium

    return next(page.get_objects(filter=[pdfium.FPDF_PAGEOBJ_IMAGE], max_depth=3), None) is not None


def _is_garbled(text: str) -> bool:
    """Line-end hyphens are marked with U+0002 and U+FFFE by pdfium, and bullets are often private: a few are normal."""
    characters = len(text) - len(re.findall(r"[\s\x02\ufffe]", text))
    if characters < 8:
        return False
    unreadable = len(_UNREADABLE.findall(text)) - text.count("\x02")
    return unreadable > _MOST_UNREADABLE * characters or len(_HIGH_LATIN.findall(text)) > _MOST_HIGH_LATIN * characters
