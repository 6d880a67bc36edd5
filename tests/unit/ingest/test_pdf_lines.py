from __future__ import annotations

import pytest

from ingest.loaders.pdf_furniture import find_furniture
from ingest.loaders.pdf_lines import clean_line, join_lines, split_lines


@pytest.mark.parametrize(
    ("raw", "clean"),
    [
        ("第 一 章", "第一章"),
        ("目 录", "目录"),
        ("目　　录", "目录"),
        ("在 2005 年 被", "在 2005 年 被"),
        ("\u2f08\u2f63产 ⻅证", "人生产 见证"),
        ("eﬃcient ﬂow", "efficient flow"),
        ("统框图。 它进一步， 说明", "统框图。它进一步，说明"),
        ("发展概况发展概况发展概况发展概况", "发展概况"),
        ("谢谢谢谢", "谢谢谢谢"),
        ("------------", "------------"),
        ("Ａ１", "Ａ１"),
    ],
)
def test_clean_line(raw: str, clean: str) -> None:
    assert clean_line(raw) == clean


def texts(page: str) -> list[str]:
    return [line.text for line in split_lines(page)]


def test_words_cut_at_a_line_end_are_whole_again() -> None:
    lines = texts("Lorem ipsum adip\ufffeiscing elit and soft\u00ad\r\nware\x02\r\n house\r\n\r\n")
    assert join_lines(lines, frozenset()) == "Lorem ipsum adipiscing elit and softwarehouse"
    assert join_lines(["cut at the page's end\u00ad"], frozenset()) == "cut at the page's end"


def test_a_heading_drawn_four_times_is_kept_once() -> None:
    assert texts("发展概况\r\n" * 4 + "正文\r\n") == ["发展概况", "正文"]
    assert texts("稳定\r\n" * 4) == ["稳定"] * 4


def join(text: str, *titles: str) -> str:
    return join_lines(text.split("\n"), frozenset(titles))


def test_chinese_lines_join_without_a_space() -> None:
    text = (
        "一、基本信息\n"
        "张三九，男，出生于 1985 年 5 月，已婚，职业为 IT 工程师。张三九的\n"
        "血型为 O 型，三十年来一直与家人一起居住在上海市，现在的住址是\n"
        "浦东新区。\n"
        "二、医疗历史\n"
        "张三九在 2005 年被确诊为高血压，自此开始接受药物治疗，又被确诊为二\n"
        "型糖尿病。"
    )
    assert join(text).split("\n") == [
        "一、基本信息",
        "张三九，男，出生于 1985 年 5 月，已婚，职业为 IT 工程师。张三九的血型为 O 型，三十年来一直与家人一起居住在上海市，现在的住址是浦东新区。",  # noqa: E501 - one line is the point
        "二、医疗历史",
        "张三九在 2005 年被确诊为高血压，自此开始接受药物治疗，又被确诊为二型糖尿病。",
    ]


def test_latin_lines_join_with_one_space_and_paragraphs_stay() -> None:
    text = (
        "Introduction\n"
        "Widespread afforestation represents a significant\n"
        "alteration of yield, and is therefore a long-\n"
        "term concern.\n"
        "A second paragraph begins with words enough\n"
        "and ends."
    )
    assert join(text).split("\n") == [
        "Introduction",
        "Widespread afforestation represents a significant alteration of yield, and is therefore a long-term concern.",
        "A second paragraph begins with words enough and ends.",
    ]


def test_rows_items_and_code_stay_lines() -> None:
    text = (
        "Net sales of the quarter $ 82,959 $ 81,434 $ 304,182\n"
        "Cost of sales and the rest 47,074 46,179 170,000\n"
        "• an item of the list that is about as long as a line of it\n"
        "• another item of the list that is about as long as a line\n"
        'String key = "Id#taobao_" + tradeId + another + third + fourth;\n'
        "cache.put(key, value, another, third, fourth, fifth, sixth, x);\n"
        "目录项目 ............................................................ 12"
    )
    assert join(text) == text


def test_a_number_may_stand_inside_a_sentence() -> None:
    text = "体检结果显示他的身高为 175 厘米，体重为\n78 公斤，体重指数为 25.5，表明体重超重。"
    assert "\n" not in join(text)
    rows = (
        "Deferred revenue of the year and quarter 260 1,738\nDeclared a share or unit $ 0.67 $ 0.63\nSee the notes\n251"
    )
    assert join(rows) == rows


def test_titles_of_the_outline_are_never_joined() -> None:
    text = "A heading as long as the text that stands below it\nthe text that stands below the heading, in lower case"
    assert "\n" not in join(text)
    assert join(text, "aheadingaslongasthetextthatstandsbelowit") == text


def keep(pages: list[list[str]], *, in_columns: bool = False) -> list[list[str]]:
    return [
        [line for index, line in enumerate(lines) if index not in dropped]
        for lines, dropped in zip(pages, find_furniture(pages, [in_columns] * len(pages)), strict=True)
    ]


def test_furniture_is_dropped_but_for_its_first_copy() -> None:
    pages = [
        ["Handbook", f"{number}/9", f"text {number} a", "b", "c", f"d{number}", f"text {number} z"]
        for number in range(1, 10)
    ]
    kept = keep(pages)
    assert kept[0] == ["Handbook", "text 1 a", "b", "c", "d1", "text 1 z"]
    assert kept[4] == ["text 5 a", "b", "c", "d5", "text 5 z"]


def test_numbers_that_do_not_count_up_stay() -> None:
    pages = [["2023", "text"], ["17", "text"], ["2023", "other"], ["99", "more"]]
    assert keep(pages)[1] == ["17", "text"]


def test_short_documents_are_left_alone() -> None:
    assert keep([["1", "same"], ["2", "same"]]) == [["1", "same"], ["2", "same"]]


def test_running_heads_with_a_page_number_go_from_pages_in_columns_but_for_the_first() -> None:
    pages = [
        [
            f"{number} Annual report of 2023" if number % 2 else f"Annual report of 2023 {number}",
            f"a{number}",
            f"b{number}",
        ]
        for number in range(101, 109)
    ]
    kept = keep(pages, in_columns=True)
    assert kept[0] == ["101 Annual report of 2023", "a101", "b101"]
    assert kept[1:4] == [["a102", "b102"], ["a103", "b103"], ["a104", "b104"]]
    assert keep(pages) == pages


def test_numbered_titles_at_a_page_edge_stay() -> None:
    pages = [[f"Results of experiment {number * number}", f"a{number}", f"b{number}"] for number in range(1, 9)]
    assert keep(pages, in_columns=True) == pages
