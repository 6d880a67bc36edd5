"""One vLLM for all tests here: it takes a minute to start."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.tiny_qwen import build_qwen_folder
from fakes.vllm_server import ABSENT, ENVIRONMENT, WINDOW, VllmServer, find_source


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
