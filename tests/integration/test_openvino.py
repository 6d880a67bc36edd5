"""The transformer computed by OpenVINO: the vectors of sentence-transformers, and a clear error where it is missing."""

from __future__ import annotations

import importlib.util
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from fakes.tiny_model import build_bge_folder, build_m3_folder
from sentence_transformers import SentenceTransformer

from ingest.encoders.sentence_transformer import EncoderSettings, load_sentence_transformer
from kb.errors import Unavailable

TEXTS = ["今天天气很好。", "  the weather is good today ", "", "What is a knowledge base?", "模型" * 100, "word " * 90]
HERE = importlib.util.find_spec("openvino") is not None
needs_openvino = pytest.mark.skipif(not HERE, reason="openvino is not installed")


@needs_openvino
@pytest.mark.filterwarnings("ignore")  # of its tracing
@pytest.mark.parametrize(("name", "build"), [("bge-base-zh-v1.5", build_bge_folder), ("bge-m3", build_m3_folder)])
@pytest.mark.parametrize(("dtype", "tolerance", "least"), [("float32", 1e-3, 1 - 1e-5), ("bfloat16", 1e-2, 0.999)])
def test_vectors_equal_those_of_sentence_transformers(
    tmp_path: Path, name: str, build: Callable[[Path], Path], dtype: str, tolerance: float, least: float
) -> None:
    folder = build(tmp_path / name)
    expected = SentenceTransformer(str(folder), device="cpu").encode(TEXTS, normalize_embeddings=True)
    torch = load_sentence_transformer(name, folder, EncoderSettings(device="cpu"))
    encoder = load_sentence_transformer(name, folder, EncoderSettings(backend="openvino", dtype=dtype))
    found: list[np.ndarray] = []
    threads = [threading.Thread(target=lambda: found.append(encoder.embed_texts(TEXTS))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for vectors in found:
        assert (vectors * expected).sum(axis=1).min() >= least
        np.testing.assert_allclose(vectors, expected, atol=tolerance)
    assert len(found) == 4
    assert (encoder.fingerprint, encoder.dimension, encoder.max_tokens) == (
        torch.fingerprint, torch.dimension, torch.max_tokens,
    )  # fmt: skip


@pytest.mark.skipif(HERE, reason="openvino is installed")
def test_without_the_extra_it_is_named(tmp_path: Path) -> None:
    folder = build_bge_folder(tmp_path / "bge-base-zh-v1.5")
    with pytest.raises(Unavailable, match=r"kb-server\[bge,openvino\]") as caught:
        load_sentence_transformer("m", folder, EncoderSettings(backend="openvino"))
    assert caught.value.code == "embedding_unavailable"
