"""Splits an extracted text, Chinese and English alike, into the chunks that are embedded and cited.

    find blocks and headings → find borders → count tokens once → choose spans and units → pack them between anchors

Every chunk is `text[start:end]`. Chunks are in order, do not overlap, hold all text but white space, stay within
`max_tokens`, and their borders follow from the text around them alone (see `ingest/packing.py`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from itertools import count

import numpy as np
from numpy.typing import NDArray

from ingest.blocks import Block, BlockKind, find_blocks
from ingest.boundaries import Borders, Rank, Spans, choose_spans, find_borders
from ingest.code_points import Flags, Ints
from ingest.cuts import find_inside_long
from ingest.outline import HeadingLine, outline_headings
from ingest.packing import MILLI, Sizes, Units, as_tokens, hash_borders, pack_units, thin_units
from kb.ports import TokenCounter
from kb.types import Page, ParsedDocument, TextChunk

# A tokenizer may call a megabyte without spaces one unknown token; a chunk's length must not follow it there.
MOST_CHARACTERS_A_TOKEN = 16
# Units are joined until they hold this part of a chunk's target, which packing then takes as one. Coarser is quicker,
# but at a sixth fewer answers were found within a budget (cmrc_long_zh @1024 .9525, at a tenth .9625).
THINNING = 10
# A unit over the budget is opened at the best of these that does.
OPENINGS = (Rank.LINE, Rank.CLAUSE, Rank.COMMA, Rank.WORD, Rank.KEEP)


@dataclass(frozen=True, kw_only=True, slots=True)
class SplitterSettings:
    """Sizes in the embedding model's tokens. Raises ValueError when they cannot be met."""

    target_tokens: int = 100
    max_tokens: int = 256
    version: int = 3  # raised whenever the same settings would cut the same text elsewhere

    def __post_init__(self) -> None:
        if not 16 <= self.target_tokens <= self.max_tokens:
            raise ValueError(f"need 16 <= target_tokens <= max_tokens, not {self.target_tokens} and {self.max_tokens}")

    @property
    def fingerprint(self) -> str:
        """Changes whenever chunks may: a knowledge base re-splits when it differs."""
        return f"splitter-{self.version}-{self.target_tokens}-{self.max_tokens}"

    def name_space(self, encoder_fingerprint: str) -> str:
        """The fingerprint of a space: of encoder and splitter together."""
        return f"{encoder_fingerprint}+{self.fingerprint}"

    @property
    def sizes(self) -> Sizes:
        target = self.target_tokens * MILLI
        return Sizes(smallest=target // 2, target=target, largest=self.max_tokens * MILLI, reach=target * 3 // 2)


@dataclass(frozen=True, kw_only=True, slots=True)
class Layout:
    """What is known of a text beside its marks."""

    blocks: Sequence[Block]
    lines: Sequence[HeadingLine]


@dataclass(frozen=True, kw_only=True, slots=True)
class Sums:
    """Running token sums at each cut, in thousandths: as packed, and as the counter gave them."""

    packed: Ints
    tokens: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Measure:
    """The sums at each span's start and end."""

    opens: Ints
    closes: Ints
    token_opens: Ints
    token_closes: Ints


@dataclass(frozen=True, kw_only=True, slots=True)
class Draft:
    """Spans with what packing asks of each; arrays of equal length."""

    spans: Spans
    measure: Measure
    ranks: NDArray[np.int8]
    titled: Flags  # whether it belongs to a heading line
    room: Ints  # most that a unit beginning there may hold, in thousandths of a token

    def find_over(self) -> Flags:
        over: Flags = self.measure.closes - self.measure.opens > self.room
        return over


def split_document(parsed: ParsedDocument, counter: TokenCounter, settings: SplitterSettings) -> list[TextChunk]:
    """Chunks of `parsed.text` in reading order; none for a text of white space.

    Heading lines stay with what follows them; the `heading` of a chunk is the path of the last heading before its own
    text. `tokens` is rounded up. Linear in the text's length. Raises what `counter` raises.
    """
    text = parsed.text
    if not text.strip():
        return []
    layout = Layout(blocks=find_blocks(text), lines=outline_headings(text, parsed.headings))
    for whole in (settings.max_tokens, 0):  # words at first in long sentences only, in all where one is over its budget
        borders = find_borders(text, list_edges(layout), max(4, settings.max_tokens // 4), whole)
        draft = draft_spans(borders, sum_tokens(text, borders.cuts, counter), layout, settings.sizes.largest)
        if not draft.find_over().any():
            break
    chosen = np.flatnonzero(choose_units(draft))
    firsts = pack_spans(borders, draft, chosen, settings.sizes)
    return build_chunks(draft, firsts, find_paths(draft, firsts, layout.lines), parsed.pages)


def list_edges(layout: Layout) -> list[int]:
    return [offset for line in layout.lines for offset in (line.start, line.end)]


def sum_tokens(text: str, cuts: Ints, counter: TokenCounter) -> Sums:
    counted = as_tokens(counter.count_spans(text, cuts))
    least = np.diff(cuts) * (MILLI // MOST_CHARACTERS_A_TOKEN)
    tokens = np.concatenate(([0], np.cumsum(counted)))
    return Sums(packed=np.concatenate(([0], np.cumsum(np.maximum(counted, least)))), tokens=tokens)


def draft_spans(borders: Borders, sums: Sums, layout: Layout, largest: int) -> Draft:
    """Whole sentences, lines and so on as spans, and the words of those that do not fit."""
    coarse = borders.found.coarse
    which = coarse | find_inside_long(sums.packed, np.append(coarse, True), largest)[:-1]
    draft = measure_spans(choose_spans(borders, which), sums, layout, largest)
    over = draft.find_over()
    if over.any():  # there is less room behind a heading
        which |= mark_inside(draft.spans.opens, draft.spans.closes, over, len(which))
        draft = measure_spans(choose_spans(borders, which), sums, layout, largest)
    return draft


def measure_spans(spans: Spans, sums: Sums, layout: Layout, largest: int) -> Draft:
    measure = Measure(
        opens=sums.packed[spans.opens],
        closes=sums.packed[spans.closes],
        token_opens=sums.tokens[spans.opens],
        token_closes=sums.tokens[spans.closes],
    )
    ranks = rank_blocks(spans, measure, layout.blocks, largest)
    titled = mark_headings(spans, ranks, measure, layout.lines, largest)
    room = reserve_for_headings(ranks, measure, titled, largest)
    return Draft(spans=spans, measure=measure, ranks=ranks, titled=titled, room=room)


def rank_blocks(spans: Spans, measure: Measure, blocks: Sequence[Block], largest: int) -> NDArray[np.int8]:
    """Ranks with blocks seen to: one that fits has no border inside, a longer one is cut at its rows."""
    ranks = spans.ranks.copy()
    firsts = np.searchsorted(spans.starts, [block.start for block in blocks])
    lasts = np.searchsorted(spans.starts, [block.end for block in blocks])
    solid = np.array([block.kind is not BlockKind.ITEM for block in blocks], dtype=bool)
    some = firsts < lasts
    firsts, lasts, solid = firsts[some], lasts[some], solid[some]
    fits = measure.closes[lasts - 1] - measure.opens[firsts] <= largest
    inner = mark_inside(firsts + 1, lasts, fits, len(ranks))
    ranks[inner] = np.minimum(ranks[inner], Rank.LINE)
    rows = mark_inside(firsts + 1, lasts, ~fits & solid, len(ranks))
    ranks[rows & (spans.ranks == Rank.SENTENCE)] = Rank.CLAUSE
    ranks[rows & spans.breaks] = np.maximum(spans.ranks[rows & spans.breaks], Rank.SENTENCE)
    behind = lasts[solid & (lasts < len(ranks))]
    for edges in (firsts, behind):
        ranks[edges] = np.maximum(ranks[edges], Rank.ITEM)
    return ranks


def mark_inside(firsts: Ints, lasts: Ints, which: Flags, count: int) -> Flags:
    """True at every index in one of the ranges `[first, last)` that `which` names, shape (count,)."""
    depth = np.zeros(count + 1, dtype=np.int32)
    np.add.at(depth, firsts[which], 1)
    np.add.at(depth, lasts[which], -1)
    inside: Flags = np.cumsum(depth[:-1]) > 0
    return inside


def mark_headings(
    spans: Spans, ranks: NDArray[np.int8], measure: Measure, lines: Sequence[HeadingLine], largest: int
) -> Flags:
    """Which spans belong to heading lines; sets the ranks at their borders.

    Only the first of several headings in a row begins a chunk: the others, and the text, are kept with it. A row of
    more than a quarter of the budget is no row of headings but a list of them, and is cut like one.
    """
    count = len(ranks)
    firsts = np.searchsorted(spans.starts, [line.start for line in lines])
    lasts = np.searchsorted(spans.starts, [line.end for line in lines])
    titled = mark_inside(firsts, lasts, firsts < lasts, count)
    ranks[titled] = np.minimum(ranks[titled], Rank.WORD)
    edges = np.flatnonzero(np.diff(titled.astype(np.int8), prepend=0, append=0))
    begins, behind = edges[::2], edges[1::2]
    within = firsts[firsts < lasts]
    row = np.searchsorted(begins, within, side="right") - 1
    long = measure.closes[behind - 1] - measure.opens[begins] > largest // 4
    ranks[within] = np.where(long[row], Rank.SENTENCE, Rank.KEEP)
    ranks[begins] = Rank.HEADING
    ranks[behind[behind < count]] = Rank.KEEP
    return titled


def choose_units(draft: Draft) -> Flags:
    """Which spans begin a unit: every good border, and in units over their room the best inner ones that do."""
    ranks, measure, room = draft.ranks, draft.measure, draft.room
    chosen = (ranks >= Rank.SENTENCE) | (ranks == Rank.KEEP)
    for opening in OPENINGS:
        firsts = np.flatnonzero(chosen)
        lasts = np.append(firsts[1:], len(ranks))
        over = measure.closes[lasts - 1] - measure.opens[firsts] > room[firsts]
        if not over.any():
            break
        chosen |= np.repeat(over, lasts - firsts) & (ranks >= opening)
    return np.asarray(chosen, dtype=np.bool_)


def reserve_for_headings(ranks: NDArray[np.int8], measure: Measure, titled: Flags, largest: int) -> Ints:
    """Most that a unit beginning at each span may hold: the budget, less the heading lines right before it."""
    room = np.where(titled, largest // 2, largest)
    begins = np.flatnonzero(ranks == Rank.HEADING)
    behind = np.flatnonzero(titled[:-1] & ~titled[1:]) + 1
    before = np.searchsorted(begins, behind) - 1
    held = measure.opens[behind] - measure.opens[begins[before]]
    room[behind] = np.maximum(largest // 4, largest - held)
    return room


def pack_spans(borders: Borders, draft: Draft, chosen: Ints, sizes: Sizes) -> Ints:
    """Indexes of the spans that begin a chunk; `chosen` are those that begin a unit."""
    fine = make_units(borders, draft, chosen)
    kept = thin_units(fine, max(1, sizes.target // THINNING), sizes.largest)
    closes = fine.closes[np.append(kept[1:], len(chosen)) - 1]
    coarse = Units(opens=fine.opens[kept], closes=closes, ranks=fine.ranks[kept], hashes=fine.hashes[kept])
    return chosen[kept[pack_units(coarse, sizes)]]


def make_units(borders: Borders, draft: Draft, firsts: Ints) -> Units:
    lasts = np.append(firsts[1:], len(draft.ranks)) - 1
    before = np.where(firsts > 0, draft.spans.ends[firsts - 1], 0)
    return Units(
        opens=draft.measure.opens[firsts],
        closes=draft.measure.closes[lasts],
        ranks=draft.ranks[firsts],
        hashes=hash_borders(borders.coded.codes, before),
    )


def build_chunks(draft: Draft, firsts: Ints, paths: Sequence[str | None], pages: Sequence[Page]) -> list[TextChunk]:
    """The chunks that begin at spans `firsts`, with `paths` their headings and the pages they stand on."""
    spans, measure = draft.spans, draft.measure
    lasts = np.append(firsts[1:], len(spans.starts)) - 1
    starts, ends = spans.starts[firsts], spans.ends[lasts]
    tokens = -(-(measure.token_closes[lasts] - measure.token_opens[firsts]) // MILLI)
    pages_of = find_pages(pages, starts), find_pages(pages, ends - 1)
    rows = zip(count(), starts.tolist(), ends.tolist(), tokens.tolist(), *pages_of, paths)
    return list(map(partial(tuple.__new__, TextChunk), rows))  # `TextChunk._make`, but without a step in Python


def find_paths(draft: Draft, firsts: Ints, lines: Sequence[HeadingLine]) -> list[str | None]:
    """Path of the last heading at or before the first text of each chunk that is not itself a heading."""
    count = len(draft.titled)
    untitled = np.where(draft.titled, count, np.arange(count))
    text_at = np.minimum.accumulate(untitled[::-1])[::-1]
    lasts = np.append(firsts[1:], count) - 1
    places = draft.spans.starts[np.minimum(text_at[firsts], lasts)]
    above = np.searchsorted([line.start for line in lines], places, side="right") - 1
    return [lines[index].path or None if index >= 0 else None for index in above.tolist()]


def find_pages(pages: Sequence[Page], offsets: Ints) -> list[int]:
    """Page number at each offset: the last page that begins at or before it; 1 without pages."""
    if not pages:
        return [1] * len(offsets)
    at = np.searchsorted([page.start for page in pages], offsets, side="right") - 1
    return [pages[index].number for index in np.maximum(at, 0).tolist()]
