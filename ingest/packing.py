"""Packs units (sentences, rows, items) into chunks whose borders are set by content.

Theory of operation. Two steps, both blind to where the text began, so that a change moves only the borders near it:

1. *Anchors*: a border that is the best within `reach` tokens on both sides (best rank first, then a hash of the 32
   characters before it) is always cut. Whether it is one depends on its surroundings alone. Headings always are.
2. Between two anchors the cheapest division is found by dynamic programming: sizes near the target, good borders, none
   over the budget. It depends on nothing outside the two anchors.

Sizes are whole thousandths of a token, because sums of whole numbers are the same wherever in the text they are taken.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from ingest.boundaries import Ints, Rank
from kb.types import Counts

MILLI = 1000
# Cost of cutting at a border of each rank, beside ((size - target) / target)². A heading is cut off from its text
# only for the budget's sake.
CUT_COST = {
    Rank.KEEP: 50.0,
    Rank.HARD: 4.0,
    Rank.WORD: 2.5,
    Rank.COMMA: 1.5,
    Rank.CLAUSE: 1.2,
    Rank.LINE: 1.0,
    Rank.SENTENCE: 0.15,
    Rank.ITEM: 0.05,
    Rank.PARAGRAPH: 0.0,
    Rank.HEADING: 0.0,
}
TINY_COST = 1.5
GOOD_ENOUGH = 20.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Units:
    """What is packed, in order; arrays of equal length. Sizes are running sums in thousandths of a token."""

    opens: Ints  # running size at each unit's start
    closes: Ints  # and at its end
    ranks: NDArray[np.int8]  # of the border before it
    hashes: NDArray[np.uint32]  # of the text before it


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """In thousandths of a token."""

    smallest: int
    target: int
    largest: int
    reach: int


def hash_borders(codes: NDArray[np.uint32], ends: Ints) -> NDArray[np.uint32]:
    """Hash of the 32 characters before each offset, shape (len(ends),)."""
    mixed = np.full(len(ends), 2166136261, dtype=np.uint32)
    for back in range(1, 33):
        places = ends - back
        mixed ^= np.where(places >= 0, codes[np.maximum(places, 0)], 0).astype(np.uint32)
        mixed *= np.uint32(16777619)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(2246822519)
    return mixed ^ (mixed >> np.uint32(13))


def pack_units(units: Units, sizes: Sizes) -> list[int]:
    """Indexes of the units that begin a chunk."""
    count = len(units.opens)
    if not count:
        return []
    anchors = [*find_anchors(units, sizes.reach), count]
    opens, closes = units.opens.tolist(), units.closes.tolist()
    table = [CUT_COST[Rank(rank)] for rank in range(len(Rank))]
    costs = [table[rank] for rank in units.ranks.tolist()]
    firsts: list[int] = []
    for first, last in pairwise(anchors):
        firsts.extend(divide(opens[first:last], closes[first:last], costs[first:last], sizes, first))
    return firsts


def find_anchors(units: Units, reach: int) -> list[int]:
    """Indexes of units whose border is always cut: headings, and the best border within `reach` on both sides."""
    keys = units.ranks.astype(np.int64) << 32 | units.hashes
    forced = units.ranks == Rank.HEADING
    forced[0] = True
    keys[0] = np.int64(Rank.HEADING) << 32
    best = units.ranks > Rank.KEEP
    best &= units.closes[-1] - units.opens >= reach
    for shift in range(1, len(keys)):
        near = units.opens[shift:] - units.opens[:-shift] < reach
        if not near.any():
            break
        best[shift:] &= ~(near & (keys[:-shift] >= keys[shift:]))
        best[:-shift] &= ~(near & (keys[shift:] > keys[:-shift]))
    return [int(index) for index in np.flatnonzero(best | forced)]


def divide(opens: list[int], closes: list[int], costs: list[float], sizes: Sizes, offset: int) -> list[int]:
    """The cheapest division of the units between two anchors: `offset` + the index of each chunk's first unit."""
    target, smallest, largest = sizes.target, sizes.smallest, sizes.largest
    wide = 7 * target // 4
    before = [0.0]  # the cheapest division of what lies before each unit, with the cut at that unit
    came_from = [0]
    for last, close in enumerate(closes):
        low, best, own = float("inf"), -1, 0.0
        for first in range(last, -1, -1):
            size = close - opens[first]
            if size > wide and best >= 0 and (size > largest or own < GOOD_ENOUGH):
                break
            miss = size / target - 1
            cost = before[first] + miss * miss
            if size < smallest:
                cost += TINY_COST
            if cost < low:
                low, best, own = cost, first, cost - before[first] + costs[first]
        before.append(low + costs[last + 1] if last + 1 < len(costs) else low)
        came_from.append(best)
    firsts = []
    place = len(closes)
    while place > 0:
        place = came_from[place]
        firsts.append(offset + place)
    return firsts[::-1]


def thin_units(units: Units, grain: int, largest: int) -> Ints:
    """Indexes of units to keep as such; the others join the one before, so that no run of tiny ones makes packing slow.

    A border behind a unit of `grain` or more always stays, as headings' do; between smaller ones a hash decides.
    """
    keep = (units.ranks == Rank.KEEP) | (units.ranks == Rank.HEADING)
    keep[0] = True
    keep[1:] |= units.closes[:-1] - units.opens[:-1] >= grain
    loose = np.flatnonzero(~keep)
    certain = np.maximum.accumulate(np.where(keep, np.arange(len(keep)), 0))[loose].tolist()
    sizes = zip(units.closes[loose - 1].tolist(), units.closes[loose].tolist(), strict=True)
    drawn = (units.hashes[loose] & np.uint32(3) == 0).tolist()
    opens = units.opens.tolist()
    chosen = 0
    for index, before, (close, after), lucky in zip(loose.tolist(), certain, sizes, drawn, strict=True):
        start = opens[max(chosen, before)]
        size = close - start
        if (size >= grain and (lucky or size >= 3 * grain)) or after - start > largest:
            keep[index] = True
            chosen = index
    return np.flatnonzero(keep)


def as_tokens(counts: Counts) -> Ints:
    """Token counts as whole thousandths."""
    return np.rint(np.asarray(counts, dtype=np.float64) * MILLI).astype(np.int64)
