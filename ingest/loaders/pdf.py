"""PDF through pdfium: text page by page, what became of each page, the outline as headings.

pdfium reads outline and title as well: on 31 real files pypdf found nothing more. pypdf is asked only where pdfium
cannot open a file (`pdf_mending`), so that a sound one pays nothing for it. pdfium is not thread-safe: this runs in a
parse child, one file at a time.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.loaders.limits import LoadLimits
from ingest.loaders.ocr import ENCODING, read_page_image
from ingest.loaders.pdf_furniture import drop_furniture
from ingest.loaders.pdf_lines import join_lines, normalise_title, split_lines
from ingest.loaders.pdf_mending import describe_encryption, is_misread, iter_mended
from kb.errors import DocumentFailed
from kb.text import clean_text, detect_language
from kb.types import Heading, Page, PageVerdict, ParsedDocument

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_MOST_BOOKMARKS = 5_000
_LONGEST_TITLE = 300
# What a page is full of when its font tells no Unicode: private use, replacement marks, controls, unassigned.
_UNREADABLE = re.compile("[\ue000-\uf8ff\ufffd\x00-\x08\x0e-\x1f\x7f-\x9f]|[\U000f0000-\U0010ffff]")
_HIGH_LATIN = re.compile("[\u00a1-\u00bf\u00c0-\u00ff]")
_MOST_UNREADABLE = 0.3
_MOST_HIGH_LATIN = 0.5  # the most accented language stays under 0.2
_BAD_TITLE = re.compile(r"microsoft word|^untitled|^doi:|\.[a-z]{2,5}$|^[\d\W]+$", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Bookmark:
    level: int
    title: str
    page: int | None  # from 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _RawPage:
    lines: list[str]
    verdict: PageVerdict
    broken: bool = False
    by_ocr: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class _RawDocument:
    pages: list[_RawPage]
    bookmarks: list[_Bookmark]
    title: str | None


def load_pdf(path: Path, limits: LoadLimits) -> ParsedDocument:
    """Text of all pages, each page ending where the next begins less one line feed.

    A file that is cut short or otherwise damaged gives the pages that can be saved.

    Raises DocumentFailed: `pdf_malformed`, `pdf_encrypted` (a password is needed to open it), `no_text`,
    `too_many_pages`, `text_too_large`.
    """
    document = _open_pdf(path)
    raw = _read_damaged(path, limits) if document is None else _read_document(document, limits)
    _check_any_text(raw.pages)
    titles = frozenset(normalise_title(bookmark.title) for bookmark in raw.bookmarks)
    lines = drop_furniture([page.lines for page in raw.pages])
    text, pages = _lay_out([join_lines(page, titles) for page in lines], [page.verdict for page in raw.pages])
    limits.check_characters(len(text))
    return ParsedDocument(
        text=text,
        pages=pages,
        headings=tuple(_place_headings(text, pages, raw.bookmarks)),
        title=raw.title,
        language=detect_language(text),
        encoding=ENCODING if any(page.by_ocr for page in raw.pages) else None,
    )


def _open_pdf(path: Path) -> PdfDocument | None:
    """None when it is damaged. Raises DocumentFailed (`pdf_encrypted`)."""
    import pypdfium2
    from pypdfium2 import raw as pdfium

    try:
        return pypdfium2.PdfDocument(str(path))
    except pypdfium2.PdfiumError as error:
        if error.err_code in {pdfium.FPDF_ERR_PASSWORD, pdfium.FPDF_ERR_SECURITY}:
            cipher = describe_encryption(path)
            detail = "a password is needed to open this PDF" + (f" ({cipher})" if cipher else "")
            raise DocumentFailed("pdf_encrypted", detail) from error
        return None


def _read_document(document: PdfDocument, limits: LoadLimits) -> _RawDocument:
    """Closes it."""
    try:
        limits.check_pages(len(document))
        pages = _read_images(document, _read_pages(document, limits), limits)
        return _RawDocument(bookmarks=_read_outline(document), pages=pages, title=_read_title(document))
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
        raise DocumentFailed("pdf_malformed", "this PDF is damaged, and no text can be read from what is left of it")
    raise DocumentFailed("pdf_malformed", "this file cannot be opened as a PDF")


def _doubt_page(page: _RawPage) -> _RawPage:
    if page.verdict is PageVerdict.INDEXED and is_misread("".join(page.lines)):
        return _RawPage(lines=[], verdict=PageVerdict.GARBLED)
    return page


def _read_pages(document: PdfDocument, limits: LoadLimits) -> list[_RawPage]:
    pages, characters = [], 0
    for number in range(len(document)):
        page = _read_page(document, number)
        characters += sum(map(len, page.lines))
        limits.check_characters(characters)
        pages.append(page)
    return pages


def _read_images(document: PdfDocument, pages: list[_RawPage], limits: LoadLimits) -> list[_RawPage]:
    """The pages, those without a readable text read by OCR, the first ones where there are more than are allowed."""
    wanted = [number for number, page in enumerate(pages) if page.verdict in {PageVerdict.SCANNED, PageVerdict.GARBLED}]
    for number in wanted[: limits.ocr_pages]:
        limits.begin_ocr_page()
        lines = read_page_image(document, number)
        if lines:
            pages[number] = _RawPage(lines=lines, verdict=PageVerdict.INDEXED, by_ocr=True)
    return pages


def _read_page(document: PdfDocument, number: int) -> _RawPage:
    from pypdfium2 import PdfiumError

    try:
        page = document.get_page(number)
    except PdfiumError:
        return _RawPage(lines=[], verdict=PageVerdict.EMPTY, broken=True)
    try:
        text = _extract_text(page)
        if text is None:
            return _RawPage(lines=[], verdict=PageVerdict.EMPTY, broken=True)
        if _is_garbled(text):
            return _RawPage(lines=[], verdict=PageVerdict.GARBLED)
        lines = [clean_text(line) for line in split_lines(text)]
        lines = [line for line in lines if line]
        if lines:
            return _RawPage(lines=lines, verdict=PageVerdict.INDEXED)
        return _RawPage(lines=[], verdict=PageVerdict.SCANNED if _has_image(page) else PageVerdict.EMPTY)
    finally:
        page.close()


def _extract_text(page: PdfPage) -> str | None:
    from pypdfium2 import PdfiumError

    try:
        text_page = page.get_textpage()
    except PdfiumError:
        return None
    try:
        return str(text_page.get_text_range())
    finally:
        text_page.close()


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


def _check_any_text(pages: Sequence[_RawPage]) -> None:
    if any(page.verdict is PageVerdict.INDEXED for page in pages):
        return
    if pages and all(page.broken for page in pages):
        raise DocumentFailed("pdf_malformed", f"none of its {len(pages)} pages can be read")
    raise DocumentFailed("no_text", f"no page has text: {_count_verdicts(pages)}")


def _count_verdicts(pages: Sequence[_RawPage]) -> str:
    """ "1 scanned page without a text layer", "2 pages whose text layer cannot be read, 1 empty page"."""
    kinds = (
        (PageVerdict.SCANNED, "scanned {} without a text layer"),
        (PageVerdict.GARBLED, "{} whose text layer cannot be read"),
        (PageVerdict.EMPTY, "empty {}"),
    )
    counted = [(sum(page.verdict is verdict for page in pages), words) for verdict, words in kinds]
    parts = [f"{count:,} {words.format('page' if count == 1 else 'pages')}" for count, words in counted if count]
    return ", ".join(parts) or "it has no pages"


def _lay_out(texts: Sequence[str], verdicts: Sequence[PageVerdict]) -> tuple[str, tuple[Page, ...]]:
    pages, offset = [], 0
    for number, (text, verdict) in enumerate(zip(texts, verdicts, strict=True), start=1):
        left = verdict if text or verdict is not PageVerdict.INDEXED else PageVerdict.EMPTY
        pages.append(Page(number=number, start=offset, end=offset + len(text), verdict=left))
        offset += len(text) + 1
    return "\n".join(texts), tuple(pages)


def _read_outline(document: PdfDocument) -> list[_Bookmark]:
    from pypdfium2 import PdfiumError

    bookmarks: list[_Bookmark] = []
    try:
        for entry in document.get_toc():
            if len(bookmarks) >= _MOST_BOOKMARKS:
                break
            target = entry.get_dest()
            title = clean_text(entry.get_title())[:_LONGEST_TITLE].strip()
            if title:
                bookmarks.append(
                    _Bookmark(level=entry.level + 1, title=title, page=target.get_index() if target else None)
                )
    except (PdfiumError, UnicodeDecodeError):
        return bookmarks  # a broken outline costs headings, not the document
    return bookmarks


def _place_headings(text: str, pages: Sequence[Page], bookmarks: Sequence[_Bookmark]) -> Iterator[Heading]:
    """Each bookmark whose title is a line of its page or the next, once, in reading order."""
    after = 0
    for bookmark in bookmarks:
        if bookmark.page is None or not 0 <= bookmark.page < len(pages):
            continue
        wanted = normalise_title(bookmark.title)
        last = pages[min(bookmark.page + 1, len(pages) - 1)].end
        for start, end in _iter_lines(text, max(after, pages[bookmark.page].start), last):
            if _names_same(normalise_title(text[start:end]), wanted):
                yield Heading(start=start, end=end, level=bookmark.level, title=" ".join(text[start:end].split()))
                after = end
                break


def _iter_lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = text.find("\n", start, end)
        stop = end if stop < 0 else stop
        if 0 < stop - start <= _LONGEST_TITLE:
            yield start, stop
        start = stop + 1


def _names_same(line: str, wanted: str) -> bool:
    """Equal but for a number that one of them has in front ("2. Methods" and "Methods")."""
    if line == wanted:
        return True
    longer, shorter = (line, wanted) if len(line) > len(wanted) else (wanted, line)
    front = longer[: len(longer) - len(shorter)]
    return len(shorter) >= 4 and longer.endswith(shorter) and len(front) <= 8 and any(map(str.isdigit, front))


def _read_title(document: PdfDocument) -> str | None:
    """The title in the metadata, unless it is a file name or a number that some program left there."""
    title = clean_text(document.get_metadata_value("Title"))[:_LONGEST_TITLE].strip()
    return title if title and not _BAD_TITLE.search(title) and "\ufffd" not in title else None
