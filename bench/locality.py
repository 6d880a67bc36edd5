"""One sentence more in a long text: how many chunks change? Beside windows of a fixed length, which all move."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from figures import find_median

from ingest.boundaries import find_sentences

PLACES = 50
SENTENCES = {
    "zh": "这一句是刚刚加进去的，别处都没有。",
    "en": " This sentence was put in just now and stands nowhere else.",
}
MOST_CHANGED = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Changed:
    """Chunks that one sentence more made anew, over PLACES places; `share_behind` of those behind the place, median."""

    chunks: int
    median: float
    most: int
    share_behind: float


def measure_changed(text: str, lang: str, chunk: Callable[[str], Sequence[str]]) -> Changed:
    """A sentence is put in behind one of `text`, drawn at random; the chunks of both texts are compared."""
    before = Counter(chunk(text))
    ends = [end for _, end in find_sentences(text)]
    places = random.Random(11).sample(ends, PLACES)
    changed = [count_new(before, chunk(text[:place] + SENTENCES[lang] + text[place:])) for place in places]
    behind = [before.total() * (1 - place / len(text)) for place in places]
    shares = [min(1.0, count / max(1.0, rest)) for count, rest in zip(changed, behind, strict=True)]
    return Changed(
        chunks=before.total(), median=find_median(changed), most=max(changed), share_behind=find_median(shares)
    )


def count_new(before: Counter[str], chunks: Sequence[str]) -> int:
    return (Counter(chunks) - before).total()


def cut_windows(text: str, characters: int) -> list[str]:
    return [text[start : start + characters] for start in range(0, len(text), characters)]
