"""`transformers serve` behind the chat model and behind the whole server, with a Qwen2 of random weights."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import httpx
import pytest
from fakes.calling_qwen import ALWAYS, QUERY, build_calling_words
from fakes.http_client import NO_TLS, wait_until
from fakes.network import take_port
from fakes.server import Server, run_command
from fakes.worded_qwen import build_worded_qwen

from kb.errors import InvalidInput
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatLimits, ChatServer
from retrieval.events import ChatPiece
from retrieval.prompt import ChatMessage

pytestmark = pytest.mark.skipif(
    not all(map(find_spec, ("openai", "accelerate"))), reason="transformers serve needs openai and accelerate"
)
MESSAGES = [ChatMessage(role="system", content="base"), ChatMessage(role="user", content="what is the weather today ?")]
LIVELY = ChatOptions(max_tokens=20, temperature=0.9, top_p=0.95, seed=3, stop=("never",))
SERVE = "import sys; from transformers.cli.transformers import main; sys.argv[0] = 'transformers'; main()"


@dataclass(frozen=True, kw_only=True)
class Served:
    url: str
    model: str


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("transformers")
    yield from serve(folder, build_worded_qwen(folder / "qwen"))


@pytest.fixture(scope="module")
def caller(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """One whose model calls a tool and, when it has been answered, cites what came of it."""
    folder = tmp_path_factory.mktemp("calling")
    yield from serve(folder, build_calling_words(folder / "qwen"))


def serve(folder: Path, model: Path) -> Iterator[Served]:
    port = str(take_port())
    (folder / "hub" / "hub").mkdir(parents=True)  # without its cache folder the list of models is a 500
    settings = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(folder / "hub"), "OMP_NUM_THREADS": "2"}
    words = [sys.executable, "-c", SERVE, "serve", str(model), "--host", "127.0.0.1", "--port", port, "--device", "cpu"]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            words, env={**os.environ, **settings}, stdout=log, stderr=log, start_new_session=True
        )

    def is_up() -> bool:
        assert process.poll() is None, (folder / "log").read_text("utf-8", "replace")[-3_000:]
        with suppress(httpx.TransportError):
            return httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False, verify=NO_TLS).status_code == 200
        return False

    try:
        wait_until(is_up, "transformers serve answers", 120)
        yield Served(url=f"http://127.0.0.1:{port}/v1", model=str(model))
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(30)


def run(served: Served, play: Callable[[OpenAIChatModel], Awaitable[None]], **limits: float) -> None:
    async def main() -> None:
        server = ChatServer(
            base_url=served.url,
            model=served.model,
            profile="transformers",
            limits=ChatLimits(**limits),  # type: ignore[arg-type]
        )
        model = OpenAIChatModel(server)
        await model.open()
        try:
            await play(model)
        finally:
            await model.close()

    asyncio.run(main())


async def read_all(model: OpenAIChatModel, options: ChatOptions = LIVELY) -> list[ChatPiece]:
    async with aclosing(model.stream(MESSAGES, options)) as pieces:
        return [piece async for piece in pieces]


def test_an_answer_ends_without_done_and_tells_its_usage(served: Served) -> None:
    async def play(model: OpenAIChatModel) -> None:
        pieces = await read_all(model)
        assert len([piece for piece in pieces if piece.text]) > 5
        [usage] = [piece.usage for piece in pieces if piece.usage]
        assert usage.completion_tokens == 20
        assert usage.prompt_tokens > 10
        assert pieces[-1].finished

    run(served, play)


def test_it_tells_no_window_and_counts_nothing(served: Served) -> None:
    async def play(model: OpenAIChatModel) -> None:
        assert await model.find_window() is None
        assert await model.count_tokens(MESSAGES) is None
        await model.facts.check_model()

    run(served, play)


def test_it_goes_on_when_a_reader_leaves(served: Served) -> None:
    async def play(model: OpenAIChatModel) -> None:
        stream = model.stream(MESSAGES, ChatOptions(max_tokens=1_500, temperature=0.9))
        while not (await anext(stream)).text:
            pass
        await stream.aclose()
        assert len(await read_all(model)) > 5

    run(served, play)


def test_the_whole_server(served: Served, tmp_path: Path) -> None:
    chat = {"llm_base_url": served.url, "llm_model": served.model, "llm_profile": "transformers", "llm_window": 2_048}
    with Server(tmp_path / "store", **chat) as server:
        client = server.open_client("k")
        client.create()
        client.upload({"价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。\n".encode()})
        client.wait_until_idle()
        body = {"question": "开放夜的成人票多少钱？", "temperature": 0.9, "max_tokens": 20}
        answer = client.http.post("/api/v1/knowledge-bases/k/ask", json=body)
        assert (answer.status_code, answer.json()["model"]) == (200, served.model), answer.text
        assert answer.json()["usage"]["completion_tokens"] == 20
        ended = run_command(tmp_path / "store", "doctor", "--json", url=server.url, **chat)
        steps = {step["name"]: step for step in json.loads(ended.out)["steps"]}
        assert (ended.code, [name for name, step in steps.items() if step["state"] == "wrong"]) == (0, [])
        assert steps["chat window"]["detail"].startswith("2,048 tokens, by KB_LLM_WINDOW")


def test_its_model_searches_on_when_it_is_asked_as_text(caller: Served, tmp_path: Path) -> None:
    """It knows a Qwen's calls and reads them itself: they come back as calls, though they were asked for as text."""
    chat = {"llm_base_url": caller.url, "llm_model": caller.model, "llm_profile": "transformers", "llm_window": 2_048}
    with Server(tmp_path / "store", **chat) as server:
        client = server.open_client("k")
        client.create()
        client.upload({
            "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。\n".encode(),
            "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
        })  # fmt: skip
        client.wait_until_idle()
        body = {"question": "开放夜的成人票多少钱？", "agent": True, "top_k": 1, "max_tokens": 100}
        answer = client.http.post("/api/v1/knowledge-bases/k/ask", json=body)
        assert answer.status_code == 200, answer.text
        told = answer.json()
        assert told["steps"], told
        [step] = told["steps"]
        assert (step["query"], step["found"], step["error"]) == (QUERY, 1, None)
        assert told["answer"] == "A boat costs twelve pounds [1]."
        assert [one["document"]["path"] for one in told["citations"]] == ["fees.txt"]
        endless = client.http.post(
            "/api/v1/knowledge-bases/k/ask", json=body | {"question": body["question"] + ALWAYS, "language": "zh"}
        ).json()
        assert [step["round"] for step in endless["steps"]] == [1, 2, 3]
        assert endless["refused"]


def test_a_model_that_it_does_not_have(served: Served) -> None:
    async def play(model: OpenAIChatModel) -> None:
        with pytest.raises(InvalidInput, match="llm_rejected"):
            await read_all(model)

    run(Served(url=served.url, model="nobody/nothing"), play)
