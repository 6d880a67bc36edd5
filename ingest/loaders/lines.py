"""A document put together line by line: where its headings and pages stand follows from the order."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ingest.loaders.html_tree import HeadedText
from ingest.loaders.limits import LoadLimits
from ingest.loaders.plain import check_has_text
from kb.text import clean_text, detect_language
from kb.types import Heading, Page, PageVerdict, ParsedDocument

CELL_MARK = " | "

_SPACES = re.compile(r"\s+")
_LONGEST_TITLE = 300
# What programs write into the title of a file that nobody gave one, and names of files.
_NO_TITLE = re.compile(
    r"(?:microsoft (?:word|excel|powerpoint)|word document|powerpoint presentation|untitled|(?:document|presentation|"
    r"workbook|slide|book|sheet|工作表|文档|文件|演示文稿|簡報|工作簿|幻灯片)\s*\d*$|无标题|無標題|新建 )|"
    r".*\.(?:docx?|xlsx?|pptx?|wps|rtf|tmp)$",
    re.IGNORECASE,
)


class TextLines:
    """Takes paragraphs in reading order; `finish` gives the document.

    Everything taken is cleaned; pages follow each other with one line feed between them.
    """

    def __init__(self, limits: LoadLimits) -> None:
        self._limits = limits
        self._lines: list[str] = []
        self._headings: list[Heading] = []
        self._pages: list[Page] = []
        self._offset = 0
        self._page_start = 0

    def add(self, text: str, *, level: int = 0, title: str | None = None) -> None:
        """One paragraph, or a heading of `level` (1 is the highest); blank ones are left out.

        Raises DocumentFailed (`text_too_large`).
        """
        text = "\n".join(line for part in clean_text(text).split("\n") if (line := part.strip()))
        if not text:
            return
        if level:
            words = _SPACES.sub(" ", clean_text(title or text)).strip()[:_LONGEST_TITLE]
            self._headings.append(Heading(start=self._offset, end=self._offset + len(text), level=level, title=words))
        self._append(text)

    def add_row(self, cells: Iterable[str]) -> None:
        """A row of a table as one line, without empty cells at its ends. Raises DocumentFailed (`text_too_large`)."""
        row = [_SPACES.sub(" ", cell).strip() for cell in cells]
        filled = [place for place, cell in enumerate(row) if cell]
        if filled:
            self.add(CELL_MARK.join(row[filled[0] : filled[-1] + 1]))

    def add_content(self, content: HeadedText) -> None:
        """Text with headings of its own. Raises DocumentFailed (`text_too_large`)."""
        for heading in content.headings:
            self._headings.append(
                Heading(
                    start=self._offset + heading.start,
                    end=self._offset + heading.end,
                    level=heading.level,
                    title=heading.title,
                )
            )
        if content.text:
            self._append(content.text)

    def end_page(self) -> None:
        """All that was added since the last page is one page: `indexed`, or `empty` when that is nothing."""
        start = min(self._page_start, self._offset)
        end = max(start, self._offset - 1)
        verdict = PageVerdict.INDEXED if self._offset > self._page_start else PageVerdict.EMPTY
        self._pages.append(Page(number=len(self._pages) + 1, start=start, end=end, verdict=verdict))
        self._page_start = self._offset

    def finish(self, *, title: str | None, encoding: str | None = None) -> ParsedDocument:
        """`title` as the file's properties have it: the first heading stands in for one that says nothing.

        Raises DocumentFailed (`no_text`).
        """
        if self._offset > self._page_start or not self._pages:
            self.end_page()
        text = "\n".join(self._lines)
        check_has_text(text)
        first = self._headings[0].title if self._headings else None
        return ParsedDocument(
            text=text,
            pages=tuple(
                Page(
                    number=page.number,
                    start=min(page.start, len(text)),
                    end=min(page.end, len(text)),
                    verdict=page.verdict,
                )
                for page in self._pages
            ),
            headings=tuple(self._headings),
            title=choose_title(title) or choose_title(first),
            language=detect_language(text),
            encoding=encoding,
        )

    def _append(self, text: str) -> None:
        self._lines.append(text)
        self._offset += len(text) + 1
        self._limits.check_characters(self._offset - 1)


def choose_title(title: str | None) -> str | None:
    """The title of a file's properties, unless a program put it there."""
    words = _SPACES.sub(" ", clean_text(title or "")).strip()[:_LONGEST_TITLE]
    return words if words and not _NO_TITLE.match(words) else None
