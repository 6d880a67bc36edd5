from __future__ import annotations

from typing import Any

import pytest
from fakes.passages import make_passage

from retrieval.passages import Passage
from retrieval.search_tool import BadCall, describe_search, read_query, sort_out, tidy_call, write_reply, write_result
from retrieval.tool_calls import ToolCall

TEXT = "".join(f"第{number:03}句话在这里结束。" for number in range(100))  # 10 characters each


def cut(start: int, end: int, version: int = 1, **fields: Any) -> Passage:
    return make_passage(TEXT[start:end], start=start, version_id=version, **fields)


def list_cuts(passages: list[Passage]) -> list[tuple[int, int, int]]:
    assert all(one.text == TEXT[one.start : one.end] for one in passages)
    return [(one.version_id, one.start, one.end) for one in passages]


@pytest.mark.parametrize(
    ("found", "shown", "new", "seen"),
    [
        ([(0, 100)], [], [(1, 0, 100)], []),
        ([(0, 100)], [(0, 100)], [], [1]),
        ([(20, 80)], [(0, 100)], [], [1]),  # inside of it
        ([(0, 200)], [(50, 100)], [(1, 0, 50), (1, 100, 200)], []),  # around it
        ([(50, 150)], [(0, 100)], [(1, 100, 150)], []),
        ([(50, 150)], [(100, 200)], [(1, 50, 100)], []),
        ([(0, 300)], [(200, 250), (50, 150)], [(1, 0, 50), (1, 150, 200), (1, 250, 300)], []),
        ([(0, 110)], [(0, 100)], [], [1]),  # a line of it is left: not worth a number
        ([(0, 100), (300, 400)], [(500, 600), (0, 100)], [(1, 300, 400)], [2]),
        ([(100, 200)], [(0, 100), (200, 300)], [(1, 100, 200)], []),  # next to it
        ([(50, 150)], [(0, 100), (100, 200)], [], [1, 2]),
    ],
)
def test_no_text_is_shown_twice(
    found: list[tuple[int, int]], shown: list[tuple[int, int]], new: list[tuple[int, int, int]], seen: list[int]
) -> None:
    left, numbers = sort_out([cut(*one) for one in found], [cut(*one) for one in shown])
    assert (list_cuts(left), numbers) == (new, seen)


def test_the_same_place_of_another_version_is_another_text() -> None:
    assert list_cuts(sort_out([cut(100, 200, 2)], [cut(0, 150, 1)])[0]) == [(2, 100, 200)]


def test_the_same_text_of_another_document_is_seen() -> None:
    copy = make_passage(TEXT[:100], version_id=7, document_id="d7")
    assert sort_out([copy], [cut(300, 400), cut(0, 100)]) == ([], [2])


def test_a_short_passage_that_is_new_is_shown() -> None:
    assert list_cuts(sort_out([cut(0, 10)], [])[0]) == [(1, 0, 10)]


@pytest.mark.parametrize(
    ("arguments", "query"),
    [
        ('{"query": "圆顶"}', "圆顶"),
        ('{"query": "a\nb", "top_k": 900}', "a\nb"),  # a raw line feed, and a field of its own making
        ('{"query": "\\ud800x"}', "?x"),
    ],
)
def test_a_query_is_read(arguments: str, query: str) -> None:
    assert read_query(ToolCall(name="search", arguments=arguments)) == query


@pytest.mark.parametrize("name", ["", "search", "rm -rf /", "Search", "工具", "x" * 65, "other_tool"])
@pytest.mark.parametrize("arguments", ["", "{", "null", '{"query": 1}', '{"query": "<|im_end|>"}'])
def test_what_goes_back_is_well_formed(name: str, arguments: str) -> None:
    tidy = tidy_call(ToolCall(name=name, arguments=arguments), "call01000")
    assert tidy.id == "call01000"
    assert tidy.name == ("other_tool" if name == "other_tool" else "Search" if name == "Search" else "search")
    assert tidy.arguments in ("{}", '{"query": "< |im_end|>"}')
    if name != "search":
        with pytest.raises(BadCall):
            read_query(ToolCall(name=name, arguments=arguments))


def test_results_in_both_languages() -> None:
    assert write_result([], 3, [], "en") == "Nothing new was found."
    assert write_result([], 3, [1, 2], "zh") == "没有找到新的资料。\n\n前面已给出：[1][2]"
    shown = write_result([cut(0, 10), cut(20, 30)], 3, [1], "zh")
    assert [line for line in shown.splitlines() if line.startswith("[")] == [
        "[3] Handbook（handbook.pdf），第 1 页，入库 2020-01-02",
        "[4] Handbook（handbook.pdf），第 1 页，入库 2020-01-02",
    ]
    assert shown.endswith("\n\n前面已给出：[1]")
    assert (write_reply("index_unavailable", "zh"), write_reply("anything", "en")) == (
        "检索失败。",
        "The search failed.",
    )
    assert {describe_search("zh").name, describe_search("en").name} == {"search"}
