"""The bge path on a folder of its shape with random weights, against sentence-transformers itself."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest
from fakes.tiny_model import build_bge_folder, build_m3_folder
from safetensors.numpy import load_file, save_file
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
def encoder(folder: Path) -> SentenceTransformerEncoder:
    return load_sentence_transformer("bge-base-zh-v1.5", folder, FLOAT32)


@dataclass(frozen=True, kw_only=True, slots=True)
class Family:
    """A bge-shaped model and what sentence-transformers must be given as prompt for its questions."""

    name: str
    build: Callable[..., Path]
    prompt: str
    shape: Mapping[str, int] = field(default_factory=dict)


WIDE = {"hidden_size": 48, "num_hidden_layers": 3, "num_attention_heads": 6, "intermediate_size": 96}
FAMILIES = [
    Family(name="BAAI/bge-small-zh-v1.5", build=build_bge_folder, prompt=CHINESE_INSTRUCTION),
    Family(name="BAAI/bge-base-zh-v1.5", build=build_bge_folder, prompt=CHINESE_INSTRUCTION, shape=WIDE),
    Family(name="BAAI/bge-large-en-v1.5", build=build_bge_folder, prompt=ENGLISH_INSTRUCTION, shape=WIDE),
    Family(name="BAAI/bge-small-en-v1.5", build=build_bge_folder, prompt=ENGLISH_INSTRUCTION),
    Family(name="BAAI/bge-m3", build=build_m3_folder, prompt=""),
]
QUESTIONS = ["今天天气怎么样？", "what is a knowledge base", " 模型 model "]


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.name)
@pytest.mark.parametrize(("dtype", "tolerance", "least"), [("float32", 1e-3, 1 - 1e-5), ("bfloat16", 1e-2, 0.999)])
def test_vectors_equal_those_of_sentence_transformers(
    tmp_path: Path, family: Family, dtype: str, tolerance: float, least: float
) -> None:
    folder = family.build(tmp_path / family.name, longest=80, **family.shape)
    reference = SentenceTransformer(str(folder), device="cpu")
    encoder = load_sentence_transformer(
        family.name, folder, EncoderSettings(dtype=dtype, batch_tokens=100, device="cpu")
    )
    texts = reference.encode(TEXTS, normalize_embeddings=True)
    questions = reference.encode(QUESTIONS, prompt=family.prompt, normalize_embeddings=True)
    found = np.concatenate([encoder.embed_question(question) for question in QUESTIONS])
    for ours, theirs in ((encoder.embed_texts(TEXTS), texts), (found, questions)):
        assert (ours * theirs).sum(axis=1).min() >= least
        np.testing.assert_allclose(ours, theirs, atol=tolerance)
    plain = reference.encode(QUESTIONS, normalize_embeddings=True)
    assert ((found * plain).sum(axis=1) > 0.999).all() == (family.prompt == "")


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


def test_weights_that_are_no_numbers_are_refused_when_loaded(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    weights = load_file(broken / "model.safetensors")
    name = next(name for name in weights if name.endswith("layer.1.output.dense.weight"))
    save_file({**weights, name: np.full_like(weights[name], np.nan)}, broken / "model.safetensors")
    with pytest.raises(Unavailable, match="no numbers") as caught:
        EncoderShelf().get_encoder(str(broken))
    assert caught.value.code == "embedding_unavailable"


def rename_tensors(folder: Path, change: Callable[[str], str]) -> Path:
    weights = load_file(folder / "model.safetensors")
    save_file({change(name): tensor for name, tensor in weights.items()}, folder / "model.safetensors")
    return folder


def test_a_model_that_would_be_filled_with_random_numbers_is_refused(folder: Path, tmp_path: Path) -> None:
    broken = rename_tensors(
        shutil.copytree(folder, tmp_path / "broken"), lambda name: name.replace("layer.1", "layer.2")
    )
    with pytest.raises(Unavailable, match=r"lack 16 tensors, encoder\.layer\.1"):
        EncoderShelf().get_encoder(str(broken))


def test_tensors_may_be_called_as_in_older_checkpoints(folder: Path, tmp_path: Path) -> None:
    older = rename_tensors(shutil.copytree(folder, tmp_path / "a"), lambda name: f"bert.{name}")
    rename_tensors(older, lambda name: name.replace("LayerNorm.weight", "LayerNorm.gamma"))
    vectors = [load_sentence_transformer("m", path, FLOAT32).embed_texts(TEXTS) for path in (older, folder)]
    np.testing.assert_array_equal(*vectors)


def test_weights_of_another_shape_are_unavailable_not_a_crash(folder: Path, tmp_path: Path) -> None:
    broken = shutil.copytree(folder, tmp_path / "broken")
    other = build_bge_folder(tmp_path / "other", **WIDE)
    shutil.copy(other / "model.safetensors", broken)
    with pytest.raises(Unavailable, match="cannot be loaded"):
        EncoderShelf().get_encoder(str(broken))


@pytest.mark.parametrize("name", ["BAAI/bge-base-zh-v1.5", "/no/such/folder", "bge"])
def test_an_absent_model_is_said_within_two_seconds_of_work(name: str, tmp_path: Path) -> None:
    """In a process of its own, as `kb serve` is: what has to be imported to know it counts."""
    code = (
        "import sys, time\nfrom ingest.encoders.shelf import EncoderShelf\n"
        "try:\n    EncoderShelf().get_encoder(sys.argv[1])\nexcept Exception as error:\n    print(error)\n"
        "print(time.process_time())\nprint('torch' in sys.modules)"
    )
    env = os.environ | {"HF_HOME": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", code, name], env=env, capture_output=True, text=True, check=True)
    error, spent, torch = done.stdout.splitlines()
    assert error.startswith("embedding_unavailable: ")
    assert ("`kb models pull BAAI/bge-base-zh-v1.5`" in error) == ("/bge" in name)
    assert float(spent) < 2
    assert torch == "False"


@pytest.mark.parametrize("name", ["BAAI/bge-absent-model", "/no/such/folder", "", "a b"])
def test_an_absent_model_is_named_with_the_way_out(name: str) -> None:
    with pytest.raises(Unavailable, match="builtin") as caught:
        EncoderShelf().get_encoder(name)
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
