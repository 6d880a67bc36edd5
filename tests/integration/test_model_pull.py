"""Pulling a model from a hub: a real HTTP server that speaks as Hugging Face and ModelScope do, and its faults."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner, Result
from fakes.local_server import KB, LocalServer
from fakes.model_hub import MODEL, ModelHub, serve_models
from fakes.tiny_model import build_bert_reranker, build_bge_folder, write_pooling

from api.cli.main import kb
from ingest.encoders.hub_client import ATTEMPTS, HubClient
from ingest.encoders.hubs import Hub, HuggingFace, ModelScope
from ingest.encoders.model_folder import find_model_folder
from ingest.encoders.pulling import PulledModel, check_space, hold_model, place_model, plan_pull, pull_model
from ingest.encoders.sentence_transformer import EncoderSettings, load_sentence_transformer
from kb.errors import Conflict, InvalidInput, KbError, NotFound, Unavailable

HUBS = ["huggingface", "modelscope"]
WEIGHTS = "model.safetensors"
NEEDED = {
    "1_Pooling/config.json", "LICENSE", "config.json", "config_sentence_transformers.json", WEIGHTS, "modules.json",
    "sentence_bert_config.json", "tokenizer_config.json", "vocab.txt",
}  # fmt: skip
FLOAT32 = EncoderSettings(device="cpu", dtype="float32")


@pytest.fixture(scope="module")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model as hubs have it: its weights three times over, with pictures and a readme."""
    folder = build_bge_folder(tmp_path_factory.mktemp("hub") / "bge-small-zh-v1.5")
    (folder / "onnx").mkdir()
    for extra in ("pytorch_model.bin", "onnx/model.onnx", "README.md", ".gitattributes", "LICENSE", "train.py"):
        (folder / extra).write_text(f"not a word of {extra}", encoding="utf-8")
    (folder / "configuration.json").write_text('{"framework": "pytorch"}')
    return folder


@pytest.fixture
def hub(published: Path, tmp_path: Path) -> Iterator[ModelHub]:
    with serve_models(shutil.copytree(published, tmp_path / "published")) as served:
        yield served


@pytest.fixture
def models(tmp_path: Path) -> Path:
    return tmp_path / "models"


def name_hub(kind: str, url: str) -> Hub:
    return ModelScope(endpoint=url) if kind == "modelscope" else HuggingFace(endpoint=url)


def pull(hub: ModelHub, models: Path, kind: str = "huggingface", waits: list[float] | None = None) -> PulledModel:
    client = HubClient(name_hub(kind, hub.url), sleep=([] if waits is None else waits).append)
    try:
        with hold_model(models, MODEL) as staging:
            plan = plan_pull(client, MODEL)
            seen: list[int] = []
            pulled = pull_model(client, plan, staging, place_model(models, MODEL), seen.append)
            assert sum(seen) == plan.total == pulled.bytes
            return pulled
    finally:
        client.close()


def run_kb(*words: str, **settings: object) -> Result:
    clean = {name: None for name in os.environ if name.startswith(("KB_", "HF_", "MODELSCOPE_"))}
    return CliRunner().invoke(
        kb, ["models", *words], env=clean | {name: str(value) for name, value in settings.items()}
    )


# -- what arrives -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HUBS)
def test_what_is_needed_arrives_and_nothing_else(hub: ModelHub, models: Path, published: Path, kind: str) -> None:
    pulled = pull(hub, models, kind)
    assert pulled.folder == models / MODEL == find_model_folder(MODEL, [models])
    assert {str(path.relative_to(pulled.folder)) for path in pulled.folder.rglob("*") if path.is_file()} == NEEDED
    assert hub.fetched == NEEDED
    assert all((pulled.folder / path).read_bytes() == (published / path).read_bytes() for path in NEEDED)
    assert not list((models / ".pulling").glob("*/*"))


def test_both_hubs_give_the_same_encoder(hub: ModelHub, models: Path) -> None:
    texts = ["今天天气很好。", "what is a knowledge base?"]
    encoders = [load_sentence_transformer(MODEL, pull(hub, models / kind, kind).folder, FLOAT32) for kind in HUBS]
    encoders.append(load_sentence_transformer(MODEL, hub.folder, FLOAT32))
    first, *others = [encoder.embed_texts(texts) for encoder in encoders]
    for other in others:
        np.testing.assert_array_equal(other, first)
    assert len({encoder.fingerprint for encoder in encoders}) == 1


def test_weights_are_taken_as_bin_where_there_is_nothing_else(hub: ModelHub, models: Path) -> None:
    import torch
    from safetensors.torch import load_file

    torch.save(load_file(hub.folder / WEIGHTS), hub.folder / "pytorch_model.bin")
    whole = load_sentence_transformer(MODEL, shutil.copytree(hub.folder, models / "whole"), FLOAT32)
    (hub.folder / WEIGHTS).unlink()
    pulled = load_sentence_transformer(MODEL, pull(hub, models).folder, FLOAT32)
    np.testing.assert_allclose(pulled.embed_texts(["天气"]), whole.embed_texts(["天气"]), atol=1e-6)
    assert "pytorch_model.bin" in hub.fetched


def test_a_reranker_needs_no_pooling(models: Path, tmp_path: Path) -> None:
    with serve_models(build_bert_reranker(tmp_path / "reranker")) as hub:
        assert (pull(hub, models).folder / WEIGHTS).is_file()


# -- transfers that break off -------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HUBS)
def test_a_transfer_that_breaks_off_goes_on_where_it_was(hub: ModelHub, models: Path, kind: str) -> None:
    hub.cuts = [1000, 0, 5000]
    waits: list[float] = []
    pulled = pull(hub, models, kind, waits)
    asked = [part for path, part in hub.requests if path == f"file:{WEIGHTS}"]
    assert asked == [None, "bytes=1000-", "bytes=1000-", "bytes=6000-"]
    assert waits == [0.5, 1.0, 0.5]
    assert (pulled.folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()


def test_the_next_pull_goes_on_where_the_last_one_ended(hub: ModelHub, models: Path) -> None:
    hub.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(Unavailable, match="pull again to go on") as caught:
        pull(hub, models)
    assert caught.value.code == "hub_failed"
    assert not (models / MODEL).exists()
    hub.requests.clear()
    pull(hub, models)
    assert [(path, part) for path, part in hub.requests if path != "file:modules.json"] == [
        (f"file:{WEIGHTS}", "bytes=1000-")
    ]


def test_a_hub_that_knows_no_ranges_sends_all_of_it_again(hub: ModelHub, models: Path) -> None:
    hub.cuts, hub.ranges = [1000], False
    pulled = pull(hub, models)
    assert (pulled.folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()


def test_the_rest_of_another_version_is_not_gone_on_with(hub: ModelHub, models: Path) -> None:
    hub.cuts = [1000] + [0] * ATTEMPTS
    with pytest.raises(Unavailable):
        pull(hub, models)
    build_bge_folder(hub.folder, seed=9)
    (hub.folder / "LICENSE").unlink()
    pulled = pull(hub, models)
    assert (pulled.folder / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert not (pulled.folder / "LICENSE").exists()


@pytest.mark.parametrize("spoilt", [WEIGHTS, "vocab.txt"])
@pytest.mark.parametrize("kind", HUBS)
def test_other_bytes_than_announced_are_not_taken(hub: ModelHub, models: Path, kind: str, spoilt: str) -> None:
    hub.spoilt = spoilt
    with pytest.raises(Unavailable, match="other bytes") as caught:
        pull(hub, models, kind)
    assert caught.value.code == "hub_failed"
    assert not (models / MODEL).exists()
    hub.spoilt = None
    assert pull(hub, models, kind).folder.is_dir()


# -- models that would not do -------------------------------------------------------------------------------------


def pool_by_mean(folder: Path) -> None:
    write_pooling(folder, cls=False)


def drop_modules(folder: Path) -> None:
    (folder / "modules.json").unlink()


def drop_vocabulary(folder: Path) -> None:
    (folder / "vocab.txt").unlink()


@pytest.mark.parametrize(
    ("spoil", "reason"),
    [(pool_by_mean, "pools by mean"), (drop_modules, "no modules.json"), (drop_vocabulary, "no tokenizer")],
)
def test_a_model_that_would_be_refused_is_refused_before_its_weights(
    hub: ModelHub, models: Path, spoil, reason: str
) -> None:
    spoil(hub.folder)
    with pytest.raises(Unavailable, match=reason) as caught:
        pull(hub, models)
    assert caught.value.code == "model_unusable"
    assert WEIGHTS not in hub.fetched
    assert not (models / MODEL).exists()


def test_torn_weights_are_not_moved_into_place(hub: ModelHub, models: Path) -> None:
    (hub.folder / WEIGHTS).write_bytes((hub.folder / WEIGHTS).read_bytes()[:-1])
    with pytest.raises(Unavailable, match="cut short") as caught:
        pull(hub, models)
    assert caught.value.code == "model_unusable"
    assert not (models / MODEL).exists()


@pytest.mark.parametrize("path", ["../outside.json", "/tmp/outside.json", "a\\..\\b.json", "1_Pooling/../../x.json"])
@pytest.mark.parametrize("kind", HUBS)
def test_a_hub_does_not_choose_where_we_write(hub: ModelHub, models: Path, kind: str, path: str) -> None:
    hub.announced = {"config.json": path}
    with pytest.raises(Unavailable, match="did not list the files") as caught:
        pull(hub, models, kind)
    assert caught.value.code == "hub_failed"
    assert not hub.fetched


@pytest.mark.parametrize("name", ["bge", "../etc/passwd", "a/b/c", "BAAI/..", "/models/bge", ""])
def test_only_a_hub_s_names_are_taken(models: Path, name: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        place_model(models, name)
    assert caught.value.code == "bad_model_name"


def test_one_pull_of_a_model_at_a_time(models: Path) -> None:
    with hold_model(models, MODEL), pytest.raises(Conflict) as caught, hold_model(models, MODEL):
        pass
    assert caught.value.code == "pull_running"
    with hold_model(models, MODEL), hold_model(models, "BAAI/another"):
        pass


def test_a_disk_without_room_is_said_before_the_transfer(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="KB_MODELS_DIR") as caught:
        check_space(tmp_path, 1 << 60)
    assert caught.value.code == "disk_full"


# -- the command --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", HUBS)
def test_pulling_from_the_command_line_and_using_it(hub: ModelHub, tmp_path: Path, kind: str) -> None:
    variable = "HF_ENDPOINT" if kind == "huggingface" else "MODELSCOPE_ENDPOINT"
    settings = {variable: hub.url, "KB_DATA_DIR": tmp_path / "data", "KB_MODEL_HUB": kind}
    done = run_kb("pull", MODEL, **settings)
    folder = tmp_path / "data" / "models" / MODEL
    assert (done.exit_code, done.stdout) == (0, f"{folder}\n")
    assert f"KB_EMBEDDING={MODEL}" in done.stderr
    assert (tmp_path / "data").stat().st_mode & 0o777 == 0o700
    listed = [json.loads(line) for line in run_kb("list", "--json", **settings).stdout.splitlines()]
    (model,) = [found for found in listed if found["place"] == "models folder"]
    assert (model["name"], model["dimension"], model["max_tokens"], model["usable"]) == (MODEL, 32, 64, True)
    server = LocalServer(tmp_path / "data")
    try:
        made = server.request("POST", KB, json={"name": "k", "embedding_model": MODEL})
        assert (made.status_code, made.json()["embedding_model"]) == (201, MODEL)
    finally:
        server.close()


def test_a_model_that_is_here_is_not_pulled_again_unless_told(hub: ModelHub, models: Path) -> None:
    settings = {"HF_ENDPOINT": hub.url, "KB_MODELS_DIR": models}
    assert run_kb("pull", MODEL, **settings).exit_code == 0
    hub.requests.clear()
    again = run_kb("pull", MODEL, "--json", **settings)
    assert json.loads(again.stdout) == {"name": MODEL, "folder": str(models / MODEL), "files": 0, "bytes": 0}
    assert not hub.requests
    build_bge_folder(hub.folder, seed=9)
    assert run_kb("pull", MODEL, "--again", **settings).exit_code == 0
    assert (models / MODEL / WEIGHTS).read_bytes() == (hub.folder / WEIGHTS).read_bytes()
    assert [path.name for path in (models / ".pulling").iterdir()] == ["BAAI--bge-small-zh-v1.5.lock"]


def test_the_option_beats_the_setting(hub: ModelHub, models: Path) -> None:
    settings = {"MODELSCOPE_ENDPOINT": hub.url, "HF_ENDPOINT": "http://127.0.0.1:1", "KB_MODELS_DIR": models}
    assert run_kb("pull", MODEL, "--hub", "modelscope", **settings).exit_code == 0


def test_a_token_is_sent_to_hugging_face_alone(hub: ModelHub, models: Path) -> None:
    settings = {"MODELSCOPE_ENDPOINT": hub.url, "HF_ENDPOINT": hub.url, "HF_TOKEN": "hf_secret"}
    assert run_kb("pull", MODEL, **settings, KB_MODELS_DIR=models / "a").exit_code == 0
    assert set(hub.tokens) == {"Bearer hf_secret"}
    hub.tokens.clear()
    assert run_kb("pull", MODEL, "--hub", "modelscope", **settings, KB_MODELS_DIR=models / "b").exit_code == 0
    assert set(hub.tokens) == {None}


@pytest.mark.parametrize("word", ["1", "true", "ON"])
def test_hugging_face_is_not_asked_while_it_is_said_to_be_offline(hub: ModelHub, models: Path, word: str) -> None:
    settings = {"HF_ENDPOINT": hub.url, "MODELSCOPE_ENDPOINT": hub.url, "KB_MODELS_DIR": models}
    done = run_kb("pull", MODEL, HF_HUB_OFFLINE=word, **settings)
    assert (done.exit_code, done.stdout, hub.requests) == (3, "", [])
    assert done.stderr.startswith(f"hub_unreachable: HF_HUB_OFFLINE={word} says not to ask Hugging Face")
    assert run_kb("pull", MODEL, "--hub", "modelscope", HF_HUB_OFFLINE=word, **settings).exit_code == 0
    assert run_kb("pull", MODEL, "--again", HF_HUB_OFFLINE="0", **settings).exit_code == 0


@pytest.mark.parametrize("kind", HUBS)
def test_a_hub_that_cannot_be_reached_is_said_at_once(models: Path, kind: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        began = time.monotonic()
        done = run_kb("pull", MODEL, HF_ENDPOINT=url, MODELSCOPE_ENDPOINT=url, KB_MODEL_HUB=kind, KB_MODELS_DIR=models)
    assert time.monotonic() - began < 20  # the hubs' own clients try for 22 to 70 s
    assert (done.exit_code, done.stdout) == (3, "")
    variable = "HF_ENDPOINT" if kind == "huggingface" else "MODELSCOPE_ENDPOINT"
    assert done.stderr.startswith(f"hub_unreachable: the model hub {url} cannot be reached")
    assert variable in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize(
    ("name", "statuses", "code", "exit_code"),
    [
        ("BAAI/absent", [], "model_not_found", 4),
        (MODEL, [401], "model_not_found", 4),
        (MODEL, [503], "hub_failed", 5),
        (MODEL, [200], "hub_failed", 5),
        (MODEL, [418], "hub_failed", 5),
        ("no-owner", [], "bad_model_name", 2),
    ],
)
@pytest.mark.parametrize("kind", HUBS)
def test_what_the_hub_says_becomes_one_line(
    hub: ModelHub, models: Path, kind: str, name: str, statuses: list[int], code: str, exit_code: int
) -> None:
    hub.statuses = list(statuses)
    done = run_kb(
        "pull", name, HF_ENDPOINT=hub.url, MODELSCOPE_ENDPOINT=hub.url, KB_MODEL_HUB=kind, KB_MODELS_DIR=models
    )
    assert (done.exit_code, done.stdout) == (exit_code, "")
    assert done.stderr.startswith(f"{code}: ")
    assert done.stderr.count("\n") == 1


def test_a_file_that_is_gone_is_named(hub: ModelHub, models: Path) -> None:
    client = HubClient(HuggingFace(endpoint=hub.url))
    plan = plan_pull(client, MODEL)
    hub.statuses = [404]
    with hold_model(models, MODEL) as staging, pytest.raises(NotFound, match="resolve") as caught:
        pull_model(client, plan, staging, models / MODEL, lambda _: None)
    client.close()
    assert isinstance(caught.value, KbError)


def test_no_model_library_is_imported(hub: ModelHub, models: Path) -> None:
    code = (
        "import sys\nfrom api.cli.main import kb\n"
        f"kb(['models', 'pull', '{MODEL}'], standalone_mode=False)\nkb(['models', 'list'], standalone_mode=False)\n"
        "print(sorted({'torch', 'transformers', 'sentence_transformers'} & set(sys.modules)))"
    )
    env = os.environ | {"HF_ENDPOINT": hub.url, "KB_MODELS_DIR": str(models)}
    done = subprocess.run([sys.executable, "-c", code], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
