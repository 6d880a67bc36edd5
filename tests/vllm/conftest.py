"""One vLLM for all tests here: it takes a minute to start."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.server import Server
from fakes.tiny_qwen import build_qwen_folder
from fakes.vllm_server import ABSENT, ENVIRONMENT, KEY, WINDOW, VllmServer, find_source

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
    # A figure is a token: the estimate takes this for a quarter of what it costs, and the server's count corrects it.
    "readings.csv": b"time,value\n" + b"\n".join(b"%d,%d.%06d" % (20_250_000 + n, n, n * 7) for n in range(2_000)),
}


@pytest.fixture(scope="session")
def qwen(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ENVIRONMENT / "installed").exists():
        pytest.skip(ABSENT)
    return build_qwen_folder(tmp_path_factory.mktemp("vllm") / "qwen", find_source())


@pytest.fixture(scope="session")
def vllm(qwen: Path) -> Iterator[VllmServer]:
    options = ["--window", str(WINDOW), "--tools"]
    with VllmServer(qwen, *options) as server:
        yield server


@pytest.fixture(scope="session")
def store(vllm: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store with one knowledge base, `k`. Nobody serves it; a store serves one server at a time."""
    folder = tmp_path_factory.mktemp("filled") / "store"
    with Server(folder) as server:
        client = server.open_client("k")
        client.create()
        client.upload(FILES)
        client.wait_until_idle()
        server.stop()
    return folder


@pytest.fixture(scope="session")
def server(vllm: VllmServer, store: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Ours over vLLM, on a copy of the store: one for all tests that only ask it."""
    settings = {"llm_base_url": vllm.url, "llm_model": vllm.name, "llm_api_key": KEY, "workers": 0}
    with Server(shutil.copytree(store, tmp_path_factory.mktemp("served") / "store"), **settings) as server:
        yield server
        assert KEY not in server.read_log()
