"""Stretches of a text that are kept whole while they fit: code fences, tables, list items."""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

FENCE = re.compile(r"^ {0,3}(`{3,}|~{3,})([^\n]*)$", re.MULTILINE)
TABLE = re.compile(r"(?:^[ \t]*\|[^\n]*(?:\n|\Z))+", re.MULTILINE)
ITEM = re.compile(
    r"^[ \t\u3000]*(?:[-*+•·▪●○][ \t\u3000]|\d{1,3}[.)][ \t]|\d{1,3}[、．）]|[a-z]\)[ \t]"
    r"|[（(][一二三四五六七八九十百\d]{1,4}[)）]|[一二三四五六七八九十]{1,3}、|[①-⑳])",
    re.MULTILINE,
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
    fences = list(find_fences(text))
    opened = [fence.start for fence in fences]

    def in_fence(position: int) -> bool:
        index = bisect_right(opened, position) - 1
        return index >= 0 and position < fences[index].end

    tables = [
        Block(start=found.start(), end=found.end(), kind=BlockKind.TABLE)
        for found in TABLE.finditer(text)
        if not in_fence(found.start())
    ]
    solid = sorted([*fences, *tables], key=lambda block: block.start)
    items = [found.start() for found in ITEM.finditer(text) if not in_fence(found.start())]
    return sorted([*solid, *find_items(text, items, [block.start for block in solid])], key=lambda block: block.start)


def find_fences(text: str) -> Iterator[Block]:
    """Fenced code; a fence that is never closed is no block, or one stray mark would swallow a document."""
    opening: re.Match[str] | None = None
    for found in FENCE.finditer(text):
        if opening is None:
            opening = found
        elif found[1].startswith(opening[1]) and not found[2].strip():
            yield Block(start=opening.start(), end=found.end(), kind=BlockKind.CODE)
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
