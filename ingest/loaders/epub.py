"""E-books: a page a chapter in the order of the spine, with the chapter's headings. No DRM is undone."""

from __future__ import annotations

import posixpath
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit
from zipfile import ZipFile

from ingest.loaders.decoding import decode_as
from ingest.loaders.html_whole import extract_whole
from ingest.loaders.limits import LoadLimits
from ingest.loaders.lines import TextLines
from ingest.loaders.package import check_archive, reading
from kb.errors import DocumentFailed
from kb.text import clean_text
from kb.types import ParsedDocument

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

KIND = "e-book"

_CONTAINER = "META-INF/container.xml"
_ENCRYPTION = "META-INF/encryption.xml"
_ANY = "{*}"
_PAGE_TYPES = frozenset({"application/xhtml+xml", "text/html", "application/x-dtbook+xml", "text/x-oeb1-document"})
_DECLARED = re.compile(rb"<\?xml[^>]{0,200}?encoding\s*=\s*[\"']([\w.:-]{2,30})|charset\s*=\s*[\"']?([\w.:-]{2,30})")
_DECLARED_WITHIN = 1024


@dataclass(frozen=True, kw_only=True, slots=True)
class _Book:
    chapters: list[str]  # names of entries
    title: str | None


def load_epub(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page a chapter; one whose file is missing is `empty`.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `no_text`, `too_many_pages`, `text_too_large`,
    `parse_limit`.
    """
    with reading(KIND), ZipFile(path) as archive:
        check_archive(archive)
        book = _read_book(archive)
        _check_open(archive, book)
        limits.check_pages(len(book.chapters))
        lines = TextLines(limits)
        names = set(archive.namelist())
        for chapter in book.chapters:
            if chapter in names:
                lines.add_content(extract_whole(_read_markup(archive.read(chapter), limits)))
            lines.end_page()
    return lines.finish(title=book.title)


def _read_book(archive: ZipFile) -> _Book:
    """Raises ValueError when the book has no list of its chapters."""
    place = next(_parse(archive.read(_CONTAINER)).iter(_ANY + "rootfile")).get("full-path") or ""
    package = _parse(archive.read(place))
    items = {item.get("id"): item for item in package.iterfind(f"{_ANY}manifest/{_ANY}item")}
    chapters = [
        _locate(place, item.get("href") or "")
        for reference in package.iterfind(f"{_ANY}spine/{_ANY}itemref")
        if (item := items.get(reference.get("idref"))) is not None
        and item.get("media-type") in _PAGE_TYPES
        and "nav" not in (item.get("properties") or "").split()
    ]
    if not chapters:
        raise ValueError("no chapters")
    title = next(package.iter("{http://purl.org/dc/elements/1.1/}title"), None)
    return _Book(chapters=chapters, title=title.text if title is not None else None)


def _locate(package: str, link: str) -> str:
    """The name of an entry from a link in the package file; of a link that is none, one that no entry has."""
    try:
        path = urlsplit(link).path
    except ValueError:  # an address like `http://[`
        path = link
    return posixpath.normpath(posixpath.join(posixpath.dirname(package), unquote(path)))


def _check_open(archive: ZipFile, book: _Book) -> None:
    """Raises DocumentFailed (`file_encrypted`); encrypted fonts hide no text."""
    if _ENCRYPTION in archive.namelist():
        parts = _parse(archive.read(_ENCRYPTION)).iter(_ANY + "CipherReference")
        closed = {_locate("", part.get("URI") or "") for part in parts}
        if not closed.isdisjoint(book.chapters):
            raise DocumentFailed("file_encrypted", "the chapters of this e-book are encrypted (DRM)")


def _parse(data: bytes) -> Element:
    """XML whose entities stay closed and whose links are not followed."""
    from lxml.etree import XMLParser, fromstring

    return fromstring(data, XMLParser(resolve_entities=False, no_network=True, load_dtd=False))


def _read_markup(data: bytes, limits: LoadLimits) -> str:
    limits.check_characters(len(data) // 8)  # of markup that large, text would be over the limit as well
    found = _DECLARED.search(data[:_DECLARED_WITHIN])
    declared = (found[1] or found[2]).decode("ascii", errors="replace") if found else None
    return clean_text(decode_as(data, declared).text)
