"""Stretches of a text that are kept whole while they fit: code fences, tables, list items."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# At the start of a line. A search finds the line feed before it many times as fast as `^`.
FENCE = r" {0,3}(`{3,}|~{3,})([^\n]*)"
TABLE = r"[ \t]*\|[^\n]*(?:\n[ \t]*\|[^\n]*)*"
ITEM = (
    r"[ \t\u3000]*(?:[-*+•·▪●○][ \t\u3000]|\d{1,3}[.)][ \t]|\d{1,3}[、．）]|[a-z]\)[ \t]"
    r"|[（(][一二三四五六七八九十百\d]{1,4}[)）]|[一二三四五六七八九十]{1,3}、|[①-⑳])"
)
AT_START = {pattern: re.compile(pattern) for pattern in (FENCE, TABLE, ITEM)}
AT_LINES = {pattern: re.compile(f"\n(?:{pattern})") for pattern in (FENCE, TABLE, ITEM)}
BLANK = re.compile(r"\n[ \t\u3000]*\n")


class BlockKind(StrEnum):
    CODE = "code"
    TABLE = "table"
    ITEM = "item"


@dataclass(frozen=True, kw_only=True, slots=True)
class Block:
    start: int
    end: int
    kind: BlockKind


def find_blocks(text: str) -> list[Block]:
    """Blocks in order, free of overlaps."""
    fences = list(find_fences(text))
    opened = [fence.start for fence in fences]

    def in_fence(position: int) -> bool:
        index = bisect_right(opened, position) - 1
        return index >= 0 and position < fences[index].end

    tables = [
        Block(start=start, end=min(found.end() + 1, len(text)), kind=BlockKind.TABLE)
        for start, found in find_at_lines(TABLE, text)
        if not in_fence(start)
    ]
    solid = sorted([*fences, *tables], key=lambda block: block.start)
    items = [start for start, _ in find_at_lines(ITEM, text) if not in_fence(start)]
    return sorted([*solid, *find_items(text, items, [block.start for block in solid])], key=lambda block: block.start)


def find_at_lines(pattern: str, text: str) -> Iterator[tuple[int, re.Match[str]]]:
    """Matches at the starts of lines, in order, free of overlaps; each with the offset of its line."""
    first = AT_START[pattern].match(text)
    if first:
        yield 0, first
    for found in AT_LINES[pattern].finditer(text, first.end() if first else 0):
        yield found.start() + 1, found


def find_fences(text: str) -> Iterator[Block]:
    """Fenced code.

    A fence that is never closed is no block, or one stray mark would swallow a document.
    """
    opened, mark = -1, ""
    for start, found in find_at_lines(FENCE, text):
        if opened < 0:
            opened, mark = start, found[1]
        elif found[1].startswith(mark) and not found[2].strip():
            yield Block(start=opened, end=found.end(), kind=BlockKind.CODE)
            opened = -1


def find_items(text: str, items: list[int], stops: list[int]) -> Iterator[Block]:
    """Each item reaches to the next one, a blank line, or the next solid block."""
    for number, start in enumerate(items):
        end = items[number + 1] if number + 1 < len(items) else len(text)
        stop = bisect_right(stops, start)
        if stop < len(stops):
            end = min(end, stops[stop])
        blank = BLANK.search(text, start, end)
        yield Block(start=start, end=blank.start() if blank else end, kind=BlockKind.ITEM)
