"""`kb llm serve` and `kb doctor` with a real vLLM."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from fakes.server import run_command
from fakes.vllm_server import KEY, VllmServer

from api.bootstrap.checkup import HELLO
from kb.errors import Unavailable
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatServer


@pytest.fixture(scope="module")
def stretched(qwen: Path, vllm: VllmServer) -> Iterator[VllmServer]:
    """A second one, started when the first is up: two at once would wait for each other's processor."""
    with VllmServer(qwen, "--yarn", name="stretched") as server:
        yield server


def examine(tmp_path: Path, vllm: VllmServer, **settings: object) -> tuple[int, dict[str, dict[str, str]]]:
    given = {"llm_base_url": vllm.url, "llm_model": vllm.name, "llm_api_key": KEY, "url": "http://127.0.0.1:1"}
    ended = run_command(tmp_path / "store", "doctor", "--json", **given | settings)
    assert KEY not in ended.out + ended.err
    return ended.code, {step["name"]: step for step in json.loads(ended.out)["steps"]}


def test_the_doctor_finds_all_well_with_vllm(tmp_path: Path, vllm: VllmServer) -> None:
    code, steps = examine(tmp_path, vllm)
    assert code == 1  # no server of ours runs
    assert {name: steps[name]["state"] for name in steps if name.startswith("chat")} == dict.fromkeys(
        ["chat server", "chat model", "chat window", "chat answer"], "ok"
    )
    assert "4,096 tokens, told by the server" in steps["chat window"]["detail"]
    assert f"one token of {vllm.name}, which read " in steps["chat answer"]["detail"]


def test_the_doctor_names_what_is_wrong(tmp_path: Path, vllm: VllmServer) -> None:
    assert examine(tmp_path, vllm, llm_api_key="x")[1]["chat server"]["code"] == "llm_key_refused"
    steps = examine(tmp_path, vllm, llm_model="Qwen/Qwen2.5-72B-Instruct")[1]
    assert steps["chat model"]["code"] == steps["chat answer"]["code"] == "llm_model_unknown"
    assert vllm.name in steps["chat model"]["detail"]


def test_yarn_gives_the_long_window(tmp_path: Path, stretched: VllmServer) -> None:
    _, steps = examine(tmp_path, stretched)
    assert "131,072 tokens, told by the server" in steps["chat window"]["detail"]
    assert steps["chat answer"]["state"] == "ok"


def test_a_vllm_that_dies_in_mid_answer(stretched: VllmServer) -> None:
    """The last test that needs this one."""

    async def main() -> None:
        model = OpenAIChatModel(ChatServer(base_url=stretched.url, model=stretched.name, api_key=KEY))
        await model.open()
        stream = model.stream([HELLO], ChatOptions(max_tokens=20_000, temperature=0.8))
        while not (await anext(stream)).text:
            pass
        await asyncio.to_thread(stretched.kill)
        with pytest.raises(Unavailable, match="llm_error"):
            async for _ in stream:
                pass
        with pytest.raises(Unavailable, match="llm_unavailable"):
            await anext(model.stream([HELLO], ChatOptions(max_tokens=1)))
        await model.close()

    asyncio.run(main())
