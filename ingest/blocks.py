"""Stretches of a text that are kept whole while they fit: code fences, tables, list items."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

# Each begins with the line feed before it, which a search finds many times as fast as `^`; a text is searched with one
# put before it, so that offsets into it are one too many.
FENCE = re.compile(r"\n {0,3}(`{3,}|~{3,})([^\n]*)")
TABLE = re.compile(r"\n[ \t]*\|[^\n]*(?:\n[ \t]*\|[^\n]*)*")
ITEM = re.compile(
    r"\n[ \t\u3000]*(?:[-*+•·▪●○][ \t\u3000]|\d{1,3}[.)][ \t]|\d{1,3}[、．）]|[a-z]\)[ \t]"
    r"|[（(][一二三四五六七八九十百\d]{1,4}[)）]|[一二三四五六七八九十]{1,3}、|[①-⑳])"
)
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
    padded = f"\n{text}"
    fences = list(find_fences(padded))
    opened = [fence.start for fence in fences]

    def in_fence(position: int) -> bool:
        index = bisect_right(opened, position) - 1
        return index >= 0 and position < fences[index].end

    tables = [
        Block(start=found.start(), end=min(found.end(), len(text)), kind=BlockKind.TABLE)
        for found in TABLE.finditer(padded)
        if not in_fence(found.start())
    ]
    solid = sorted([*fences, *tables], key=lambda block: block.start)
    items = [found.start() for found in ITEM.finditer(padded) if not in_fence(found.start())]
    return sorted([*solid, *find_items(text, items, [block.start for block in solid])], key=lambda block: block.start)


def find_fences(padded: str) -> Iterator[Block]:
    """Fenced code in the text behind the first line feed.

    A fence that is never closed is no block, or one stray mark would swallow a document.
    """
    opening: re.Match[str] | None = None
    for found in FENCE.finditer(padded):
        if opening is None:
            opening = found
        elif found[1].startswith(opening[1]) and not found[2].strip():
            yield Block(start=opening.start(), end=found.end() - 1, kind=BlockKind.CODE)
            opening = None


def find_items(text: str, items: list[int], stops: list[int]) -> Iterator[Block]:
    """Each item reaches to the next one, a blank line, or the next solid block."""
    for number, start in enumerate(items):
        end = items[number + 1] if number + 1 < len(items) else len(text)
        stop = bisect_right(stops, start)
        if stop < len(stops):
            end = min(end, stops[stop])
        blank = BLANK.search(text, start, end)
        yield Block(start=start, end=blank.start() if blank else end, kind=BlockKind.ITEM)
