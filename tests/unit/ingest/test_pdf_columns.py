from __future__ import annotations

from time import process_time

import pytest

from ingest.loaders.pdf_columns import Box, Line, Strip, find_gutters, measure_fills, place_lines
from ingest.loaders.pdf_fonts import find_headings


def write(text: str, left: float, top: float, *, width: float = 200, font: str = "Serif", size: float = 10) -> Line:
    return Line(text=text, box=Box(left, top - size, left + width, top), font=font)


def write_column(name: str, left: float, *, count: int = 12, top: float = 700) -> list[Line]:
    return [write(f"{name}{row} words of a line", left, top - 12 * row) for row in range(count)]


def order(lines: list[Line]) -> list[str] | None:
    placed = place_lines(lines, find_gutters([line.box for line in lines]))
    return None if placed is None else [line.text.split()[0] for line in placed]


LEFT, RIGHT = write_column("a", 50), write_column("b", 270)
IN_ORDER = [line.text.split()[0] for line in LEFT + RIGHT]


def test_columns_drawn_one_after_the_other_stay_as_they_are() -> None:
    assert order(LEFT + RIGHT) == IN_ORDER


def test_a_page_drawn_across_its_columns_is_put_into_order() -> None:
    across = [line for pair in zip(LEFT, RIGHT, strict=True) for line in pair]
    assert order(across) == IN_ORDER
    assert order(RIGHT + LEFT) == IN_ORDER


def test_a_line_across_the_columns_ends_them() -> None:
    bar = write("bar across", 50, 540, width=420)
    below = [*write_column("c", 50, top=520), *write_column("d", 270, top=520)]
    mixed = [line for pair in zip(LEFT + below[:12], RIGHT + below[12:], strict=True) for line in pair]
    ordered = order([bar, *mixed])
    assert ordered is not None
    assert ordered == [*IN_ORDER, "bar", *(line.text.split()[0] for line in below)]


def test_what_stands_above_a_line_across_is_told_of_many_such_lines() -> None:
    bars = [write(f"bar{row} across", 50, 10_000 - 300 * row, width=420) for row in range(3)]
    parts = [
        write_column(f"{name}{row}", left, top=9_980 - 300 * row)
        for row in range(3)
        for name, left in (("l", 50), ("r", 270))
    ]
    drawn = [line for lines in zip(*parts, strict=True) for line in lines]
    wanted = [line.text.split()[0] for row in range(3) for line in [bars[row], *parts[2 * row], *parts[2 * row + 1]]]
    assert order([*bars[::-1], *drawn]) == wanted


def test_a_page_of_many_lines_across_costs_what_it_is_long() -> None:
    lines = [one for row in range(3_000) for one in (write("left", 50, -12 * row), write("right", 270, -12 * row))]
    bars = [write(f"bar {row}", 50, -12 * row, width=420) for row in range(1_500)]
    before = process_time()
    placed = place_lines([*lines[::-1], *bars], [Strip(left=250, right=270)])
    assert process_time() - before < 5  # a twentieth; each line held against each bar, it was a minute
    assert placed is not None
    assert len(placed) == 7_500


@pytest.mark.parametrize("far", [1e9, 3.4e38])
def test_a_page_wider_than_any_has_no_columns(far: float) -> None:
    assert find_gutters([line.box for line in [*LEFT, *RIGHT, write("far out", far, 700)]]) == []


def test_what_is_not_in_columns() -> None:
    one = [write("words", 50, 700 - 12 * row, width=420) for row in range(20)]
    assert find_gutters([line.box for line in one]) == []
    labels = [write(f"label{row}", 50, 700 - 12 * row, width=60 if row % 3 else 200) for row in range(12)]
    assert order([*labels, *RIGHT]) is None  # ragged, as a table's cells are
    narrow = [write(f"n{row}", 50, 700 - 12 * row, width=90) for row in range(12)]
    assert order([*narrow, *RIGHT]) is None  # not equally wide
    assert order([*LEFT[:5], *RIGHT]) is None  # too few lines


def test_a_line_is_full_where_the_next_word_would_not_have_fitted() -> None:
    lines = [
        write("a full line of words to the very edge", 50, 700),
        write("short", 50, 688, width=60),
        write("Capital words in the line after it", 50, 676),
        write("    an indented line of many words", 65, 664, width=185),
        write("larger", 50, 640, size=16),
        write("last", 50, 620),
    ]
    placed = [Line(text=line.text, box=line.box, font=line.font, column=0) for line in lines]
    fills = measure_fills(placed)
    assert fills[0] == 1.0
    assert 0 < fills[1] < 0.5
    assert fills[2] == 0.9
    assert fills[3:] == [-1.0, -1.0]


BODY = [write(f"body line {row} with words enough to be read as a body", 50, 700 - 12 * row) for row in range(40)]


def test_large_and_bold_lines_are_headings() -> None:
    page = [
        write("The title of", 50, 760, size=18, font="Serif-Bold"),
        write("the report", 50, 741, size=18, font="Serif-Bold"),
        *BODY[:20],
        write("一、概况", 50, 450, size=10, font="SimHei"),
        *BODY[20:],
    ]
    lines, found = find_headings([page])
    assert [(one.level, one.title, one.page) for one in found] == [
        (1, "The title of the report", 0),
        (2, "一、概况", 0),
    ]
    assert [line.text for line in lines[0]][:1] == ["The title of the report"]
    assert len(lines[0]) == len(page) - 1


def test_what_is_no_heading() -> None:
    for text in (
        "A bold sentence that ends.",
        "with a small letter",
        "One. Two",
        "Total 1,234,567 89",
        "• item",
        "x" * 100,
        "mail@example.com",
    ):
        page = [*BODY[:20], write(text, 50, 450, font="Serif-Bold"), *BODY[20:]]
        assert find_headings([page]) == ([page], []), text
    bold = [write(f"Bold row {row}", 50, 300 - 20 * row, font="Serif-Bold") for row in range(10)]
    assert find_headings([BODY + bold])[1] == []  # a fifth of it
    assert find_headings([BODY[:3] + bold[:1]])[1] == []  # too little to tell what the body is
