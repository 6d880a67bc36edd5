from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from fakes.passages import make_passage

from retrieval.answer import NOTHING_FOUND, Draft, WritingTask
from retrieval.extractive import ExtractiveWriter, choose_quotes
from retrieval.search import Passage

CAMERA = make_passage(
    "The Heron camera was bought in 2019. It cost 4,200 euro and came by ship. The dewar stays cold for 31 hours. "
    "Mr. Lee of the workshop repairs it.",
    start=100,
)
COATING = make_passage(
    "镜面镀膜每五年更换一次。负责人是王小明。上一次的费用为3.5万元。{0} %s", start=7, document_id="d2"
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

    async def collect() -> list[str | Draft]:
        return [piece async for piece in ExtractiveWriter().write(task)]

    *texts, draft = asyncio.run(collect())
    assert isinstance(draft, Draft)
    return "".join(str(text) for text in texts), draft


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
