"""The reranker on folders of bge-reranker's shape with random weights, against sentence-transformers itself."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from fakes.tiny_model import build_bert_reranker, build_bge_folder, build_xlm_reranker
from sentence_transformers import CrossEncoder

from api.bootstrap.reranker import build_reranker
from kb.config import Settings
from kb.errors import Unavailable
from retrieval.rerank import LocalReranker, RerankerSettings, load_cross_encoder

ROOT = Path(__file__).resolve().parents[2]
TEXTS = ["今天天气很好。", "  the weather is good today ", "", "What is a knowledge base?", "模型" * 100, "word " * 90]
QUESTIONS = ["今天天气好吗", "what is a knowledge base", "问题" * 80, "what is the weather " * 20]


@pytest.fixture(scope="module", params=[build_bert_reranker, build_xlm_reranker], ids=["bert", "xlm-roberta"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return request.param(tmp_path_factory.mktemp("models") / "bge-reranker-base")


@pytest.mark.parametrize("question", QUESTIONS)
@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 1e-3), ("bfloat16", 1e-2)])
def test_scores_equal_those_of_sentence_transformers(folder: Path, question: str, dtype: str, tolerance: float) -> None:
    expected = CrossEncoder(str(folder), device="cpu").predict([(question, text) for text in TEXTS])
    model = load_cross_encoder("m", folder, RerankerSettings(device="cpu", dtype=dtype, batch_tokens=100))
    scores = model.score_texts(question, TEXTS)
    np.testing.assert_allclose(scores, expected, atol=tolerance)
    assert ((scores > 0) & (scores < 1)).all()
    assert np.ptp(scores) > 0.05  # the weights are random, not zero


def test_a_model_whose_numbers_are_none_is_unavailable(folder: Path, tmp_path: Path) -> None:
    broken = LocalReranker("m", lambda name: break_weights(folder, tmp_path / "broken"), RerankerSettings(device="cpu"))
    with pytest.raises(Unavailable, match="no numbers") as caught:
        broken.score_texts("天气", TEXTS)
    assert caught.value.code == "reranker_unavailable"
    assert TEXTS[0] not in caught.value.detail


def break_weights(folder: Path, copy: Path) -> Path:
    """The same model with a last layer that is no number."""
    from safetensors.torch import load_file, save_file

    shutil.copytree(folder, copy)
    weights = load_file(copy / "model.safetensors")
    name = next(name for name in weights if name.startswith("classifier") and name.endswith("bias"))
    weights[name] = weights[name] * float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    return copy


def refuse(folder: Path | str) -> str:
    with pytest.raises(Unavailable) as caught:
        LocalReranker(str(folder), Path).score_texts("天气", TEXTS)
    assert caught.value.code == "reranker_unavailable"
    assert repr(str(folder)) in caught.value.detail
    return caught.value.detail


def test_a_folder_that_would_score_wrongly_is_refused(folder: Path, tmp_path: Path) -> None:
    assert "holds no weights" in refuse(copy_without(folder, tmp_path / "a", "model.safetensors"))
    assert "config.json cannot be read" in refuse(copy_without(folder, tmp_path / "b", "config.json"))
    pointer = copy_without(folder, tmp_path / "c", "model.safetensors")
    (pointer / "model.safetensors").write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")
    assert "Git LFS pointer" in refuse(pointer)
    torn = shutil.copytree(folder, tmp_path / "d")
    weights = (folder / "model.safetensors").read_bytes()
    (torn / "model.safetensors").write_bytes(weights[: len(weights) // 2])
    assert "is cut short or damaged" in refuse(torn)


def copy_without(folder: Path, copy: Path, name: str) -> Path:
    shutil.copytree(folder, copy)
    (copy / name).unlink()
    return copy


def test_what_is_no_reranker_is_refused_by_its_shape(tmp_path: Path) -> None:
    """transformers would give an embedding model a head of random numbers."""
    assert "of the architecture BertModel" in refuse(build_bge_folder(tmp_path / "bge-small-zh-v1.5"))
    assert "with 3 labels" in refuse(build_bert_reranker(tmp_path / "three", labels=3))
    odd = build_bert_reranker(tmp_path / "odd")
    for config in ([], {}, {"architectures": "x"}, {"architectures": []}):
        (odd / "config.json").write_text(json.dumps(config))
        assert "architecture" in refuse(odd)


@pytest.mark.parametrize("name", ["BAAI/bge-absent-reranker", "/no/such/folder", "a b"])
def test_an_absent_model_is_named_with_the_way_out(name: str) -> None:
    reranker = build_reranker(Settings(reranker=name))
    assert reranker is not None
    began = time.monotonic()
    with pytest.raises(Unavailable, match="KB_RERANKER") as caught:
        reranker.score_texts("天气", TEXTS)
    assert time.monotonic() - began < 50  # a hub asked over a dead network takes a minute
    assert repr(name) in caught.value.detail


def test_a_model_that_comes_later_is_found(folder: Path, tmp_path: Path) -> None:
    late = tmp_path / "late"
    reranker = LocalReranker(str(late), Path, RerankerSettings(device="cpu"))
    with pytest.raises(Unavailable):
        reranker.score_texts("天气", TEXTS)
    shutil.copytree(folder, late)
    assert len(reranker.score_texts("天气", TEXTS)) == len(TEXTS)


def test_threads_load_it_once(folder: Path) -> None:
    found: list[str] = []

    def find_folder(name: str) -> Path:
        found.append(name)
        return folder

    reranker = LocalReranker("m", find_folder, RerankerSettings(device="cpu", dtype="float32"))
    scores: list[np.ndarray] = []
    threads = [
        threading.Thread(target=lambda: scores.append(reranker.score_texts(QUESTIONS[0], TEXTS))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == ["m"]
    assert len(scores) == 4
    for other in scores[1:]:
        np.testing.assert_allclose(other, scores[0], atol=1e-5)


def test_torch_is_imported_by_the_first_question_alone() -> None:
    """And not by a question to a model that is not there."""
    told = """
import sys
from api.bootstrap.reranker import build_reranker
from kb.config import Settings
from kb.errors import Unavailable
try:
    build_reranker(Settings(reranker="BAAI/bge-absent-reranker")).score_texts("a", ["b"])
except Unavailable:
    print("torch" in sys.modules, "httpx" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split()[0] == "False"
