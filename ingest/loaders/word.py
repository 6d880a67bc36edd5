"""Word documents: paragraphs, headings, lists and tables in the order of the body, footnotes and endnotes at its end.

python-docx opens the package; its own iteration passes over content controls, tracked insertions and text boxes, so the
body is walked here. What is deleted, moved away or hidden is not text; running heads and feet are not in the body.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import check_office, reading
from ingest.loaders.word_styles import NUMBERS, Numbering, Styles, read_value
from kb.types import ParsedDocument

if TYPE_CHECKING:
    from docx.parts.document import DocumentPart
    from lxml.etree import _Element as Element

KIND = "Word document"

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_BODY_TYPES = (
    "application/vnd.ms-word.document.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.wordprocessingml.template.main+xml",
    "application/vnd.ms-word.template.macroEnabledTemplate.main+xml",
)
_LEFT_OUT = frozenset(
    {*(_W + name for name in ("del", "moveFrom", "pPr", "rPr", "tblPr", "trPr", "tcPr", "rt", "sdtPr")), _FALLBACK}
)
_AS_TEXT = {_W + "tab": "\t", _W + "br": "\n", _W + "cr": "\n", _W + "noBreakHyphen": "-"}
_PARAGRAPH, _TABLE, _ROW, _CELL, _RUN = (_W + name for name in ("p", "tbl", "tr", "tc", "r"))
_TEXTS = frozenset({_W + "t", _MATH_TEXT})
_TEXT_BOX = _W + "txbxContent"
_NOTES = (("footnotes", "footnote"), ("endnotes", "endnote"))


def load_word(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page, since page breaks are the printer's business.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `no_text`, `text_too_large`, `parse_limit`.
    """
    check_office(path, KIND)
    with reading(KIND):
        part = _open_part(path)
        lines = TextLines(limits)
        body = _Body(lines, Styles(part.styles.element), Numbering(_find_related(part, NUMBERS)))
        body.write(part.element)
        for relation, note in _NOTES:
            _write_notes(body, _find_related(part, relation), note)
        title = part.core_properties.title
    return lines.finish(title=title)


def _open_part(path: Path) -> DocumentPart:
    from docx.opc.part import PartFactory
    from docx.package import Package
    from docx.parts.document import DocumentPart

    # Templates and files with macros are built like documents; python-docx only does not know their names.
    PartFactory.part_type_for.update(dict.fromkeys(_BODY_TYPES, DocumentPart))
    part = Package.open(str(path)).main_document_part
    if not isinstance(part, DocumentPart):
        raise ValueError(part.content_type)
    return part


def _find_related(part: DocumentPart, relation: str) -> Element | None:
    """The root of the part that this one is related to in this way."""
    from docx.oxml.parser import parse_xml

    for related in part.rels.values():
        if related.reltype.rpartition("/")[2] == relation and not related.is_external:
            return parse_xml(related.target_part.blob)
    return None


def _write_notes(body: _Body, root: Element | None, tag: str) -> None:
    """Separators between text and notes are notes of a type of their own."""
    for note in root.iterchildren(_W + tag) if root is not None else ():
        if note.get(_W + "type", "normal") == "normal":
            body.write(note)


class _Body:
    def __init__(self, lines: TextLines, styles: Styles, numbering: Numbering) -> None:
        self._lines = lines
        self._styles = styles
        self._numbering = numbering

    def write(self, parent: Element) -> None:
        """The blocks below `parent`, whatever they are wrapped in."""
        for element in parent:
            if element.tag in _LEFT_OUT:
                continue
            if element.tag == _PARAGRAPH:
                self._write_paragraph(element)
            elif element.tag == _TABLE:
                self._write_table(element)
            else:
                self.write(element)

    def _write_paragraph(self, paragraph: Element) -> None:
        text = "".join(_iter_text(paragraph)).strip()
        if text:
            style = self._styles.find(paragraph)
            mark = self._numbering.count(style)
            self._lines.add(mark + text, level=style.level)
        for box in _iter_boxes(paragraph):
            self.write(box)

    def _write_table(self, table: Element) -> None:
        for row in _iter_parts(table, _ROW):
            cells = list(_iter_parts(row, _CELL))
            if len(cells) == 1:  # a frame around text rather than a row
                self.write(cells[0])
            else:
                self._lines.add_row(" ".join(_iter_flat(cell)) for cell in cells)


def _iter_text(parent: Element) -> Iterator[str]:
    for element in parent:
        tag = element.tag
        if tag in _TEXTS:
            yield element.text or ""
        elif tag in _AS_TEXT:
            yield _AS_TEXT[tag]
        elif tag not in _LEFT_OUT and tag != _TEXT_BOX and not (tag == _RUN and _is_hidden(element)):
            yield from _iter_text(element)


def _is_hidden(run: Element) -> bool:
    hidden = run.find(f"{_W}rPr/{_W}vanish")
    return hidden is not None and read_value(hidden) not in {"0", "false", "off"}


def _iter_boxes(parent: Element) -> Iterator[Element]:
    """Text boxes anchored in a paragraph; older programs' copies of them are left out."""
    for element in parent:
        if element.tag == _TEXT_BOX:
            yield element
        elif element.tag not in _LEFT_OUT:
            yield from _iter_boxes(element)


def _iter_parts(parent: Element, tag: str) -> Iterator[Element]:
    """Rows of a table or cells of a row, also those within content controls."""
    for element in parent:
        if element.tag == tag:
            yield element
        elif element.tag not in _LEFT_OUT:
            yield from _iter_parts(element, tag)


def _iter_flat(cell: Element) -> Iterator[str]:
    """The words of a cell, those of tables and boxes within it as well."""
    for element in cell:
        if element.tag == _PARAGRAPH:
            yield "".join(_iter_text(element))
            for box in _iter_boxes(element):
                yield from _iter_flat(box)
        elif element.tag not in _LEFT_OUT:
            yield from _iter_flat(element)
