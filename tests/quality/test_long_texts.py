"""The splitter's promises on two long books: cover, order, budget, and borders that follow from content."""

from __future__ import annotations

import os
import random
import statistics
from pathlib import Path

import pytest

from ingest.boundaries import find_sentences
from ingest.encoders.builtin import BuiltinEncoder
from ingest.splitter import SplitterSettings, split_document
from kb.tokens import estimate_tokens
from kb.types import Page, PageVerdict, ParsedDocument

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data")) / "docs" / "txt"
BOOKS = {
    "zh-sanguo-long.txt": "这一句话是后来才加进书里去的。",
    "en-lost-world-long.md": "This sentence was put into the book afterwards. ",
}
INSERTIONS = 15
WINDOW = 300  # characters of a chunk that is cut by length alone
LIMITS = SplitterSettings()

pytestmark = [pytest.mark.evaluation, pytest.mark.skipif(not DATA.is_dir(), reason="no evaluation data: KB_EVAL_DATA")]


def read_book(name: str) -> str:
    return (DATA / name).read_text(encoding="utf-8-sig").replace("\r\n", "\n")


def split(text: str) -> list[str]:
    page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
    chunks = split_document(ParsedDocument(text=text, pages=[page]), BuiltinEncoder(), LIMITS)
    return [text[chunk.start : chunk.end] for chunk in chunks]


def cut_windows(text: str) -> list[str]:
    return [text[start : start + WINDOW] for start in range(0, len(text), WINDOW)]


@pytest.mark.parametrize("name", BOOKS)
def test_a_book_is_covered_in_order_within_the_budget(name: str) -> None:
    text = read_book(name)
    chunks = split(text)
    assert "".join("".join(chunks).split()) == "".join(text.split())
    assert all(chunk == chunk.strip() != "" for chunk in chunks)
    assert max(map(estimate_tokens, chunks)) <= LIMITS.max_tokens
    assert split(text) == chunks


@pytest.mark.parametrize("name", BOOKS)
def test_a_sentence_more_changes_three_chunks_where_a_window_changes_all_behind_it(name: str) -> None:
    text = read_book(name)
    places = random.Random(5).sample([start for start, _ in find_sentences(text)], INSERTIONS)
    chunks, windows = set(split(text)), set(cut_windows(text))
    changed, shifted = [], []
    for place in places:
        longer = text[:place] + BOOKS[name] + text[place:]
        changed.append(len(set(split(longer)) - chunks))
        behind = cut_windows(longer)[place // WINDOW :]
        shifted.append(len(set(behind) - windows) / len(behind))
    print(f"{name}: {sorted(changed)} of {len(chunks)} chunks change; of windows {statistics.median(shifted):.0%}")
    assert statistics.median(changed) <= 3
    assert statistics.median(shifted) > 0.95
