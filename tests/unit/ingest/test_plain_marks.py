"""What is told of all marks at once is what the rules say of each, mark by mark."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.boundaries import find_sentence_ends
from ingest.code_points import code_text
from ingest.plain_marks import MARGIN, NO, QUOTE, YES, judge_marks
from ingest.sentence_ends import FULL_MARKS, find_ends

PIECES = [
    *FULL_MARKS, *".!?.。”’」\"')]》*_><[《“‘(，:\n\u3000é\ud800😀",
    "</b>", "[3]", " ", " ", "  ", "      ", "\n\n", "the", "The", " said", " John", "He", "Mr", "Dr", "dept", "etc",
    "Inc", "U.S", "e.g", "No", "p.m", "Ph.D", "I", "A", "x", "iv", "civil", "XIV", "12", "1863", "3.14", "1,000",
    "第三条", "他", "她说", "道", "的", "而已", "étude", "ß", "words", "elsewhere", "understanding", "iPhone", "x@y.z",
]  # fmt: skip


def find_one_by_one(text: str) -> list[int]:
    return list(find_ends(text, [place for place, char in enumerate(text) if char in FULL_MARKS + ".!?"]))


@given(st.lists(st.sampled_from(PIECES), max_size=60), st.sampled_from(["", " "]))
def test_sentences_end_where_each_mark_alone_says(pieces: list[str], between: str) -> None:
    text = between.join(pieces)
    assert find_sentence_ends(text, code_text(text)).tolist() == find_one_by_one(text)


@pytest.mark.parametrize(
    ("text", "verdict"),
    [
        ("雨停了。天", YES),
        ("雨停了！天", YES),
        ("他说：“走吧。”她", QUOTE),
        ("他说：“走吧。”\n\n她", YES),
        ("the long words. The", YES),
        ("the long words.\n\nThe", YES),
        ('the long words." “The', YES),
        ("in the year 1863. The", YES),
        ("the long words? The", YES),
        ("a sum of 27.7 million", NO),
        ("Yahoo! is a company", NO),
    ],
)
def test_plain_cases_are_told(text: str, verdict: int) -> None:
    around = "x" * MARGIN
    assert judge_marks(code_text(around + text + around)).verdicts.tolist() == [verdict]


@pytest.mark.parametrize(
    "text",
    [
        "by Mr. Smith",
        "of the dept. The",
        "by J. Smith",
        "\nvii. The",
        "3. The",
        '"Why?" John said',
        "等……还",
        "好。。他",
        "</b>。他",
    ],
)
def test_doubtful_cases_are_left(text: str) -> None:
    around = "x" * MARGIN
    assert set(judge_marks(code_text(around + text + around)).verdicts.tolist()) == {0}
