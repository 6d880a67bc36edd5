"""Office files, e-books and mail written by the libraries themselves, and packages put together by hand."""

from __future__ import annotations

import zipfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from io import BytesIO

import docx
import openpyxl
import pptx

OPF = """<?xml version="1.0"?><package xmlns="http://www.idpf.org/2007/opf" xmlns:dc="http://purl.org/dc/elements/1.1/">
<metadata><dc:title>{title}</dc:title></metadata><manifest>{items}</manifest><spine>{spine}</spine></package>"""
CONTAINER = """<container xmlns="urn:oasis:names:tc:opendocument:xmlns:container"><rootfiles>
<rootfile full-path="OEBPS/content.opf" media-type="application/oebps-package+xml"/></rootfiles></container>"""
XHTML = """<?xml version="1.0" encoding="utf-8"?><!DOCTYPE html>
<html xmlns="http://www.w3.org/1999/xhtml"><head><title/></head><body>{}</body></html>"""


def save(made) -> bytes:
    target = BytesIO()
    made.save(target)
    return target.getvalue()


def write_docx(*paragraphs: str) -> bytes:
    document = docx.Document()
    for paragraph in paragraphs:
        document.add_paragraph(paragraph)
    return save(document)


def write_xlsx(sheets: Mapping[str, Iterable[Sequence[object]]]) -> bytes:
    workbook = openpyxl.Workbook()
    workbook.remove(workbook.active)
    for name, rows in sheets.items():
        sheet = workbook.create_sheet(name)
        for row in rows:
            sheet.append(list(row))
    return save(workbook)


def write_pptx(*slides: tuple[str, str]) -> bytes:
    """Slides of a title and a body each."""
    presentation = pptx.Presentation()
    for title, body in slides:
        slide = presentation.slides.add_slide(presentation.slide_layouts[1])
        slide.shapes.title.text = title
        slide.placeholders[1].text = body
    return save(presentation)


def write_zip(parts: Mapping[str, bytes | str]) -> bytes:
    target = BytesIO()
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    return target.getvalue()


def write_epub(*chapters: str, title: str = "书", extra: Mapping[str, bytes | str] | None = None) -> bytes:
    """Chapters given as the inside of their bodies, or as whole files beginning with `<?xml`."""
    names = [f"chapter {number}.xhtml" for number in range(len(chapters))]
    items = "".join(
        f'<item id="c{number}" href="{name.replace(" ", "%20")}" media-type="application/xhtml+xml"/>'
        for number, name in enumerate(names)
    )
    spine = "".join(f'<itemref idref="c{number}"/>' for number in range(len(chapters)))
    pages = {
        f"OEBPS/{name}": chapter if chapter.startswith("<?xml") else XHTML.format(chapter)
        for name, chapter in zip(names, chapters, strict=True)
    }
    fixed = {"mimetype": "application/epub+zip", "META-INF/container.xml": CONTAINER}
    return write_zip(
        {**fixed, "OEBPS/content.opf": OPF.format(title=title, items=items, spine=spine), **pages, **(extra or {})}
    )


def change_parts(packed: bytes, change: Callable[[str, bytes], bytes | None]) -> bytes:
    """The package with each part as `change` gives it; without those it gives None for."""
    with zipfile.ZipFile(BytesIO(packed)) as archive:
        parts = {name: change(name, archive.read(name)) for name in archive.namelist()}
    return write_zip({name: content for name, content in parts.items() if content is not None})


def replace_in(packed: bytes, part: str, old: bytes, new: bytes) -> bytes:
    def change(name: str, content: bytes) -> bytes:
        assert name != part or old in content
        return content.replace(old, new) if name == part else content

    return change_parts(packed, change)


def add_part(packed: bytes, name: str, content: bytes) -> bytes:
    target = BytesIO()
    target.write(packed)
    with zipfile.ZipFile(target, "a") as archive:
        archive.writestr(name, content)
    return target.getvalue()
