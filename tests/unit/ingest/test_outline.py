"""Heading lines and paths."""

from __future__ import annotations

from ingest.outline import outline_headings
from kb.types import Heading


def outline(text: str, *titles: tuple[str, int]) -> list[tuple[str, str]]:
    headings = [
        Heading(start=text.index(title), end=text.index(title) + len(title), level=level, title=title)
        for title, level in titles
    ]
    return [(text[line.start : line.end], line.path) for line in outline_headings(text, headings)]


def test_paths_follow_the_levels_and_lines_are_whole() -> None:
    text = "# 甲 #\n文\n### 乙\n文\n## 丙\n文\n# 丁\n"
    assert outline(text, ("甲", 1), ("乙", 3), ("丙", 2), ("丁", 1)) == [
        ("# 甲 #", "甲"),
        ("### 乙", "甲 > 乙"),
        ("## 丙", "甲 > 丙"),
        ("# 丁", "丁"),
    ]


def test_an_underline_belongs_to_its_heading() -> None:
    assert outline("Title\n=====\ntext", ("Title", 1)) == [("Title\n=====", "Title")]


def test_headings_out_of_place_are_left_out() -> None:
    headings = [
        Heading(start=0, end=4, level=1, title="A"),
        Heading(start=2, end=6, level=1, title="B"),
        Heading(start=8, end=99, level=1, title="C"),
        Heading(start=6, end=6, level=1, title="D"),
    ]
    assert [line.path for line in outline_headings("abcdefgh", headings)] == ["A"]


def test_a_path_never_grows_without_end() -> None:
    text = "".join(f"t{level}\n" for level in range(10, 90))
    headings = [Heading(start=4 * at, end=4 * at + 3, level=at, title=f"t{at}") for at in range(80)]
    longest = max(line.path.count(" > ") for line in outline_headings(text, headings))
    assert longest == 7


def test_a_title_without_end_is_cut() -> None:
    (line,) = outline_headings("字" * 5_000, [Heading(start=0, end=5_000, level=1, title="字" * 5_000)])
    assert (line.end, line.path) == (5_000, "字" * 300)
