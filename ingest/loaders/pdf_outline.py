"""The outline of a PDF, and its bookmarks as headings in the text."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kb.text import clean_text
from kb.types import Heading, Page

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

LONGEST_TITLE = 300
_MOST_BOOKMARKS = 5_000


@dataclass(frozen=True, kw_only=True, slots=True)
class Bookmark:
    level: int
    title: str
    page: int | None  # from 0


def normalise_title(title: str) -> str:
    """A heading without anything that differs between an outline and the page: spaces, forms, case."""
    return re.sub(r"\s+", "", unicodedata.normalize("NFKC", title)).casefold()


def read_outline(document: PdfDocument) -> list[Bookmark]:
    from pypdfium2 import PdfiumError

    bookmarks: list[Bookmark] = []
    try:
        for entry in document.get_toc():
            if len(bookmarks) >= _MOST_BOOKMARKS:
                break
            target = entry.get_dest()
            title = clean_text(entry.get_title())[:LONGEST_TITLE].strip()
            if title:
                bookmarks.append(
                    Bookmark(level=entry.level + 1, title=title, page=target.get_index() if target else None)
                )
    except (PdfiumError, UnicodeDecodeError):
        return bookmarks  # a broken outline costs headings, not the document
    return bookmarks


def place_headings(text: str, pages: Sequence[Page], bookmarks: Sequence[Bookmark]) -> Iterator[Heading]:
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
        if 0 < stop - start <= LONGEST_TITLE:
            yield start, stop
        start = stop + 1


def _names_same(line: str, wanted: str) -> bool:
    """Equal but for a number that one of them has in front ("2. Methods" and "Methods")."""
    if line == wanted:
        return True
    longer, shorter = (line, wanted) if len(line) > len(wanted) else (wanted, line)
    front = longer[: len(longer) - len(shorter)]
    return len(shorter) >= 4 and longer.endswith(shorter) and len(front) <= 8 and any(map(str.isdigit, front))
