from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval import question, terms
from retrieval.han import HAN_BLOCKS, fold_han, load_folds, name_folds


@pytest.mark.parametrize(
    ("traditional", "simplified"),
    [
        ("開放夜的學生票多少錢", "开放夜的学生票多少钱"),
        ("為何中華民國政府不再實施日光節約時間", "为何中华民国政府不再实施日光节约时间"),
        ("臺灣檯燈颱風台北", "台湾台灯台风台北"),
        ("乾燥幹部干涉乾隆", "干燥干部干涉干隆"),
        ("以後皇后", "以后皇后"),
        ("頭髮發展", "头发发展"),
        ("裡面裏面公里", "里面里面公里"),
        ("什麼什麽", "什么什么"),
        ("瞭解答覆憑藉看著", "了解答复凭借看着"),
        ("衞生衛生", "卫生卫生"),
        ("牠們妳們", "它们你们"),
        ("苧薴", "苎苎"),
        ("𧝞", "䘛"),
        ("已经是简体的文字", "已经是简体的文字"),
    ],
)
def test_traditional_and_simplified_are_one(traditional: str, simplified: str) -> None:
    assert fold_han(traditional) == simplified
    assert fold_han(simplified) == simplified


def test_kana_hangul_and_all_that_is_not_han_stay() -> None:
    others = "".join(chr(code) for code in range(0x3400) if not 0xD800 <= code < 0xE000)
    hangul = "".join(chr(code) for code in [*range(0xAC00, 0xD7B0), *range(0xFF00, 0xFFF0)])
    assert fold_han(others + hangul) == others + hangul
    assert fold_han("ひらがな カタカナ ｶﾀｶﾅ 한국어 The Café") == "ひらがな カタカナ ｶﾀｶﾅ 한국어 The Café"


def test_only_han_changes_and_only_into_han_that_stays() -> None:
    folds = load_folds()
    assert len(folds) > 4000
    for old, new in folds.items():
        assert any(first <= old < end for first, end in HAN_BLOCKS)
        assert any(first <= new < end for first, end in HAN_BLOCKS)
        assert new not in folds


@given(st.text(max_size=200))
def test_length_stays_and_folding_twice_is_folding_once(text: str) -> None:
    folded = fold_han(text)
    assert len(folded) == len(text)
    assert fold_han(folded) == folded


def test_the_table_has_a_name_that_goes_into_the_form_of_tokens() -> None:
    assert re.fullmatch(r"[0-9a-f]{8}", name_folds())
    assert terms.name_form() == f"{terms.VERSION}-{name_folds()}"


def test_patterns_that_folded_text_is_held_against_are_folded() -> None:
    patterns = [question.HAN_FUNCTION, terms.QUESTION_WORDS, *question.HOLDS.values(), *dict(question.ASKS).values()]
    for pattern in patterns:
        assert fold_han(pattern.pattern) == pattern.pattern
