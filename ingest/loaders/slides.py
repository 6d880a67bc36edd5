"""Presentations: a page a slide, its title as heading, then its boxes and tables in the order of the file, which is
the one that screen readers take, and the speaker's notes. Hidden slides are `empty`; running feet are left out."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import check_office, reading
from kb.types import ParsedDocument

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

KIND = "presentation"

_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_P = "{http://schemas.openxmlformats.org/presentationml/2006/main}"
_FALLBACK = "{http://schemas.openxmlformats.org/markup-compatibility/2006}Fallback"
_MATH_TEXT = "{http://schemas.openxmlformats.org/officeDocument/2006/math}t"
_TYPES = (
    "application/vnd.ms-powerpoint.presentation.macroEnabled.main+xml",
    "application/vnd.openxmlformats-officedocument.presentationml.slideshow.main+xml",
    "application/vnd.openxmlformats-officedocument.presentationml.template.main+xml",
    "application/vnd.ms-powerpoint.slideshow.macroEnabled.main+xml",
    "application/vnd.ms-powerpoint.template.macroEnabled.main+xml",
)
_TITLES = frozenset({"title", "ctrTitle"})
_FEET = frozenset({"sldNum", "dt", "ftr", "hdr", "sldImg"})
_SHAPE, _TABLE = _P + "sp", _A + "tbl"


def load_slides(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page a slide.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `no_text`, `too_many_pages`, `text_too_large`,
    `parse_limit`.
    """
    check_office(path, KIND)
    with reading(KIND):
        part = _open_part(path)
        slides = list(part.presentation.slides)
        limits.check_pages(len(slides))
        lines = TextLines(limits)
        for slide in slides:
            if slide.element.get("show") not in {"0", "false"}:
                _write_slide(lines, slide.shapes.element)
                if slide.has_notes_slide:
                    _write_shapes(lines, slide.notes_slide.shapes.element)
            lines.end_page()
        title = part.core_properties.title
    return lines.finish(title=title)


def _open_part(path: Path) -> Any:  # noqa: ANN401 - the library ships no types
    from pptx.opc.package import PartFactory
    from pptx.package import Package
    from pptx.parts.presentation import PresentationPart

    # Shows, templates and files with macros are built like presentations.
    PartFactory.part_type_for.update(dict.fromkeys(_TYPES, PresentationPart))
    part = Package.open(str(path)).main_document_part
    if not isinstance(part, PresentationPart):
        raise ValueError(part.content_type)
    return part


def _write_slide(lines: TextLines, shapes: Element) -> None:
    """The title first, wherever it was drawn."""
    titles = [shape for shape in shapes.iter(_SHAPE) if _find_place(shape) in _TITLES]
    for shape in titles:
        lines.add(" ".join(text for text in _iter_paragraphs(shape) if text), level=1)
    _write_shapes(lines, shapes)


def _write_shapes(lines: TextLines, parent: Element) -> None:
    """All text below but titles and running feet, also in groups."""
    for element in parent:
        if element.tag == _FALLBACK:
            continue
        if element.tag == _SHAPE:
            if _find_place(element) not in _TITLES | _FEET:
                for text in _iter_paragraphs(element):
                    lines.add(text)
        elif element.tag == _TABLE:
            for row in element.iterchildren(_A + "tr"):
                lines.add_row(" ".join(_iter_paragraphs(cell)) for cell in row.iterchildren(_A + "tc"))
        else:
            _write_shapes(lines, element)


def _find_place(shape: Element) -> str | None:
    """What the layout has this shape for; None for one of the author's own."""
    place = shape.find(f"{_P}nvSpPr/{_P}nvPr/{_P}ph")
    return place.get("type", "obj") if place is not None else None


def _iter_paragraphs(parent: Element) -> Iterator[str]:
    for paragraph in parent.iter(_A + "p"):
        yield "".join(_read_run(element) for element in paragraph.iter(_A + "t", _A + "br", _MATH_TEXT)).strip()


def _read_run(element: Element) -> str:
    return "\n" if element.tag == _A + "br" else element.text or ""
