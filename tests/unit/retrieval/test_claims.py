from __future__ import annotations

import pytest
from fakes.passages import make_passage
from hypothesis import given
from hypothesis import strategies as st

from retrieval.citations import resolve_citations
from retrieval.claims import find_unsupported

CAMERA = make_passage(
    "The Heron camera was bought in 2019 for 4,200 euro. Its dewar stays cold for 31 hours. "
    "It must not be opened in fog. Visitors may take photographs without a flash.",
    title="Heron camera manual",
)
DOME = make_passage(
    "The dome closes when the humidity rises above 85 percent. "
    "The shutter motor was replaced in 2021 by a firm from Oslo.",
    title="Dome log",
    document_id="d2",
)
COATING = make_passage(
    "镜面镀膜每五年更换一次，上一次是2019年。更换费用为三万二千元。未经台长批准不得打开镜盖。访客可以参观圆顶。",
    title="镜面手册",
    document_id="d3",
)
TICKETS = make_passage(
    "开放夜的成人票每张一百六十元。学生票每张八十元。雨天不开放，票款在七天内退还。",
    title="价目",
    document_id="d4",
)
ALL = [CAMERA, DOME, COATING, TICKETS]


def flag(answer: str) -> list[str]:
    """The flagged sentences, after the way every answer goes: markers checked and renumbered."""
    cited = resolve_citations(answer, ALL)
    spans = find_unsupported(cited.text, cited.passages)
    return [cited.text[span.start : span.end] for span in spans]


@pytest.mark.parametrize(
    "answer",
    [
        "The Heron camera was bought in 2019 for 4,200 euro [1].",
        "In 2019 the camera was bought; the price was 4200 euro. [1] The dome closes above 85 percent humidity [2].",
        "The dewar of the camera stays cold for thirty-one hours [1].",
        "The camera must not be opened in fog [1].",
        "The shutter motor was replaced in 2021 [2], and the camera was bought in 2019 [1].",
        "The camera was bought in 2019, and the shutter motor of the dome was replaced in 2021 [1][2].",
        "The camera was bought in 2019. It cost 4,200 euro [1].",  # the first sentence cites nothing by itself
        "# Camera\n\nHere is what it says:\n\n1. Price: 4,200 euro [1]\n2. The dewar stays cold for 31 hours [1]",
        "镜面镀膜每五年更换一次[3]。",
        "上次更换镀膜是在2019年[3]，更换费用是32000元[3]。",
        "成人票每张160元，学生票每张80元[4]。",
        "雨天不开放，票款七天内退还。[4]",
        "未经批准，不得打开镜盖[3]。成人票一百六十元[4]。",
        "根据[4]，开放夜的成人票为160元。",
        "根据资料[4]，开放夜的成人票为160元。根据提供的资料，成人票每张160元[4]。",
        "According to the provided documents [1], it cost 4,200 euro. Based on the passages it was bought in 2019 [1].",
        "| 票种 | 票价 |\n|---|---|\n| 成人票 | 160元 [4] |\n| 学生票 | 80元 [4] |",
        "",
        "Is there anything else? [1]",
        "```\nmoon = 7\n```",
    ],
)
def test_what_the_passages_say_is_not_flagged(answer: str) -> None:
    assert flag(answer) == []


FALSE = {
    "a number changed": (
        "The Heron camera was bought in 2018 for 4,200 euro [1].",
        "The dewar stays cold for thirteen hours [1].",
        "开放夜的成人票每张一百九十元[4]。",
        "更换费用为三万五千元[3]。",
    ),
    "a negation dropped": (
        "The camera must be opened in fog [1].",
        "未经台长批准可以打开镜盖[3]。",
        "雨天开放[4]。",
    ),
    "a negation added": (
        "Visitors may not take photographs without a flash [1].",
        "The dome never closes when the humidity rises above 85 percent [2].",
        "访客不可以参观圆顶[3]。",
        "学生票不是每张八十元[4]。",
    ),
    "halves of two passages spliced": (
        "The Heron camera was bought in 2021 by a firm from Oslo [1].",
        "The Heron camera was bought by a firm from Oslo when the humidity rises [1][2].",
        "镜面镀膜每五年更换一次，票款在七天内退还[3]。",
        "镜面镀膜的票款在七天内退还给学生[3]。",
    ),
    "a quote under another number": (
        "The Heron camera was bought in 2019 for 4,200 euro [2].",
        "The dome closes when the humidity rises above 85 percent [1].",
        "开放夜的成人票每张一百六十元[3]。",
        "镜面镀膜每五年更换一次[4]。",
    ),
    "an invented sentence": (
        "The observatory was founded by a group of sailors from Bergen [1].",
        "Every telescope is insured against lightning [2].",
        "天文台的咖啡馆由志愿者经营[4]。",
        "所有望远镜都购买了雷击保险[3]。",
    ),
}


@pytest.mark.parametrize(("kind", "answer"), [(kind, answer) for kind, answers in FALSE.items() for answer in answers])
def test_a_planted_false_quote_is_flagged(kind: str, answer: str) -> None:
    true = (
        "The dome closes when the humidity rises above 85 percent [2]." if answer.isascii() else "学生票每张八十元[4]。"
    )
    gap = " " if answer.isascii() else ""
    flagged = flag(true + gap + answer + gap + true)
    assert len(flagged) == 1, kind
    assert flagged[0].split("[")[0] == answer.split("[", maxsplit=1)[0]


def test_the_places_are_those_of_the_final_answer() -> None:
    cited = resolve_citations(
        "It costs nothing at all [99]. The dome closes above 85 percent humidity. [2] Sailors sang all night.",
        ALL,
    )
    spans = find_unsupported(cited.text, cited.passages)
    assert [cited.text[span.start : span.end] for span in spans] == [
        "It costs nothing at all.",
        "Sailors sang all night.",
    ]
    assert cited.dropped == 1


def test_an_answer_that_cites_nothing_is_supported_by_nothing() -> None:
    assert flag("The Heron camera was bought in 2019 for 4,200 euro.") == [
        "The Heron camera was bought in 2019 for 4,200 euro."
    ]


def test_of_an_answer_in_another_language_only_the_numbers_are_checked() -> None:
    assert flag("An adult ticket costs 160 yuan [4].") == []
    assert flag("An adult ticket costs 190 yuan [4].") == ["An adult ticket costs 190 yuan [1]."]
    assert flag("这台相机于2019年购入[1]。") == []
    assert flag("这台相机于2017年购入[1]。") == ["这台相机于2017年购入[1]。"]


@given(st.text(alphabet="[]【】0123456789,、。. a不not雾`\n", max_size=60))
def test_whatever_a_model_writes_the_places_lie_in_the_answer_in_order(answer: str) -> None:
    cited = resolve_citations(answer, ALL)
    edges = [edge for span in find_unsupported(cited.text, cited.passages) for edge in (span.start, span.end)]
    assert edges == sorted(edges)
    assert all(0 <= edge <= len(cited.text) for edge in edges)
