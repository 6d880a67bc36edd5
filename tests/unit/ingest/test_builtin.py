"""The encoder without a model: values a person can check."""

from __future__ import annotations

import hashlib
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.encoders.builtin import BuiltinEncoder
from kb.tokens import estimate_tokens

ENCODER = BuiltinEncoder()


def score(one: str, other: str) -> float:
    first, second = ENCODER.embed_texts([one, other])
    return float(first @ second)


@given(st.text(max_size=60), st.data())
def test_span_counts_equal_the_estimate(text: str, data: st.DataObject) -> None:
    cuts = sorted({0, len(text), *data.draw(st.lists(st.integers(0, len(text)), max_size=5))})
    expected = [estimate_tokens(text[first:last]) for first, last in pairwise(cuts)]
    assert list(ENCODER.count_spans(text, cuts)) == expected


@given(st.lists(st.text(max_size=40), max_size=6))
def test_a_vector_never_depends_on_its_batch(texts: list[str]) -> None:
    batch = ENCODER.embed_texts(texts)
    for row, text in zip(batch, texts, strict=True):
        np.testing.assert_array_equal(row, ENCODER.embed_texts([text])[0])


def test_vectors_are_the_same_in_every_process() -> None:
    vectors = ENCODER.embed_texts(["知识库 knowledge bases"])
    slots = np.flatnonzero(vectors[0]).astype("<u2").tobytes()
    assert hashlib.sha256(slots).hexdigest()[:16] == "c1b4724a2907b3d9"


@pytest.mark.parametrize(
    ("one", "other", "least"),
    [
        ("ＡＢＣ１２３ model", "abc123 MODEL", 0.999),
        ("walking models", "walked model", 0.5),
        ("questions", "question", 0.5),
    ],
)
def test_forms_of_a_word_are_near(one: str, other: str, least: float) -> None:
    assert score(one, other) >= least


def test_shared_han_pairs_count_more_than_shared_characters() -> None:
    assert score("人民银行", "人民法院") > score("人民银行", "民人行银") > score("人民银行", "天地玄黄")


def test_a_text_without_features_has_the_fixed_vector() -> None:
    expected = np.eye(1, 512, dtype=np.float32)
    for text in ("", "。，！", "\u200b"):
        np.testing.assert_array_equal(ENCODER.embed_texts([text]), expected)


def test_repeating_a_word_changes_little() -> None:
    assert score("知识库 search", "知识库 search search search") > 0.8


def test_many_texts_are_sliced_without_a_seam() -> None:
    texts = [f"第{number}段 paragraph number {number} " * 200 for number in range(120)]
    vectors = ENCODER.embed_texts(texts)
    for index in (0, 59, 60, 119):
        np.testing.assert_array_equal(vectors[index], ENCODER.embed_texts([texts[index]])[0])
