"""Merging hits into passages: neighbouring chunks of one document version are read as one stretch of text.

The order of spending the token budget is what keeps a merge from losing answers: first every hit's own text, from the
best down until the budget is full; only what is left buys neighbours, for the best passage first. So at any budget the
merged passages hold all that unmerged ones would. A passage is exactly `[start, end)` of one version's text, no two
passages share a chunk, and the work follows the number of hits, never the size of the knowledge base.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from kb.ports import OrdinalRange
from kb.types import StoredChunk, VisibleChunk

CLOSE_RANKS = (
    4  # a touching hit is pulled up to a better one only from this near: further down it would push others out
)
NEARLY = 2  # ordinals apart: hits that nearly touch have one chunk between them
REACH = 8  # chunks on each side of a passage that are looked at for growing

ASKED_AT_ONCE = 16  # passages whose neighbours are read together

Neighbours = Callable[[Sequence[OrdinalRange]], Sequence[Sequence[StoredChunk]]]  # of each range, in order


@dataclass(frozen=True, kw_only=True, slots=True)
class Hit:
    """A visible chunk with the score that decides its place and those of each step, None where one did not see it.

    `copies` are chunks of the same text in other documents, for which it stands.
    """

    chunk: VisibleChunk
    score: float
    dense: float | None = None
    lexical: float | None = None
    fused: float | None = None
    rerank: float | None = None
    copies: Sequence[VisibleChunk] = ()


@dataclass(kw_only=True, slots=True)
class Stretch:
    """A passage in the making: consecutive chunks of one version; `best` is the hit that it stands for."""

    best: Hit
    rank: int
    chunks: list[StoredChunk | VisibleChunk] = field(default_factory=list)
    core: tuple[int, int] = (0, 0)  # first and last ordinal before it grew
    copies: list[VisibleChunk] = field(default_factory=list)  # of its hits

    @property
    def version_id(self) -> int:
        return self.best.chunk.version_id

    @property
    def first(self) -> int:
        return self.chunks[0].ordinal

    @property
    def last(self) -> int:
        return self.chunks[-1].ordinal

    @property
    def start(self) -> int:
        return self.chunks[0].start

    @property
    def end(self) -> int:
        return max(chunk.end for chunk in self.chunks)


def cut_hits(hits: Sequence[Hit], max_tokens: int) -> list[Hit]:
    """The hits whose own text fits into the budget, from the best down; the first one always stays."""
    kept: list[Hit] = []
    used = 0
    for hit in hits:
        used += hit.chunk.tokens
        if kept and used > max_tokens:
            break
        kept.append(hit)
    return kept


def list_stretches(hits: Sequence[Hit]) -> list[Stretch]:
    """One stretch a hit: what a search answers with when it is told not to merge."""
    return [
        Stretch(
            best=hit,
            rank=rank,
            chunks=[hit.chunk],
            core=(hit.chunk.ordinal, hit.chunk.ordinal),
            copies=list(hit.copies),
        )
        for rank, hit in enumerate(hits)
    ]


def merge_hits(hits: Sequence[Hit], max_tokens: int, neighbours: Neighbours) -> list[Stretch]:
    """Stretches in the order of their best hit, at most `max_tokens` in all unless the first hit alone has more.

    `hits` come best first, each chunk once, and are already cut to the budget.
    """
    stretches = join_touching(list_stretches(hits))
    left = max_tokens - sum(hit.chunk.tokens for hit in hits)
    if left <= 0:
        return stretches
    grow_stretches(stretches, left, neighbours)
    return join_touching(stretches)  # those that had a chunk missing between them and now have it


def join_touching(stretches: Sequence[Stretch]) -> list[Stretch]:
    """Pull a stretch up into a better one when it touches it and is close in rank; keep the others apart.

    Stretches that touch only because both grew stay apart: at most one chunk may have been missing between them.
    """
    joined: list[Stretch] = []
    for stretch in stretches:
        touching = [better for better in joined if _touches(stretch, better)]
        if not touching:
            joined.append(stretch)
            continue
        best, *others = touching  # two when it closes the gap between them: the better one takes all
        for part in (stretch, *others):
            best.chunks = best.chunks + part.chunks if part.first > best.last else part.chunks + best.chunks
            best.core = (min(best.core[0], part.core[0]), max(best.core[1], part.core[1]))
            best.copies += part.copies
        joined = [kept for kept in joined if not any(kept is other for other in others)]
    return joined


def _touches(stretch: Stretch, better: Stretch) -> bool:
    if stretch.version_id != better.version_id or stretch.rank - better.rank > CLOSE_RANKS:
        return False
    gap = max(stretch.core[0] - better.core[1], better.core[0] - stretch.core[1])
    return gap <= NEARLY and (stretch.first == better.last + 1 or stretch.last == better.first - 1)


def grow_stretches(stretches: Sequence[Stretch], left: int, neighbours: Neighbours) -> None:
    """Spend `left` tokens on chunks beside the stretches, in rounds: each round offers every stretch, best first, one
    chunk after it and one before it. A chunk belongs to one stretch at most."""
    taken = {(s.version_id, chunk.ordinal) for s in stretches for chunk in s.chunks}
    tokens = [chunk.tokens for s in stretches for chunk in s.chunks]
    cheapest, mean = min(tokens), sum(tokens) / len(tokens)
    shelves: dict[int, dict[int, StoredChunk]] = {}
    reach = min(REACH, 1 + int(left / (2 * mean * len(stretches) or 1)))  # rounds that the budget is likely to last
    growing = list(enumerate(stretches))
    for number in range(REACH):
        if number == reach:  # some were at the end of their document: the others go on
            shelves, reach = {}, REACH
        still: list[tuple[int, Stretch]] = []
        for place, stretch in growing:
            if left <= 0:
                return
            if place not in shelves:
                if left < cheapest // 2:
                    return
                shelves |= _fill_shelves(stretches[place : place + ASKED_AT_ONCE], place, reach - number, neighbours)
            spent = _grow_once(stretch, shelves[place], taken, left)
            left -= spent
            if spent:
                still.append((place, stretch))
        growing = still


def _fill_shelves(
    asked: Sequence[Stretch], place: int, reach: int, neighbours: Neighbours
) -> dict[int, dict[int, StoredChunk]]:
    """What lies within `reach` chunks around these stretches, by place and ordinal; `place` is that of the first."""
    ranges = [(stretch.version_id, max(0, stretch.first - reach), stretch.last + reach) for stretch in asked]
    return {
        number: {chunk.ordinal: chunk for chunk in found}
        for number, found in enumerate(neighbours(ranges), start=place)
    }


def _grow_once(stretch: Stretch, shelf: dict[int, StoredChunk], taken: set[tuple[int, int]], left: int) -> int:
    """Take the chunk after and the chunk before, where they are free and fit; answers with the tokens spent."""
    spent = 0
    for ordinal in (stretch.last + 1, stretch.first - 1):
        chunk, place = shelf.get(ordinal), (stretch.version_id, ordinal)
        if chunk is None or place in taken or spent + chunk.tokens > left:
            continue
        taken.add(place)
        spent += chunk.tokens
        if ordinal > stretch.last:
            stretch.chunks.append(chunk)
        else:
            stretch.chunks.insert(0, chunk)
    return spent
