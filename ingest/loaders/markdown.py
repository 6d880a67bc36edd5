"""Markdown, kept as it is written: its marks help the reader and the chat model; headings are found beside it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from ingest.loaders.limits import LoadLimits
from ingest.loaders.plain import check_has_text, read_text, whole_page
from kb.text import clean_text, detect_language
from kb.types import Heading, ParsedDocument

_FRONT_MATTER = re.compile(r"\A\s*---[ \t]*\n(.*?)\n(?:---|\.\.\.)[ \t]*(?:\n|\Z)", re.DOTALL)
_FRONT_KEY = re.compile(r"^[\w-]+[ \t]*:", re.MULTILINE)
_FRONT_TITLE = re.compile(r"^title[ \t]*:[ \t]*(.+?)[ \t]*$", re.MULTILINE | re.IGNORECASE)
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+|$)(.*?)(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_NO_SETEXT = re.compile(r" {0,3}(?:[-*+>|#]|\d+[.)])|\s*$| {4}|\t")
_MARKS = re.compile(r"!?\[([^\]\[]*)\]\([^()]*\)|(\*\*|__|`)|<[^<>]*>|\{#[^{}]*\}$")
_LONGEST_TITLE = 300
_LONGEST_HEADING_LINE = 1_000  # longer ones are text, and the patterns stay linear
_LONGEST_FRONT_MATTER = 20_000


def load_markdown(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page with the whole text, front matter left out.

    Raises DocumentFailed like `load_plain`.
    """
    decoded = read_text(path, limits)
    body, front_title = _split_front_matter(clean_text(decoded.text))
    check_has_text(body)
    headings = tuple(find_headings(body))
    first = next((heading.title for heading in headings if heading.level == 1), None)
    return ParsedDocument(
        text=body,
        pages=whole_page(body),
        headings=headings,
        title=front_title or first,
        language=detect_language(body),
        encoding=decoded.encoding,
    )


def _split_front_matter(text: str) -> tuple[str, str | None]:
    found = _FRONT_MATTER.match(text)
    if found is None or len(found[1]) > _LONGEST_FRONT_MATTER or not _FRONT_KEY.search(found[1]):
        return text, None
    title = _FRONT_TITLE.search(found[1])
    return text[found.end() :], _strip_title(title[1].strip("'\"")) if title else None


def find_headings(text: str) -> Iterator[Heading]:
    """ATX and setext headings outside code fences; offsets are of the whole heading line or lines."""
    fence, before, before_start, offset = "", "", 0, 0
    for line in text.split("\n"):
        end = offset + len(line)
        mark = _FENCE.match(line)
        if fence:
            if mark and mark[1].startswith(fence) and not line[mark.end() :].strip():
                fence = ""
            before = ""
        elif mark:
            fence, before = mark[1], ""
        elif len(line) <= _LONGEST_HEADING_LINE and (atx := _ATX.match(line)):
            before = ""
            if title := _strip_title(atx[2]):
                yield Heading(start=offset, end=end, level=len(atx[1]), title=title)
        elif before and (under := _SETEXT.match(line)):
            yield Heading(start=before_start, end=end, level=1 if under[1][0] == "=" else 2, title=_strip_title(before))
            before = ""
        else:
            before, before_start = ("" if _NO_SETEXT.match(line) else line[:_LONGEST_HEADING_LINE]), offset
        offset = end + 1


def _strip_title(title: str) -> str:
    """The words of a heading without links, emphasis and tags."""
    return _MARKS.sub(lambda found: found[1] or "", title[:_LONGEST_TITLE]).strip()
