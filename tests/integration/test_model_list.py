"""Which models are on this machine, where they lie, and what is wrong with those that would not load."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from fakes.tiny_model import build_bert_reranker, build_bge_folder, build_m3_folder, write_json, write_pooling

from ingest.encoders.model_faults import ModelUse, find_fault
from ingest.encoders.model_list import list_models
from ingest.encoders.sentence_transformer import EncoderSettings, load_sentence_transformer
from ingest.encoders.shelf import EncoderShelf
from kb.errors import Unavailable

WEIGHTS = "model.safetensors"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_bge_folder(tmp_path_factory.mktemp("list") / "bge-base-zh-v1.5")


@pytest.fixture(scope="module")
def m3(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_m3_folder(tmp_path_factory.mktemp("list") / "bge-m3")


def test_every_place_is_listed_in_the_order_of_search(folder: Path, m3: Path, tmp_path: Path) -> None:
    models, scope, cache = tmp_path / "models", tmp_path / "scope", tmp_path / "hub"
    shutil.copytree(folder, models / "BAAI" / "bge-base-zh-v1.5")
    build_bert_reranker(models / "BAAI" / "bge-reranker-base")
    shutil.copytree(folder, models / ".pulling" / "BAAI--bge-large-zh-v1.5")
    shutil.copytree(folder, scope / "BAAI" / "bge-small-zh-v1___5")
    shutil.copytree(m3, cache / "models--BAAI--bge-m3" / "snapshots" / "abc")
    (cache / "models--BAAI--bge-m3" / "refs").mkdir()
    (cache / "models--BAAI--bge-m3" / "refs" / "main").write_text("abc")
    (cache / "models--BAAI--gone" / "refs").mkdir(parents=True)
    (cache / "models--BAAI--gone" / "refs" / "main").write_text("def")
    found = list_models([("models folder", models), ("ModelScope cache", scope)], cache)
    assert [(one.name, one.place, one.use, one.dimension, one.max_tokens, one.fault) for one in found] == [
        ("BAAI/bge-base-zh-v1.5", "models folder", ModelUse.EMBEDDING, 32, 64, None),
        ("BAAI/bge-reranker-base", "models folder", ModelUse.RERANKING, None, 64, None),
        ("BAAI/bge-small-zh-v1.5", "ModelScope cache", ModelUse.EMBEDDING, 32, 64, None),
        ("BAAI/bge-m3", "Hugging Face cache", ModelUse.EMBEDDING, 32, 96, None),
    ]
    assert found[0].bytes == (folder / WEIGHTS).stat().st_size
    assert list_models([("models folder", tmp_path / "absent")], None) == []


@pytest.mark.parametrize("build", [build_bge_folder, build_m3_folder])
def test_the_list_says_what_the_encoder_says(tmp_path: Path, build: Callable[[Path], Path]) -> None:
    made = build(tmp_path / "owner" / "model")
    (listed,) = list_models([("here", tmp_path)], None)
    encoder = load_sentence_transformer("m", made, EncoderSettings(device="cpu"))
    assert listed.dimension == encoder.dimension
    assert listed.max_tokens == encoder.max_tokens + 2


def test_a_model_saved_by_a_newer_library_is_read(folder: Path, tmp_path: Path) -> None:
    newer = shutil.copytree(folder, tmp_path / "owner" / "bge-base-zh-v1.5")
    pooling = {"embedding_dimension": 32, "pooling_mode": "cls", "include_prompt": True}
    write_json(newer / "1_Pooling" / "config.json", pooling)
    (listed,) = list_models([("here", tmp_path)], None)
    assert (listed.dimension, listed.fault) == (32, None)


def drop(name: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).unlink()


def write(name: str, content: object) -> Callable[[Path], None]:
    return lambda folder: write_json(folder / name, content)


def cut_weights(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes((folder / WEIGHTS).read_bytes()[:-7])


def make_pointer(folder: Path) -> None:
    (folder / WEIGHTS).write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n")


def fill_with_noise(folder: Path) -> None:
    (folder / WEIGHTS).write_bytes(b"\xff" * 5000)


def name_a_missing_shard(folder: Path) -> None:
    shards = {"a": WEIGHTS, "b": "model-00002-of-00002.safetensors"}
    write_json(folder / "model.safetensors.index.json", {"weight_map": shards})


def pool_by_mean(folder: Path) -> None:
    write_pooling(folder, cls=False)


def leave_unnormalised(folder: Path) -> None:
    modules = json.loads((folder / "modules.json").read_text())
    write_json(folder / "modules.json", modules[:2])


FAULTS = [
    (drop("modules.json"), "no modules.json, so that its pooling would be guessed"),
    (write("modules.json", {"not": "a list"}), "modules.json cannot be read"),
    (drop("1_Pooling/config.json"), "describes no pooling"),
    (pool_by_mean, "pools by mean, which bge models do not"),
    (write("1_Pooling/config.json", {"word_embedding_dimension": 32}), "pools by mean"),
    (write("1_Pooling/config.json", {"pooling_mode": ["cls", "max"]}), "pools by cls and max"),
    (leave_unnormalised, "names no Normalize"),
    (drop("config.json"), "no config.json"),
    (drop("vocab.txt"), "no tokenizer"),
    (drop(WEIGHTS), "holds no weights"),
    (name_a_missing_shard, "lacks a part of the weights: model-00002-of-00002.safetensors"),
    (make_pointer, "is a Git LFS pointer"),
    (cut_weights, "is cut short or damaged"),
    (fill_with_noise, "is cut short or damaged"),
]


@pytest.mark.parametrize(("spoil", "fault"), FAULTS, ids=[fault[:30] for _, fault in FAULTS])
def test_what_would_embed_wrongly_is_refused_and_listed_as_such(
    folder: Path, tmp_path: Path, spoil: Callable[[Path], None], fault: str
) -> None:
    broken = shutil.copytree(folder, tmp_path / "BAAI" / "bge-base-zh-v1.5")
    spoil(broken)
    assert fault in str(find_fault(broken))
    with pytest.raises(Unavailable, match="builtin") as caught:
        EncoderShelf(folders=[tmp_path]).get_encoder("BAAI/bge-base-zh-v1.5")
    assert caught.value.code == "embedding_unavailable"
    assert fault in caught.value.detail
    assert "`kb models pull BAAI/bge-base-zh-v1.5`" in caught.value.detail
    assert [fault in str(one.fault) for one in list_models([("here", tmp_path)], None)] in ([True], [])


def test_other_models_pool_as_they_say(folder: Path, tmp_path: Path) -> None:
    other = shutil.copytree(folder, tmp_path / "all-MiniLM")
    pool_by_mean(other)
    leave_unnormalised(other)
    assert find_fault(other) is None
