from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from retrieval.terms import MOST_TERMS, iter_tokens, read_terms


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("杭州西湖", ["杭州", "州西", "西湖", "湖"]),
        ("湖", ["湖"]),
        ("用GPU训练", ["用", "gpu", "训练", "练"]),
        ("The Foxes", ["the", "foxes"]),
        ("GB/T 23776—2018", ["gb/t", "gb", "t", "23776-2018", "23776", "2018"]),
        ("v2.5.1", ["v2.5.1", "v", "2", "5", "1"]),
        ("ＡＢＣ１２３", ["abc123", "abc", "123"]),
        ("C++ and C#", ["c++", "c", "and", "c#", "c"]),
        ("don’t", ["don't", "don", "t"]),
        ("max_model_len", ["max_model_len", "max", "model", "len"]),
        ("ひらがな", ["ひら", "らが", "がな", "な"]),
        ("臺灣的國際颱風", ["台湾", "湾的", "的国", "国际", "际台", "台风", "风"]),
        ("，。 !?", []),
    ],
)
def test_tokens(text: str, tokens: list[str]) -> None:
    assert list(iter_tokens(text)) == tokens


@pytest.mark.parametrize(
    ("question", "tokens"),
    [
        ("西湖在哪个省？", ["西湖"]),
        ("奥运会在哪举办", ["举办", "奥运", "运会"]),
        ("GPT4的发布时间", ["4", "gpt", "gpt4", "发布", "的发"]),
        ("春运的开始和结束时间是什么时候？", ["和结", "始和", "开始", "春运", "的开", "结束", "运的"]),
        ("时间简史的作者", ["作者", "史的", "时间", "的作", "简史", "间简"]),
        ("杭州有多少人口", ["人口", "杭州"]),
        ("What is a fox?", ["a", "fox", "is"]),
        ("WHO reports", ["reports", "who"]),
        ("什么是什么", ["么是", "什么", "是什"]),
        ("fox fox fox", ["fox"]),
    ],
)
def test_a_question_keeps_what_can_be_looked_up(question: str, tokens: list[str]) -> None:
    terms = read_terms(question)
    assert sorted(terms.tokens) == tokens
    assert terms.characters == []


def test_single_characters_stand_in_when_there_is_nothing_else() -> None:
    assert read_terms("湖").characters == ["湖"]
    assert read_terms("湖 fox").characters == []


def test_a_long_question_is_cut() -> None:
    assert len(read_terms(" ".join(f"word{i}" for i in range(5000))).tokens) == MOST_TERMS


@given(st.text(max_size=200))
def test_any_text_gives_tokens_without_white_space_and_finds_itself(text: str) -> None:
    tokens = list(iter_tokens(text))
    assert all(token and not any(c.isspace() for c in token) for token in tokens)
    terms = read_terms(text)
    assert set(terms.tokens) <= set(tokens)
    assert bool(tokens) == bool(terms.tokens or terms.characters)
