from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fakes.passages import make_passage

from retrieval.answer import NOTHING_FOUND
from retrieval.extractive import ExtractiveWriter, choose_quotes
from retrieval.passages import Passage
from retrieval.writing import Draft, TokenEvent, WriterEvent, WritingTask

CAMERA = make_passage(
    "The Heron camera was bought in 2019. It cost 4,200 euro and came by ship. The dewar stays cold for 31 hours. "
    "Mr. Lee of the workshop repairs it.",
    start=100,
)
COATING = make_passage(
    "镜面镀膜每五年更换一次。负责人是王小明。上一次的费用为3.5万元。{0} %s", start=7, document_id="d2"
)


COATING_TRADITIONAL = make_passage(
    "鏡面鍍膜每五年更換一次。負責人是王小明。上一次的費用為3.5萬元。因為天氣潮濕，鍍膜會脫落。", document_id="d3"
)


def write(question: str, passages: Sequence[Passage], language: str = "en") -> tuple[str, Draft]:
    task = WritingTask(
        question=question,
        language="zh" if language == "zh" else "en",
        passages=passages,
        history=(),
        max_context_tokens=1000,
        max_tokens=100,
        temperature=0,
    )

    async def collect() -> list[WriterEvent]:
        return [event async for event in ExtractiveWriter().write(task)]

    *events, draft = asyncio.run(collect())
    assert isinstance(draft, Draft)
    return "".join(event.text for event in events if isinstance(event, TokenEvent)), draft


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("How much did the Heron camera cost?", "It cost 4,200 euro and came by ship."),
        ("How long does the dewar stay cold?", "The dewar stays cold for 31 hours."),
        ("Who repairs the camera?", "Mr. Lee of the workshop repairs it."),
        ("镜面镀膜多久更换一次？", "镜面镀膜每五年更换一次。"),
        ("镜面镀膜的负责人是谁？", "负责人是王小明。"),
        ("镀膜的费用是多少？", "上一次的费用为3.5万元。"),
    ],
)
def test_quotes_the_sentence_that_answers(question: str, sentence: str) -> None:
    assert sentence in [quote.text for quote in choose_quotes(question, [CAMERA, COATING])]


@pytest.mark.parametrize(
    ("question", "sentence"),
    [
        ("镜面镀膜多久更换一次？", "鏡面鍍膜每五年更換一次。"),
        ("镜面镀膜的负责人是谁？", "負責人是王小明。"),
        ("镀膜的费用是多少？", "上一次的費用為3.5萬元。"),
        ("镀膜为什么会脱落？", "因為天氣潮濕，鍍膜會脫落。"),
    ],
)
def test_a_simplified_question_quotes_a_traditional_text_as_a_traditional_one_does(
    question: str, sentence: str
) -> None:
    quotes = choose_quotes(question, [CAMERA, COATING_TRADITIONAL])
    assert sentence in [quote.text for quote in quotes]
    assert all(COATING_TRADITIONAL.text[quote.start : quote.end] == quote.text for quote in quotes)
    asked = question.translate(str.maketrans("镜镀换负责谁费为么脱", "鏡鍍換負責誰費為麼脫"))
    assert choose_quotes(asked, [CAMERA, COATING_TRADITIONAL]) == quotes


def test_a_traditional_question_quotes_a_simplified_text() -> None:
    assert "镜面镀膜每五年更换一次。" in [q.text for q in choose_quotes("鏡面鍍膜多久更換一次？", [CAMERA, COATING])]


def test_every_quote_is_numbered_and_stands_where_its_citation_says() -> None:
    streamed, draft = write("镜面镀膜的负责人是谁？", [CAMERA, COATING], "zh")
    assert streamed == draft.text
    assert draft.text.startswith("以下是资料原文（未配置对话模型）：\n\n")
    assert [citation.number for citation in draft.citations] == list(range(1, len(draft.citations) + 1))
    for citation in draft.citations:
        assert COATING.text[citation.start - 7 : citation.end - 7] == citation.quote
        assert f"{citation.quote} [{citation.number}]" in draft.text
        assert citation.document_id == "d2"
    assert not draft.refused


def test_quotes_come_in_reading_order_and_at_most_three() -> None:
    passage = make_passage(" ".join(f"The crank number {i} is heavy." for i in range(9)))
    quotes = choose_quotes("How heavy is the crank?", [passage])
    assert len(quotes) == 3
    assert [quote.start for quote in quotes] == sorted(quote.start for quote in quotes)


def test_the_same_sentence_is_quoted_once() -> None:
    quotes = choose_quotes("Who repairs the camera?", [CAMERA, make_passage(CAMERA.text, document_id="d3")])
    assert len({quote.text for quote in quotes}) == len(quotes)


REPORT = make_passage(
    "Field report 2024/3\nRe-coating the mirror\n"
    "Field report 2024/3. The film of the mirror was renewed in June 2024, for the old one had lost its shine. "
    "The work took nine days, because a rockfall closed the road.",
)
PRICES = make_passage(
    "# 票价\n\n| 票种 | 白天参观 | 开放夜 |\n|---|---|---|\n| 成人 | 40 元 | 160 元 |\n| 学生 |  | 80 元 |"
)


def test_headings_and_running_heads_are_not_quoted_beside_sentences() -> None:
    quotes = choose_quotes("Why was the mirror re-coated in 2024?", [REPORT])
    assert [quote.text.split(",")[0] for quote in quotes] == [
        "The film of the mirror was renewed in June 2024",
        "The work took nine days",
    ]


def test_a_heading_is_quoted_where_there_is_nothing_else() -> None:
    assert [quote.text for quote in choose_quotes("Who wrote the camera manual?", [make_passage("Camera manual")])] == [
        "Camera manual"
    ]


def test_a_line_with_a_figure_answers_when_a_figure_is_asked_for() -> None:
    passage = make_passage("Opens at 17:00 daily\nThe gate is guarded by a friendly dog.")
    assert "Opens at 17:00 daily" in [quote.text for quote in choose_quotes("When is the gate open?", [passage])]
    assert "Opens at 17:00 daily" not in [quote.text for quote in choose_quotes("Why is the gate open?", [passage])]


def test_a_reason_that_is_announced_one_sentence_earlier() -> None:
    passage = make_passage(
        "The dome got stuck. The dome is white. The dome is big. The cause is known. Someone had used the wrong grease."
    )
    texts = [quote.text for quote in choose_quotes("Why did the dome get stuck?", [passage])]
    assert texts[0] == "The dome got stuck."
    assert choose_quotes("Why did Hekou get brighter?", [HEKOU])[-1].text.startswith("The greenhouse")


HEKOU = make_passage(
    "| Place | Value |\n|---|---|\n| Hekou | 20.71 |\n| Shiban | 21.02 |\n\n"
    "Hekou became brighter, and one building explains it. The greenhouse burns its lamps all night."
)


def test_a_row_is_shown_with_the_names_of_its_columns_and_quoted_as_it_stands() -> None:
    text, draft = write("成人票开放夜多少钱？", [PRICES], "zh")
    assert "票种: 成人; 白天参观: 40 元; 开放夜: 160 元 [1]" in text
    assert draft.citations[0].quote == "| 成人 | 40 元 | 160 元 |"
    assert PRICES.text[draft.citations[0].start : draft.citations[0].end] == draft.citations[0].quote


def test_a_row_without_a_head_of_its_width_loses_only_its_outer_bars() -> None:
    bare = make_passage("| 学生票 | 80 元 | 现场 |\n| 成人票 | 160 元 | 预约 |")
    assert "成人票 | 160 元 | 预约 [" in write("成人票多少钱？", [bare], "zh")[0]
    cut = make_passage("| 票种 | 价格 |\n|---|---|\n| 成人票 | 160 元 | 预约 |")
    assert "成人票 | 160 元 | 预约 [" in write("成人票多少钱？", [cut], "zh")[0]


def test_an_answer_has_one_line_a_quote() -> None:
    passage = make_passage("This line about the crank was wrapped by an editor at the seventieth column\nand goes on.")
    text, draft = write("What about the crank?", [passage])
    assert "seventieth column and goes on. [1]" in text
    assert draft.citations[0].quote == passage.text


@pytest.mark.parametrize(
    ("question", "language"), [("Why is the sky blue?", "en"), ("法国大革命是哪一年爆发的？", "zh"), ("???", "en")]
)
def test_refuses_what_the_passages_do_not_speak_of(question: str, language: str) -> None:
    streamed, draft = write(question, [CAMERA, COATING], language)
    assert draft.refused
    assert streamed == draft.text == NOTHING_FOUND["zh" if language == "zh" else "en"]
    assert draft.citations == ()


def test_braces_and_marks_in_a_document_are_quoted_as_they_are() -> None:
    passage = make_passage("The template {{7*7}} costs {0.__class__} and %s or $x.")
    _, draft = write("What does the template cost?", [passage])
    assert "The template {{7*7}} costs {0.__class__} and %s or $x. [1]" in draft.text
