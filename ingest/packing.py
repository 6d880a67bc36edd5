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

import numpy as np
from numpy.typing import NDArray

from ingest.boundaries import Rank
from ingest.code_points import Codes, Ints
from kb.types import Counts

Floats = NDArray[np.float64]

MILLI = 1000
SLICE = 1 << 12  # borders hashed at a time: keeps the arrays in the processor's cache
HASHED = 32  # characters before a border that its hash is of
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
CUT_COSTS = np.array([CUT_COST[rank] for rank in Rank])
TINY_COST = 1.5
GOOD_ENOUGH = 20.0
FEW = 250  # stretches between anchors: fewer are divided sooner one by one
SHORT = 64  # units between two anchors: more are rare in running text


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

    @property
    def wide(self) -> int:
        """Over this, a chunk is only made where the cut would be bad otherwise."""
        return 7 * self.target // 4


def hash_borders(codes: Codes, ends: Ints) -> NDArray[np.uint32]:
    """Hash of the 32 characters before each offset, shape (len(ends),)."""
    mixed = np.full(len(ends), 2166136261, dtype=np.uint32)
    early = np.searchsorted(ends, HASHED)
    padded = np.concatenate((np.zeros(HASHED, dtype=codes.dtype), codes[:HASHED]))
    mix_windows(mixed[:early], padded, ends[:early])
    mix_windows(mixed[early:], codes, ends[early:] - HASHED)
    mixed ^= mixed >> np.uint32(15)
    mixed *= np.uint32(2246822519)
    return mixed ^ (mixed >> np.uint32(13))


def mix_windows(mixed: NDArray[np.uint32], codes: Codes, starts: Ints) -> None:
    """Mixes into each of `mixed` the HASHED characters from its start, the last one first (FNV-1a, by characters)."""
    for first in range(0, len(starts), SLICE):
        part = mixed[first : first + SLICE]
        windows = np.lib.stride_tricks.sliding_window_view(codes, HASHED)[starts[first : first + SLICE]]
        for column in reversed(windows.T):
            part ^= column
            part *= np.uint32(16777619)


def pack_units(units: Units, sizes: Sizes) -> Ints:
    """Indexes of the units that begin a chunk."""
    count = len(units.opens)
    if not count:
        return np.zeros(0, dtype=np.int64)
    anchors = np.array([*find_anchors(units, sizes.reach), count])
    costs = CUT_COSTS[units.ranks]
    begins = np.zeros(count, dtype=bool)
    for first, last in divide_short(units, anchors, sizes, begins):
        opens, closes = units.opens[first:last].tolist(), units.closes[first:last].tolist()
        begins[[first + place for place in divide(opens, closes, costs[first:last].tolist(), sizes)]] = True
    return np.flatnonzero(begins)


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


def divide(opens: list[int], closes: list[int], costs: list[float], sizes: Sizes) -> list[int]:
    """The cheapest division of the units between two anchors: index of each chunk's first unit."""
    target, smallest, largest, wide = sizes.target, sizes.smallest, sizes.largest, sizes.wide
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
        firsts.append(place)
    return firsts[::-1]


def divide_short(units: Units, anchors: Ints, sizes: Sizes, begins: NDArray[np.bool_]) -> list[tuple[int, int]]:
    """Divides as `divide` does all stretches between anchors of at most SHORT units, and sets `begins` at their chunks.

    Gives those that are left: longer ones, and all where they are FEW. The others go step by step together, unit by
    unit, so that what `divide` does for one unit is done for thousands at once.
    """
    lengths = np.diff(anchors)
    short = (lengths <= SHORT) & (len(lengths) > FEW)
    order = np.argsort(-lengths[short], kind="stable")
    firsts, lengths = anchors[:-1][short][order], lengths[short][order]
    before = np.zeros(len(units.opens) + 1)
    came_from = np.zeros(len(units.opens), dtype=np.int64)
    for step in range(SHORT):
        begun = firsts[: np.searchsorted(-lengths, -step)]  # those of more than `step` units
        if not len(begun):
            break
        low, best = find_cheapest(units, before, begun, step, sizes)
        lasts = begun + step
        came_from[lasts] = best
        inner = lengths[: len(begun)] > step + 1
        before[lasts[inner] + 1] = low[inner] + CUT_COSTS[units.ranks[lasts[inner] + 1]]
    places = firsts + lengths
    while len(places):
        places = came_from[places - 1]
        begins[places] = True
        going = places > firsts
        places, firsts = places[going], firsts[going]
    long = np.flatnonzero(~short)
    return list(zip(anchors[long].tolist(), anchors[long + 1].tolist(), strict=True))


def find_cheapest(units: Units, before: Floats, begun: Ints, step: int, sizes: Sizes) -> tuple[Floats, Ints]:
    """For the unit `step` behind each of `begun`: cost of the cheapest division up to it, and its last chunk's first.

    `before` holds the cost of what lies before each unit up to there, with the cut at that unit; 0 at `begun`.
    """
    low, own = np.full(len(begun), np.inf), np.zeros(len(begun))
    best = begun + step
    closes = units.closes[best]
    going = np.arange(len(begun))
    for back in range(step + 1):
        firsts = begun[going] + (step - back)
        size = closes[going] - units.opens[firsts]
        if back:
            stay = (size <= sizes.wide) | ((size <= sizes.largest) & (own[going] >= GOOD_ENOUGH))
            going, firsts, size = going[stay], firsts[stay], size[stay]
            if not len(going):
                break
        miss = size / sizes.target - 1
        cost = before[firsts] + miss * miss
        cost = np.where(size < sizes.smallest, cost + TINY_COST, cost)
        lower = cost < low[going]
        found, firsts, cost = going[lower], firsts[lower], cost[lower]
        low[found], best[found] = cost, firsts
        own[found] = cost - before[firsts] + CUT_COSTS[units.ranks[firsts]]
    return low, best


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
