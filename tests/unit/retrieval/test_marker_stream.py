"""What is streamed has the numbers that the checked answer has."""

from __future__ import annotations

from time import process_time

import pytest
from fakes.passages import make_passage
from hypothesis import given, settings
from hypothesis import strategies as st

from retrieval.citations import resolve_citations
from retrieval.marker_stream import MarkerStream

PASSAGES = [make_passage(f"句子{n}。", document_id=f"d{n}") for n in range(3)]
ANSWERS = [
    "成人票一百六十元[3]，学生票八十元[1]。",
    "  Open at nine [2], [9] closed at five [2][1].  ",
    "见【3】、［2］和 [1, 3；2]。",
    "`row[1]` is code, [2] is not.\n```\nx[1]\n``` and [3]",
    "An open [bracket, a lone ` tick\nand [2 numbers] and [1",
    "[1]",
    "a  [9]  b [ 2 ]",
    "``` unclosed [1]",
    "`` [1] `x` [3]",
    "1\n[9】",
    "a line\n [9]\u3000 [9] and\n\t[2]",
    "all [1-3], both【2–3】, a note [^2], [3-1] and [0-9]+",
    "in one [" + "1, 2, " * 20 + "3]",
    "】\n\t[9]雾",
    "a\u3000  [9] b",
    "[9]" * 2_000 + "[1]",
]


# Whole markers among it, and every kind of white space before them.
PIECES = st.lists(
    st.sampled_from(
        [*"a。 \n\t\u3000[]1239,-^【】`", "[1]", "[9]", "[1-3]", "[^2]", " [2]", "  [9]", "\n [9]", "[1, 9]", "```"]
    ),
    max_size=30,
).map("".join)


def stream(answer: str, sizes: list[int]) -> list[str]:
    markers, shown, at = MarkerStream(len(PASSAGES)), [], 0
    while at < len(answer):
        size = sizes[len(shown) % len(sizes)]
        shown.append(markers.feed(answer[at : at + size]))
        at += size
    return [*shown, markers.close()]


@pytest.mark.parametrize("size", [1, 2, 3, 7, 1000])
@pytest.mark.parametrize("answer", ANSWERS)
def test_the_pieces_together_are_the_checked_answer(answer: str, size: int) -> None:
    assert "".join(stream(answer, [size])) == resolve_citations(answer, PASSAGES).text


@settings(max_examples=300, deadline=None)
@given(PIECES, st.lists(st.integers(1, 5), min_size=1, max_size=5))
def test_whatever_is_written_in_whatever_pieces(answer: str, sizes: list[int]) -> None:
    assert "".join(stream(answer, sizes)) == resolve_citations(answer, PASSAGES).text


def test_only_what_may_become_a_marker_is_held_back() -> None:
    markers = MarkerStream(3)
    assert markers.feed("The shutter froze") == "The shutter froze"
    assert markers.feed(" [") == ""
    assert markers.feed("2") == ""
    assert markers.feed("].") == " [1]."
    assert markers.feed(" [see") == " [see"


@pytest.mark.parametrize(
    ("opening", "filler"), [("x", " "), ("x", "\n"), ("`", "a"), ("x", "\u3000"), ("x ", "["), ("x [", "1-")]
)
def test_a_model_that_writes_one_character_for_ever_costs_little(opening: str, filler: str) -> None:
    answer = opening + filler * 40_000
    before = process_time()
    shown = stream(answer, [1])
    assert process_time() - before < 10  # a tenth; looked through anew for each piece, it was eleven seconds
    assert "".join(shown) == answer.strip()
