from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.sentences import cut_sentences, holds_figure, holds_statement, list_cells


def cut(text: str) -> list[str]:
    return [text[span.start : span.end] for span in cut_sentences(text)]


@pytest.mark.parametrize(
    ("text", "sentences"),
    [
        ("", []),
        (" \n ", []),
        ("价格3.5元。共1.2万!他说：“好。”然后走了", ["价格3.5元。", "共1.2万!", "他说：“好。”", "然后走了"]),
        ("真的？！是……也许。", ["真的？！", "是……", "也许。"]),
        ("Dr. J. R. Smith paid $3.5 at 5 p.m. on No. 7. Really? Yes.", None),
        ("He left the U.S. Army. It was 1907.", ["He left the U.S. Army.", "It was 1907."]),
        ('She said "Go." Then left.', ['She said "Go."', "Then left."]),
        ("Title\n\nFirst line.\n- one\n- two", ["Title", "First line.", "- one", "- two"]),
        ("| 学生 | 80 元 |\n| 成人 | 160 元 |", ["| 学生 | 80 元 |", "| 成人 | 160 元 |"]),
        ("这是中文。This is English. 又是中文。", ["这是中文。", "This is English.", "又是中文。"]),
    ],
)
def test_cuts_at_sentence_ends(text: str, sentences: list[str] | None) -> None:
    whole = ["Dr. J. R. Smith paid $3.5 at 5 p.m. on No. 7.", "Really?", "Yes."]
    assert cut(text) == (whole if sentences is None else sentences)


def test_a_wrapped_line_goes_on() -> None:
    text = "This line was wrapped by an editor at the seventieth column and goes\non in the next. Short\nlines do not"
    assert cut(text) == [
        "This line was wrapped by an editor at the seventieth column and goes\non in the next.",
        "Short\nlines do not",
    ]


def test_a_table_is_cut_at_its_lines_when_it_grows_too_long() -> None:
    line = "some words of a row that has no mark at its end and is long enough to go on"
    assert len(cut("\n".join([line] * 40))) > 1


@pytest.mark.parametrize(
    ("sentence", "says", "figure"),
    [
        ("The dome is open.", True, False),
        ("It rains.", True, False),
        ("主镜口径很大。", True, False),
        ("| 学生 | 80 元 |", True, True),
        ("定金 | 100", True, False),
        ("- crank", True, False),
        ("Opens at 17:00 daily", False, True),
        ("开放 17:00", False, True),
        ("# 票价 80 元。", False, False),
        ("Error codes", False, False),
        ("5 Error codes", False, False),
        ("3.2 Short exposures", False, False),
        ("第三章 开闭圆顶的气象界限", False, False),
        ("|---|:-:|", False, False),
        ("Qingya Observatory", False, False),
        ("Qingya Observatory · Field report 2024/3", False, True),
        ("Field report 2024/3.", False, True),
    ],
)
def test_holds_statement(sentence: str, *, says: bool, figure: bool) -> None:
    assert (holds_statement(sentence), holds_figure(sentence)) == (says, figure)


def test_cells_of_a_row() -> None:
    assert list_cells("| 成人 | 40 元 |  |") == ["成人", "40 元", ""]
    assert list_cells("定金 | 100") == ["定金", "100"]


@given(st.text(alphabet="aA1. \n。！？“”…\"')]-|第", max_size=80))
def test_nothing_but_white_space_lies_between(text: str) -> None:
    spans = cut_sentences(text)
    assert all(text[s.start : s.end].strip() == text[s.start : s.end] != "" for s in spans)
    rest = text
    for span in reversed(spans):
        rest = rest[: span.start] + rest[span.end :]
    assert rest.strip() == ""
    assert all(a.end <= b.start for a, b in pairwise(spans))
