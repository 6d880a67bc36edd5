"""The splitter's promises: exact offsets, order, cover, budget, headings, and borders that follow from content."""

from __future__ import annotations

import hashlib
import re
import statistics
import time
from collections.abc import Callable

import pytest
from fakes.counters import HeavyCounter, WordCounter
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.encoders.builtin import BuiltinEncoder
from ingest.splitter import SplitterSettings, split_document
from kb.ports import TokenCounter
from kb.tokens import estimate_tokens
from kb.types import Heading, Page, PageVerdict, ParsedDocument, TextChunk

BUILTIN = BuiltinEncoder()
SMALL = SplitterSettings(target_tokens=24, max_tokens=48)
WHOLE = SplitterSettings()

CHINESE = st.text("知识库文档问题回答中国天气今天很好我们学习机器", min_size=1, max_size=40).map(
    lambda text: f"{text}。"
)
ENGLISH = st.lists(
    st.sampled_from(["the", "cat", "sat", "on", "3.14", "Dr.", "mats,", "near;", "U.S.", "base"]),
    min_size=1,
    max_size=15,
).map(lambda words: f"{' '.join(words).capitalize()}. ")
OTHER = st.sampled_from(
    [
        "\n",
        "\n\n",
        "# 标题\n",
        "## Part\n\n",
        "- item one\n",
        "| a | b |\n",
        "```\ncode\n```\n",
        "“引。”",
        "……",
        "   ",
        "(",
        "e\u0301",
    ]
)
DOCUMENTS = st.lists(st.one_of(CHINESE, ENGLISH, OTHER, st.text(max_size=8)), max_size=60).map(
    lambda parts: "".join(parts).replace("\r", "").encode("utf-8", "ignore").decode()
)


def parse(text: str) -> ParsedDocument:
    headings = [
        Heading(start=found.start(), end=found.end(), level=len(found[1]), title=found[2])
        for found in re.finditer(r"^(#{1,6}) (\S.*)$", text, re.MULTILINE)
    ]
    page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
    return ParsedDocument(text=text, pages=[page], headings=headings)


def split(text: str, limits: SplitterSettings = WHOLE, counter: TokenCounter = BUILTIN) -> list[TextChunk]:
    return split_document(parse(text), counter, limits)


def texts(text: str, limits: SplitterSettings = WHOLE) -> list[str]:
    return [text[chunk.start : chunk.end] for chunk in split(text, limits)]


def assert_cover(text: str, chunks: list[TextChunk]) -> None:
    place = 0
    for ordinal, chunk in enumerate(chunks):
        assert chunk.ordinal == ordinal
        assert chunk.start >= place
        assert not text[place : chunk.start].strip()
        body = text[chunk.start : chunk.end]
        assert body
        assert body == body.strip()
        place = chunk.end
    assert not text[place:].strip()


@settings(max_examples=150, deadline=None)
@given(DOCUMENTS)
def test_chunks_cover_the_text_in_order_within_the_budget(text: str) -> None:
    chunks = split(text, SMALL)
    assert_cover(text, chunks)
    for chunk in chunks:
        estimate = estimate_tokens(text[chunk.start : chunk.end])
        assert estimate <= SMALL.max_tokens
        assert chunk.tokens - 1 < estimate <= chunk.tokens + 1e-6
    assert split(text, SMALL) == chunks


@settings(max_examples=50, deadline=None)
@given(DOCUMENTS)
@pytest.mark.parametrize("counter", [WordCounter(), HeavyCounter()])
def test_the_budget_is_kept_whatever_counts(counter: TokenCounter, text: str) -> None:
    chunks = split(text, SMALL, counter)
    assert_cover(text, chunks)
    for chunk in chunks:
        assert chunk.tokens <= SMALL.max_tokens


@settings(max_examples=100, deadline=None)
@given(DOCUMENTS)
def test_a_heading_never_stands_alone_when_text_follows(text: str) -> None:
    for chunk in split(text):
        lines = text[chunk.start : chunk.end].splitlines()
        rest = re.match(r"\s*(?:#{1,6} \S.*\s*)*", text[chunk.end :])
        if all(re.match(r"#{1,6} \S", line) for line in lines if line.strip()):
            assert rest is not None
            assert rest.end() == len(text) - chunk.end, "text follows, and yet the heading is alone"


def novel(seed: str, count: int) -> list[str]:
    """Sentences that differ, half Chinese, half English, with a paragraph now and then."""
    sentences = []
    for number in range(count):
        mixed = hash_number(f"{seed}{number}")
        words = [WORDS[(mixed >> shift) % len(WORDS)] for shift in range(0, 4 * (3 + mixed % 9), 4)]
        han = "".join(HAN[(mixed >> shift) % len(HAN)] for shift in range(0, 3 * (6 + mixed % 20), 3))
        ending = "\n\n" if mixed % 7 == 0 else ""
        sentences.append((f"{han}。" if mixed % 2 else f"{' '.join(words).capitalize()} {number}. ") + ending)
    return sentences


def hash_number(seed: str) -> int:
    return int.from_bytes(hashlib.sha256(seed.encode()).digest()[:12], "little")


WORDS = [
    "night",
    "train",
    "harbour",
    "letter",
    "moved",
    "under",
    "seven",
    "quiet",
    "rivers",
    "before",
    "any",
    "captain",
    "could",
    "answer",
    "them",
]
HAN = "天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往秋收冬藏闰余成岁"


def test_one_sentence_more_moves_only_the_borders_near_it() -> None:
    changed = []
    for seed in range(30):
        sentences = novel(str(seed), 250)
        for place in (0, 120):
            before = set(texts("".join(sentences)))
            after = texts("".join([*sentences[:place], f"这是第{seed}句新加的话。", *sentences[place:]]))
            changed.append(len(set(after) - before))
    assert statistics.median(changed) <= 2
    assert max(changed) <= 8


def test_chunks_are_near_the_target_and_seldom_tiny() -> None:
    chunks = split("".join(novel("sizes", 2000)))
    sizes = [chunk.tokens for chunk in chunks]
    assert 85 <= statistics.mean(sizes) <= 120
    assert sum(size < 40 for size in sizes) / len(sizes) < 0.01


def test_headings_start_chunks_and_give_the_path() -> None:
    text = "前言。\n\n# 第一章\n\n## 一节\n\n文本甲。\n\n## 二节\n\n文本乙。\n\n# 第二章\n文本丙。"
    chunks = split(text)
    assert [(text[chunk.start : chunk.end], chunk.heading) for chunk in chunks] == [
        ("前言。", None),
        ("# 第一章\n\n## 一节\n\n文本甲。", "第一章 > 一节"),
        ("## 二节\n\n文本乙。", "第一章 > 二节"),
        ("# 第二章\n文本丙。", "第二章"),
    ]


def test_a_heading_stays_with_a_sentence_that_would_just_fit_alone() -> None:
    sentence = "，".join(["一二三四五六七八九"] * 41) + "。"
    assert 250 < estimate_tokens(sentence) <= 256
    chunks = split(f"# 一个相当长的标题在这里\n\n{sentence}")
    assert len(chunks) > 1
    assert chunks[0].end > len("# 一个相当长的标题在这里\n\n")
    assert all(chunk.heading == "一个相当长的标题在这里" for chunk in chunks)


def test_code_tables_and_items_are_kept_whole_while_they_fit() -> None:
    code = "```py\nx = 1. \n\ny = 2! Z\n" + "call(a, b)\n" * 40 + "```"
    table = "| a | b |\n|---|---|\n" + "| One. Two | 三。四 |\n" * 12
    item = "- 第一句。第二句！Third one. Fourth one.\n  Still it."
    text = f"{''.join(novel('x', 20))}\n\n{code}\n\n{table}\n{item}\n\n{''.join(novel('y', 20))}"
    parts = texts(text)
    for block in (code, table.strip(), item):
        assert sum(block in part for part in parts) == 1


def test_a_long_table_is_cut_at_rows_and_long_code_at_lines() -> None:
    table = "".join(f"| row {number} | Mr. X. Yes! | 三。四，五 |\n" for number in range(100))
    assert all(line.startswith("| row") and line.endswith("|") for part in texts(table) for line in part.splitlines())
    code = "```\n" + "".join(f"call_{number}(a, b); next. Do it!\n" for number in range(100)) + "```"
    assert "\n".join(texts(code)) == code


def test_an_over_long_sentence_is_cut_at_its_best_marks() -> None:
    text = "，".join(f"这是很长的第{number}小句" for number in range(200)) + "。"
    parts = texts(text)
    assert len(parts) > 5
    assert all(part.endswith(("，", "。")) for part in parts)
    words = " ".join(f"word{number}" for number in range(1000))
    assert " ".join(texts(words)) == words


def test_pages_are_those_the_chunk_touches() -> None:
    text = "甲" * 100 + "。\n" + "乙" * 100 + "。\n" + "丙" * 100 + "。"
    pages = [
        Page(number=1, start=0, end=102, verdict=PageVerdict.INDEXED),
        Page(number=2, start=102, end=102, verdict=PageVerdict.SCANNED),
        Page(number=3, start=102, end=204, verdict=PageVerdict.INDEXED),
        Page(number=4, start=204, end=305, verdict=PageVerdict.INDEXED),
    ]
    limits = SplitterSettings(target_tokens=66, max_tokens=256)
    chunks = split_document(ParsedDocument(text=text, pages=pages), BUILTIN, limits)
    assert [(chunk.page_start, chunk.page_end) for chunk in chunks] == [(1, 1), (3, 3), (4, 4)]
    one = split_document(ParsedDocument(text=text, pages=pages), BUILTIN, SplitterSettings(target_tokens=230))
    assert [(chunk.page_start, chunk.page_end) for chunk in one] == [(1, 4)]


def test_the_text_is_counted_once() -> None:
    counter = WordCounter()
    split("".join(novel("once", 100)), WHOLE, counter)
    assert counter.calls == 1


@pytest.mark.parametrize("text", ["", " \n\u3000\t", "\n" * 1000])
def test_white_space_gives_no_chunks(text: str) -> None:
    assert split(text) == []


def test_settings_are_checked_and_named() -> None:
    assert SplitterSettings().fingerprint == "splitter-3-100-256"
    assert SplitterSettings(max_tokens=300).fingerprint != SplitterSettings().fingerprint
    with pytest.raises(ValueError, match="300 and 256"):
        SplitterSettings(target_tokens=300)


def measure(work: Callable[[], object]) -> float:
    best = float("inf")
    for _ in range(5):
        began = time.process_time()
        work()
        best = min(best, time.process_time() - began)
    return best


@pytest.mark.parametrize(
    "unit",
    [
        "a",
        " ",
        "(",
        "\n",
        ".",
        "。",
        "word ",
        "- x\n",
        "```\n",
        "| a |\n",
        "# a\n",
        "1. \n",
        "Ha! ",
        ".)",
        "字",
        "".join(novel("n", 200)),
    ],
)
def test_time_grows_with_the_text_and_not_with_its_square(unit: str) -> None:
    """Sixteen times the text: a linear splitter takes about 16 times as long, a quadratic one 256 times. The bound lies
    far from both, so that a busy machine does not decide."""
    small, large = (parse((unit * (size // len(unit) + 1))[:size]) for size in (10_000, 160_000))
    ratio = measure(lambda: split_document(large, BUILTIN, WHOLE)) / measure(
        lambda: split_document(small, BUILTIN, WHOLE)
    )
    assert ratio < 64
