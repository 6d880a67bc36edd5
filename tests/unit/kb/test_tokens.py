"""The token estimate: 0.65 a Han character, 0.25 any other, and additive."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.tokens import estimate_tokens


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", 0),
        ("abcd", 1),
        ("知识库", 1.95),
        ("知识 base", 2.55),
        ("，。", 0.5),
        ("㐀豈", 1.3),
        ("ひら", 0.5),
        ("😀", 0.25),
    ],
)
def test_values(text: str, tokens: float) -> None:
    assert estimate_tokens(text) == pytest.approx(tokens)


@given(st.text(), st.text())
def test_it_is_additive(first: str, second: str) -> None:
    assert estimate_tokens(first + second) == pytest.approx(estimate_tokens(first) + estimate_tokens(second))
