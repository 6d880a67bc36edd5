"""Headings of a document: the whole lines they stand on, and the path of titles above each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from kb.types import Heading

# What a heading's line may hold beside its title, and a Markdown underline on the next line.
LEAD = re.compile(r"[ \t\u3000#>*_]*\Z")
TAIL = re.compile(r"[ \t\u3000#*_]*(?=\n|\Z)(?:\n[ \t]*(?:={2,}|-{2,})[ \t]*(?=\n|\Z))?")
DEEPEST = 8
LONGEST_TITLE = 300  # the path stands in each chunk below
SEPARATOR = " > "


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadingLine:
    """A heading with its markup, `[start, end)`, and the path down to it."""

    start: int
    end: int
    path: str


def outline_headings(text: str, headings: Sequence[Heading]) -> list[HeadingLine]:
    """Heading lines in order, free of overlaps; headings that do not lie in the text are left out."""
    lines: list[HeadingLine] = []
    above: list[tuple[int, str]] = []
    reached = 0
    for heading in sorted(headings, key=lambda heading: (heading.start, heading.end)):
        if not reached <= heading.start < heading.end <= len(text) or not text[heading.start : heading.end].strip():
            continue
        above = [entry for entry in above if entry[0] < heading.level][-DEEPEST + 1 :]
        above.append((heading.level, " ".join(heading.title.split())[:LONGEST_TITLE].rstrip()))
        start, end = widen_heading(text, heading, reached)
        lines.append(HeadingLine(start=start, end=end, path=SEPARATOR.join(title for _, title in above if title)))
        reached = end
    return lines


def widen_heading(text: str, heading: Heading, reached: int) -> tuple[int, int]:
    """The heading's span with the markup around its title, not before `reached`."""
    lead = LEAD.search(text, max(reached, heading.start - 16), heading.start)
    start = lead.start() if lead else heading.start
    tail = TAIL.match(text, heading.end)
    return start, tail.end() if tail else heading.end
