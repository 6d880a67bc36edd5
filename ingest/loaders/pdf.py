"""PDF through pdfium: text page by page, what became of each page, the outline as headings.

pdfium reads outline and title as well: on 31 real files pypdf found nothing more. pypdf is asked only where pdfium
cannot open a file (`pdf_mending`), so that a sound one pays nothing for it. pdfium is not thread-safe: this runs in a
parse child, one file at a time.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.loaders.limits import LoadLimits
from ingest.loaders.ocr import ENCODING, read_page_image
from ingest.loaders.parsers import ask_parser
from ingest.loaders.pdf_columns import measure_fills
from ingest.loaders.pdf_fonts import find_headings
from ingest.loaders.pdf_furniture import find_furniture
from ingest.loaders.pdf_lines import join_lines
from ingest.loaders.pdf_mending import count_locked_pages, describe_encryption, is_misread, iter_mended
from ingest.loaders.pdf_outline import LONGEST_TITLE, Bookmark, normalise_title, place_headings, read_outline
from ingest.loaders.pdf_pages import RawPage, make_read_page, read_page
from kb.errors import DocumentFailed
from kb.text import clean_text, detect_language
from kb.types import Page, PageVerdict, ParsedDocument

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_BAD_TITLE = re.compile(r"microsoft word|^untitled|^doi:|\.[a-z]{2,5}$|^[\d\W]+$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _RawDocument:
    pages: list[RawPage]
    bookmarks: list[Bookmark]
    title: str | None


def load_pdf(path: Path, limits: LoadLimits, password: str | None = None) -> ParsedDocument:
    """Text of all pages, each page ending where the next begins less one line feed.

    A file that is cut short or otherwise damaged gives the pages that can be saved. `password` is tried where one is
    needed: a file that opens without is read without.

    Raises DocumentFailed: `pdf_malformed`, `pdf_encrypted` (a password is needed to open it), `pdf_wrong_password`,
    `no_text`, `too_many_pages`, `text_too_large`.
    """
    document = _open_pdf(path, limits, password)
    raw = _read_damaged(path, limits) if document is None else _read_document(document, limits)
    _check_any_text(raw.pages)
    raw_pages, bookmarks = _drop_furniture(raw.pages), raw.bookmarks
    if not bookmarks:
        merged, bookmarks = find_headings([page.lines for page in raw_pages])
        raw_pages = [replace(page, lines=lines) for page, lines in zip(raw_pages, merged, strict=True)]
    titles = frozenset(normalise_title(bookmark.title) for bookmark in bookmarks)
    text, pages = _lay_out([_join_page(page, titles) for page in raw_pages], [page.verdict for page in raw_pages])
    limits.check_characters(len(text))
    return ParsedDocument(
        text=text,
        pages=pages,
        headings=tuple(place_headings(text, pages, bookmarks)),
        title=raw.title,
        language=detect_language(text),
        encoding=ENCODING if any(page.by_ocr for page in raw.pages) else None,
    )


def _open_pdf(path: Path, limits: LoadLimits, password: str | None) -> PdfDocument | None:
    """None when it is damaged. Raises DocumentFailed (`pdf_encrypted`, `pdf_wrong_password`)."""
    import pypdfium2
    from pypdfium2 import raw as pdfium

    for tried in dict.fromkeys((None, password)):
        try:
            return pypdfium2.PdfDocument(str(path), password=tried)
        except pypdfium2.PdfiumError as error:
            if error.err_code not in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
                return None
    raise _ask_for_password(path, limits, given=password is not None)


def _ask_for_password(path: Path, limits: LoadLimits, *, given: bool) -> DocumentFailed:
    cipher = describe_encryption(path)
    sort = f" ({cipher})" if cipher else ""
    locked = [PageVerdict.ENCRYPTED] * count_locked_pages(path, limits)
    if given:
        detail = f"the password given does not open this PDF{sort}; send it again"
        return DocumentFailed("pdf_wrong_password", detail, verdicts=locked)
    detail = f"a password is needed to open this PDF{sort}; send it again with one"
    return DocumentFailed("pdf_encrypted", detail, verdicts=locked)


def _read_document(document: PdfDocument, limits: LoadLimits) -> _RawDocument:
    """Closes it."""
    try:
        limits.check_pages(len(document))
        pages = _read_images(document, _read_pages(document, limits), limits)
        return _RawDocument(bookmarks=read_outline(document), pages=pages, title=_read_title(document))
    finally:
        document.close()


def _read_damaged(path: Path, limits: LoadLimits) -> _RawDocument:
    """Raises DocumentFailed (`pdf_malformed`) when no page has text that can be trusted."""
    from pypdfium2 import PdfDocument, PdfiumError

    for mended in iter_mended(path, limits):
        try:
            document = PdfDocument(mended)
        except PdfiumError:
            continue
        raw = _read_document(document, limits)
        pages = [_doubt_page(page) for page in raw.pages]
        if any(page.verdict is PageVerdict.INDEXED for page in pages):
            return replace(raw, pages=pages)
        reason = "this PDF is damaged, and no text can be read from what is left of it"
        raise DocumentFailed("pdf_malformed", reason, verdicts=[page.verdict for page in pages])
    raise DocumentFailed("pdf_malformed", "this file cannot be opened as a PDF")


def _doubt_page(page: RawPage) -> RawPage:
    if page.verdict is PageVerdict.INDEXED and is_misread("".join(line.text for line in page.lines)):
        return RawPage(lines=[], verdict=PageVerdict.GARBLED)
    return page


def _read_pages(document: PdfDocument, limits: LoadLimits) -> list[RawPage]:
    pages, characters = [], 0
    for number in range(len(document)):
        page = read_page(document, number)
        characters += sum(len(line.text) for line in page.lines)
        limits.check_characters(characters)
        pages.append(page)
    return pages


def _read_images(document: PdfDocument, pages: list[RawPage], limits: LoadLimits) -> list[RawPage]:
    """The pages, those without a readable text read by OCR, the first ones where there are more than are allowed."""
    wanted = [number for number, page in enumerate(pages) if page.verdict in {PageVerdict.SCANNED, PageVerdict.GARBLED}]
    for number in wanted[: limits.ocr_pages]:
        limits.begin_ocr_page()
        lines = read_page_image(document, number)
        if lines:
            pages[number] = make_read_page(lines)
    return pages


def _check_any_text(pages: Sequence[RawPage]) -> None:
    if any(page.verdict is PageVerdict.INDEXED for page in pages):
        return
    verdicts = [page.verdict for page in pages]
    if pages and all(page.broken for page in pages):
        raise DocumentFailed("pdf_malformed", f"none of its {len(pages)} pages can be read", verdicts=verdicts)
    raise DocumentFailed("no_text", f"no page has text: {_count_verdicts(pages)}", verdicts=verdicts)


def _count_verdicts(pages: Sequence[RawPage]) -> str:
    """ "1 scanned page without a text layer", "2 pages whose text layer cannot be read, 1 empty page"."""
    kinds = (
        (PageVerdict.SCANNED, "scanned {} without a text layer"),
        (PageVerdict.GARBLED, "{} whose text layer cannot be read"),
        (PageVerdict.EMPTY, "empty {}"),
    )
    counted = [(sum(page.verdict is verdict for page in pages), words) for verdict, words in kinds]
    parts = [f"{count:,} {words.format('page' if count == 1 else 'pages')}" for count, words in counted if count]
    return ", ".join(parts) or "it has no pages"


def _drop_furniture(pages: Sequence[RawPage]) -> list[RawPage]:
    texts = [[line.text for line in page.lines] for page in pages]
    furniture = find_furniture(texts, [page.in_columns for page in pages])
    return [
        replace(page, lines=[line for index, line in enumerate(page.lines) if index not in dropped])
        for page, dropped in zip(pages, furniture, strict=True)
    ]


def _join_page(page: RawPage, titles: AbstractSet[str]) -> str:
    fills = measure_fills(page.lines) if page.in_columns else None
    return join_lines([line.text for line in page.lines], titles, fills)


def _lay_out(texts: Sequence[str], verdicts: Sequence[PageVerdict]) -> tuple[str, tuple[Page, ...]]:
    pages, offset = [], 0
    for number, (text, verdict) in enumerate(zip(texts, verdicts, strict=True), start=1):
        left = verdict if text or verdict is not PageVerdict.INDEXED else PageVerdict.EMPTY
        pages.append(Page(number=number, start=offset, end=offset + len(text), verdict=left))
        offset += len(text) + 1
    return "\n".join(texts), tuple(pages)


def _read_title(document: PdfDocument) -> str | None:
    """The title in the metadata, unless it is a file name or a number that some program left there."""
    told = ask_parser(lambda: str(document.get_metadata_value("Title")))
    title = clean_text(told or "")[:LONGEST_TITLE].strip()
    return title if title and not _BAD_TITLE.search(title) and "\ufffd" not in title else None
