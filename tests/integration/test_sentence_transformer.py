"""The bge path on a folder of its shape with random weights, against sentence-transformers itself."""

from __future__ import annotations

import json
import shutil
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes.tiny_model import build_bge_folder
from sentence_transformers import SentenceTransformer

from ingest.encoders.model_folder import CHINESE_INSTRUCTION, ENGLISH_INSTRUCTION, choose_instruction
from ingest.encoders.sentence_transformer import (
    EncoderSettings,
    SentenceTransformerEncoder,
    load_sentence_transformer,
)
from ingest.encoders.shelf import EncoderShelf
from kb.errors import Unavailable
from kb.processor import batch_by_length

TEXTS = ["今天天气很好。", "  the weather is good today ", "", "What is a knowledge base?", "模型" * 100, "word " * 90]
FLOAT32 = EncoderSettings(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bge_folder(tmp_path_factory.mktemp("models") / "bge-base-zh-v1.5")


@pytest.fixture(scope="module")
def expected(folder: Path) -> np.ndarray:
    return SentenceTransformer(str(folder), device="cpu").encode(TEXTS)


@pytest.fixture(scope="module")
def encoder(folder: Path) -> SentenceTransformerEncoder:
    return load_sentence_transformer("bge-base-zh-v1.5", folder, FLOAT32)


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 1e-2)])
def test_vectors_equal_those_of_sentence_transformers(
    folder: Path, expected: np.ndarray, dtype: str, tolerance: float
) -> None:
    encoder = load_sentence_transformer("m", folder, EncoderSettings(device="cpu", dtype=dtype, batch_tokens=80))
    scores = (encoder.embed_texts(TEXTS) * expected).sum(axis=1)
    np.testing.assert_allclose(scores, 1.0, atol=tolerance)
    if dtype == "float32":
        np.testing.assert_allclose(encoder.embed_texts(TEXTS), expected, atol=tolerance)


def test_pooling_is_by_the_first_token(folder: Path, encoder: SentenceTransformerEncoder, tmp_path: Path) -> None:
    mean = shutil.copytree(folder, tmp_path / "mean")
    (mean / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_mean_tokens": True, "pooling_mode_cls_token": False})
    )
    other = load_sentence_transformer("mean", mean, FLOAT32)
    assert other.fingerprint != encoder.fingerprint
    assert float((other.embed_texts(TEXTS[:1]) @ encoder.embed_texts(TEXTS[:1]).T)[0, 0]) < 0.99


def test_a_question_carries_the_instruction(encoder: SentenceTransformerEncoder) -> None:
    question = encoder.embed_question("天气")
    np.testing.assert_allclose(question, encoder.embed_texts([CHINESE_INSTRUCTION + "天气"]), atol=1e-6)
    assert abs(float((question @ encoder.embed_texts(["天气"]).T)[0, 0])) < 0.999


def test_max_tokens_leave_room_for_the_special_ones(encoder: SentenceTransformerEncoder) -> None:
    assert encoder.max_tokens == 62
    fits, over = "天" * 62, "天" * 62 + "人"
    assert list(encoder.count_spans(fits, [0, 62])) == [62.0]
    np.testing.assert_allclose(encoder.embed_texts([fits]), encoder.embed_texts([over]), atol=1e-6)


def test_tokens_count_for_the_span_they_start_in(encoder: SentenceTransformerEncoder) -> None:
    # "the" | "weather": one token each, the second straddles the cut at 6
    assert list(encoder.count_spans("the weather 今天", [0, 3, 6, 11, 12, 14])) == [1.0, 1.0, 0.0, 0.0, 2.0]


def test_the_fingerprint_follows_content_not_place(
    folder: Path, encoder: SentenceTransformerEncoder, tmp_path: Path
) -> None:
    moved = shutil.copytree(folder, tmp_path / "bge-base-zh-v1.5")
    assert load_sentence_transformer("moved-bge-base-zh", moved, FLOAT32).fingerprint == encoder.fingerprint
    retrained = build_bge_folder(tmp_path / "other" / "bge-base-zh-v1.5", seed=8)
    assert load_sentence_transformer("bge-base-zh-v1.5", retrained, FLOAT32).fingerprint != encoder.fingerprint


@pytest.mark.parametrize(
    ("gone", "reason"),
    [("modules.json", "modules.json"), ("model.safetensors", "weights"), ("1_Pooling/config.json", "pooling")],
)
def test_a_folder_that_would_embed_wrongly_is_refused_at_once(
    folder: Path, tmp_path: Path, gone: str, reason: str
) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / gone).unlink()
    began = time.monotonic()
    with pytest.raises(Unavailable, match=reason) as caught:
        EncoderShelf().get_encoder(str(broken))
    assert time.monotonic() - began < 20  # a hub asked over a dead network takes a minute
    assert caught.value.code == "embedding_unavailable"


def test_a_git_lfs_pointer_is_no_weights(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    (broken / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    with pytest.raises(Unavailable, match="Git LFS pointer"):
        EncoderShelf().get_encoder(str(broken))


def test_torn_weights_are_unavailable_not_a_crash(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = (folder / "model.safetensors").read_bytes()
    (broken / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    with pytest.raises(Unavailable, match="cannot be loaded"):
        EncoderShelf().get_encoder(str(broken))


@pytest.mark.parametrize("name", ["BAAI/bge-absent-model", "/no/such/folder", "", "a b"])
def test_an_absent_model_is_named_with_the_way_out(name: str) -> None:
    began = time.monotonic()
    with pytest.raises(Unavailable, match="builtin") as caught:
        EncoderShelf().get_encoder(name)
    assert time.monotonic() - began < 20  # a hub asked over a dead network takes a minute
    assert repr(name) in caught.value.detail


@pytest.mark.parametrize(
    ("name", "instruction"),
    [
        ("BAAI/bge-large-zh-v1.5", CHINESE_INSTRUCTION),
        ("BAAI/bge-small-en-v1.5", ENGLISH_INSTRUCTION),
        ("BAAI/bge-m3", ""),
        ("somebody/else", ""),
    ],
)
def test_the_instruction_is_the_family_s(tmp_path: Path, name: str, instruction: str) -> None:
    assert choose_instruction(name, tmp_path) == instruction


def test_the_folder_s_own_instruction_wins(tmp_path: Path) -> None:
    (tmp_path / "config_sentence_transformers.json").write_text(json.dumps({"prompts": {"query": "Q: "}}))
    assert choose_instruction("BAAI/bge-base-zh-v1.5", tmp_path) == "Q: "


def test_batches_are_of_like_length_within_the_budget() -> None:
    lengths = [3, 50, 4, 48, 5, 200, 1]
    batches = list(batch_by_length(lengths, 100))
    assert sorted(index for batch in batches for index in batch) == list(range(7))
    assert batches[:2] == [[5], [1, 3]]
    assert all(len(batch) == 1 or max(lengths[at] for at in batch) * len(batch) <= 100 for batch in batches)


def test_one_object_a_name_and_threads_agree(folder: Path) -> None:
    shelf = EncoderShelf(folders=[folder.parent], settings=FLOAT32)
    found: list[object] = []
    vectors: list[np.ndarray] = []

    def work() -> None:
        encoder = shelf.get_encoder(folder.name)
        found.append(encoder)
        for _ in range(5):
            vectors.append(encoder.embed_texts(TEXTS))
            encoder.count_spans("今天 weather", [0, 2, 10])

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert len({id(encoder) for encoder in found}) == 1
    for other in vectors[1:]:
        np.testing.assert_allclose(other, vectors[0], atol=1e-5)
