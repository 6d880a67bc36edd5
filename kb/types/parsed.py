"""What a loader and the splitter hand on. Offsets are Unicode code points into the extracted text, `[start, end)`;
pages count from 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple


class PageVerdict(StrEnum):
    """What became of one page. Coverage is the share of pages that are `indexed`."""

    INDEXED = "indexed"
    SCANNED = "scanned"
    ENCRYPTED = "encrypted"
    GARBLED = "garbled"
    EMPTY = "empty"


@dataclass(frozen=True, kw_only=True, slots=True)
class Page:
    """One page and the stretch of the extracted text it gave. A text file or web page is one page."""

    number: int
    start: int
    end: int
    verdict: PageVerdict


@dataclass(frozen=True, kw_only=True, slots=True)
class Heading:
    """A heading as it stands in the text at `[start, end)`; level 1 is the highest."""

    start: int
    end: int
    level: int
    title: str


@dataclass(frozen=True, kw_only=True, slots=True)
class ParsedDocument:
    """What a loader made of a file: text without NUL or lone surrogates, lines ending in `\\n`."""

    text: str
    pages: Sequence[Page]
    headings: Sequence[Heading] = ()
    title: str | None = None
    language: str | None = None  # "zh" or "en", the script most of the text is in; None for neither
    encoding: str | None = None  # of text files: what the bytes were decoded with
    date: str | None = None  # of web pages: the day they were last changed, `2025-03-01`

    @property
    def coverage(self) -> float:
        """Share of pages with text, 0 to 1."""
        if not self.pages:
            return 0.0
        return sum(page.verdict is PageVerdict.INDEXED for page in self.pages) / len(self.pages)


class TextChunk(NamedTuple):
    """What the splitter cuts: `text[start:end]`, with the path of headings it stands under (" > " between them).

    No dataclass: a book has tens of thousands, and making those would cost a sixth of splitting it.
    """

    ordinal: int
    start: int
    end: int
    tokens: int
    page_start: int
    page_end: int
    heading: str | None = None
