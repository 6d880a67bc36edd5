"""Token counters for tests: real classes, with the behaviours a splitter must bear."""

from __future__ import annotations

from itertools import pairwise

from kb.types import Counts, Offsets


class WordCounter:
    """A word is one token, however long, and so is each Han character; white space is none. Counts calls."""

    def __init__(self) -> None:
        self.calls = 0

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        self.calls += 1
        counts = [0.0] * (len(cuts) - 1)
        span = 0
        for place, char in enumerate(text):
            while place >= cuts[span + 1]:
                span += 1
            inside = (
                place > 0
                and char.isalnum()
                and char < "\u2e80"
                and text[place - 1].isalnum()
                and text[place - 1] < "\u2e80"
            )
            counts[span] += not (char.isspace() or inside)
        return counts


class HeavyCounter:
    """Four tokens a character, as a byte-level tokenizer may need."""

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        return [4.0 * (last - first) for first, last in pairwise(cuts)]
