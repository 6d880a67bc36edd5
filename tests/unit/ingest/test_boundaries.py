"""Sentence ends and the rank of every border, Chinese and English."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest import cuts
from ingest.boundaries import Borders, Rank, Spans, choose_spans, find_borders, find_sentence_ends, find_sentences
from ingest.code_points import code_text


def sentences(text: str) -> list[str]:
    found = find_sentence_ends(text, code_text(text)).tolist()
    ends = [0, *sorted(set(found) - {len(text)}), len(text)]
    return [text[first:last].strip() for first, last in pairwise(ends)]


@pytest.mark.parametrize(
    "parts",
    [
        ["今天下雨。", "明天晴！", "真的吗？", "嗯；", "好……", "走吧"],
        ["他说：“走吧。”", "她没有动。"],
        ["（这是注释。）", "正文开始。"],
        ["「真的？！」", "『是的。』", "完。"],
        ["你好吗?", "我很好!", "我去了.", "他没去."],
        ["价格是3.14元。", "共1,000人。"],
        ["这是中文。", "This is English.", "又是中文。"],
        ["他……", "走了。"],
        ["等等......", "我来了。"],
        ["“你去吗？”他问。", "我没有答。"],
        ["「快來看！」小林喊道。", "大家都去了。"],
        ["“我去。”他说，“你别去。”", "天黑了。"],
        ["“好。”", "他站起来，走了。"],
        ["我在读《你好！明天》。", "写得很好。"],
        ["他想了半天……还是去了。", "第二天到的。"],
        ["论文由J. K. Rowe写成。", "很长。"],
        ["所谓“最后一公里。”的说法不对。", "是的。"],
        ["为什么？</a>", "因为。"],
    ],
)
def test_chinese_sentences_end_at_their_marks(parts: list[str]) -> None:
    assert sentences("".join(parts)) == parts


@pytest.mark.parametrize(
    "parts",
    [
        ["Dr. Smith met Mr. J. R. Jones at 5 p.m. yesterday.", "They left."],
        ["It cost $3.14 in the U.S. market.", "Cheap!", "Was it?", "Yes."],
        ["See www.example.com/a.b?c=d. or mail a.b@c.org now.", "Done."],
        ["Well ... I do not know.", "Wait...what?", "No!"],
        ['"Stop!" he said.', '"Why?"', "She ran."],
        ["Fruits (e.g. apples, i.e. the red ones) are good.", "Eat them."],
        ["Acme Inc. was founded in 1999.", "It grew."],
        ["He works at Acme Inc.", "She does not."],
        ["See Fig. 3 and No. 5 in Vol. 2.", "He said no.", "Really."],
        ["(It rained.)", "We stayed."],
        ["Use Python 3.11.", "It is fast."],
        ['"And the ring?" I asked.', "He smiled."],
        ['"Are you coming?" Tom asked.', "No."],
        ["He never left the U.S.", "That changed."],
        ["The lake is deep.[4]", "Its shore is stony."],
        ["We met at 5 p.m. Monday.", "It rained."],
        ["Install it.", "iPhones are not supported."],
        ["Was it hot?", "No.", "It was not."],
        ["It stops. (see below) Then more."],
        ["And then...", "Nobody came."],
        ["In Roe v. Wade the court ruled.", "It held."],
    ],
)
def test_english_sentences_end_only_where_they_end(parts: list[str]) -> None:
    assert sentences(" ".join(parts)) == parts


@pytest.mark.parametrize("text", ["1. First thing", "  12. Twelfth thing", "a. Alpha", "iv. Fourth", "- 3. Third"])
def test_a_list_number_ends_nothing(text: str) -> None:
    assert sentences(text) == [text.strip()]
    assert sentences(f"Before that.\n{text}") == ["Before that.", text.strip()]


def test_sentences_are_given_as_offsets_headings_items_and_rows_among_them() -> None:
    text = "# One\nFirst. 第二句。\n\n- item\n- other one\n| a | b |\n| c | d |\n\nNo mark"
    assert [text[start:end] for start, end in find_sentences(text)] == [
        "# One",
        "First.",
        "第二句。",
        "- item",
        "- other one",
        "| a | b |",
        "| c | d |",
        "No mark",
    ]


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("# 1. 概述\n正文。", 2),
        ("南方草木状\n嵇含", 2),
        ("白日依山尽，\n黄河入海流。", 1),
        ("**A:**\nYes.", 1),
        (
            "a line of some forty columns or even more\nthat is wrapped here at its full width as\nIt goes on",
            1,
        ),
        ("| a. B. |\n| c |", 2),
        ("```\nx = 1. \nY = 2.\n```", 1),
        ("levels of CO\n2 are high", 1),
    ],
)
def test_lines_are_sentences_unless_they_are_wrapped(text: str, count: int) -> None:
    assert len(find_sentences(text)) == count


def find_all_spans(text: str, longest: int) -> Spans:
    borders = find_borders(text, [], longest)
    return choose_spans(borders, np.ones(len(borders.found.places), dtype=bool))


def ranks(text: str) -> list[tuple[str, int]]:
    spans = find_all_spans(text, 64)
    return [(text[s:e], int(r)) for s, e, r in zip(spans.starts, spans.ends, spans.ranks, strict=True)]


def test_each_border_has_its_rank() -> None:
    assert ranks("甲，乙：丙。丁 x, y\nz\n\nword.\nV") == [
        ("甲，", Rank.PARAGRAPH),
        ("乙：", Rank.COMMA),
        ("丙。", Rank.CLAUSE),
        ("丁", Rank.SENTENCE),
        ("x,", Rank.WORD),
        ("y", Rank.COMMA),
        ("z", Rank.LINE),
        ("word.", Rank.PARAGRAPH),
        ("V", Rank.ITEM),
    ]


def test_numbers_and_times_are_not_cut_inside() -> None:
    assert [part for part, _ in ranks("1,000 a:b 12:30")] == ["1,000", "a:b", "12:30"]


def test_a_long_run_is_cut_hard_but_not_before_a_combining_mark() -> None:
    text = "e\u0301" * 100
    parts = [part for part, _ in ranks(text)]
    assert "".join(parts) == text
    assert max(map(len, parts)) <= 64
    assert all(part[0] == "e" for part in parts)


@given(st.text(alphabet="aB1. ,!?。，；“”\"'()（）\n\u3000…中文\u0301\u200d😀", max_size=200))
def test_spans_hold_all_text_and_no_white_space(text: str) -> None:
    spans = find_all_spans(text, 8)
    place = 0
    for start, end in zip(spans.starts.tolist(), spans.ends.tolist(), strict=True):
        assert not text[place:start].strip()
        assert text[start:end].strip() == text[start:end] != ""
        assert end - start <= 9
        place = end
    assert not text[place:].strip()


@given(
    st.lists(
        st.sampled_from(["word. ", "一句。", "\n", "\n\n", "\u3000", " ", "x, y: ", "z" * 20, "- a\n"]), max_size=60
    )
)
def test_spans_are_the_same_however_short_the_stretches(parts: list[str]) -> None:
    """A text is worked on in stretches; where these end must not show."""
    text = "".join(parts)
    for whole in (0, 30):
        found = [list_all(find_borders(text, [], 8, whole))]
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cuts, "STRETCH", 10)
            found.append(list_all(find_borders(text, [], 8, whole)))
        assert found[0] == found[1]


def list_all(borders: Borders) -> list[list[int]]:
    spans = choose_spans(borders, borders.found.coarse)
    coarse = [array.tolist() for array in (spans.starts, spans.ends, spans.ranks, spans.breaks)]
    return [borders.cuts.tolist(), borders.found.coarse.tolist(), *coarse]


def test_white_space_is_never_cut_hard() -> None:
    assert find_borders("a\n" + " " * 200 + "b", [], 8).cuts.tolist() == [0, 1, 202, 203]
