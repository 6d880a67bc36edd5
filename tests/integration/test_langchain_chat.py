"""A LangChain chat model as ours, and behind the whole server."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from pathlib import Path
from typing import Any

import pytest
from fakes.langchain_models import RAISE, STALL, ScriptedModel
from fakes.network import WATCH
from fakes.server import Server, run_command

from api.bootstrap.services import build_chat, check_chat
from kb.config import Settings
from kb.errors import StartRefused, Unavailable
from retrieval.chat.langchain import LangChainChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatLimits
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage

MESSAGES = [
    ChatMessage(role="system", content="规则"),
    ChatMessage(role="user", content="Why?"),
    ChatMessage(role="assistant", content="Fog."),
    ChatMessage(role="user", content="何时？"),
]
MODELS = "fakes.langchain_models"


async def read_all(model: LangChainChatModel, **options: Any) -> list[ChatPiece]:
    async with aclosing(model.stream(MESSAGES, ChatOptions(**{"max_tokens": 99} | options))) as pieces:
        return [piece async for piece in pieces]


def test_streams_text_then_usage() -> None:
    scripted = ScriptedModel()
    model = LangChainChatModel(scripted, window=4_096)
    pieces = asyncio.run(read_all(model, stop=("\n",)))
    assert [piece.text for piece in pieces if piece.text] == ["你好，", "world"]
    assert [piece.usage for piece in pieces if piece.usage] == [Usage(prompt_tokens=12, completion_tokens=3)]
    assert pieces[-1].finished
    assert [(m.type, m.content) for m in scripted.asked[0]] == [
        ("system", "规则"), ("human", "Why?"), ("ai", "Fog."), ("human", "何时？")
    ]  # fmt: skip
    assert (scripted.stops, scripted.left) == ([["\n"]], 1)
    assert model.name == "scripted-langchain"
    assert asyncio.run(model.find_window()) == 4_096


def test_an_answer_ends_at_its_tokens() -> None:
    scripted = ScriptedModel(pieces=["word"] * 1_000)
    pieces = asyncio.run(read_all(LangChainChatModel(scripted), max_tokens=20))
    assert sum(len(piece.text) for piece in pieces) == 80  # a quarter of a token a letter
    assert scripted.left == 1


@pytest.mark.parametrize(
    ("pieces", "text", "code"),
    [([STALL], "", "llm_timeout"), (["so ", STALL], "so ", "llm_timeout"), (["so ", RAISE], "so ", "llm_error")],
)
def test_faults(pieces: list[str], text: str, code: str) -> None:
    scripted = ScriptedModel(pieces=pieces)
    model = LangChainChatModel(scripted, limits=ChatLimits(first_token_s=0.1, idle_s=0.1))

    async def main() -> None:
        stream = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        if text:
            assert (await anext(stream)).text == text
        with pytest.raises(Unavailable, match=code) as caught:
            await anext(stream)
        assert "nobody may see" not in caught.value.detail

    asyncio.run(main())
    assert scripted.left == 1


def test_closing_the_stream_ends_the_models_work() -> None:
    scripted = ScriptedModel(pieces=["so ", STALL])

    async def main() -> None:
        stream = LangChainChatModel(scripted).stream(MESSAGES, ChatOptions(max_tokens=9))
        assert (await anext(stream)).text == "so "
        assert scripted.left == 0
        await stream.aclose()
        assert scripted.left == 1

    asyncio.run(main())


def test_its_places_are_counted() -> None:
    model = LangChainChatModel(ScriptedModel(pieces=["so ", STALL]), limits=ChatLimits(calls=1, waiting=0))

    async def main() -> None:
        stream = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        await anext(stream)
        with pytest.raises(Unavailable, match="too_busy"):
            model.check_room()
        await stream.aclose()
        model.check_room()

    asyncio.run(main())


@pytest.mark.parametrize(
    ("named", "said"),
    [
        (f"{MODELS}:fail", "raised RuntimeError"),
        (f"{MODELS}:NO_MODEL", "raised TypeError"),
        (f"{MODELS}:nothing", "has no attribute"),
        ("fakes.nowhere:x", "No module named"),
        ("builtins:dict", "is a dict, no LangChain chat model"),
    ],
)
def test_what_is_no_model_is_named(named: str, said: str) -> None:
    with pytest.raises(StartRefused, match="bad_setting") as caught:
        build_chat(Settings(llm_langchain=named))
    assert said in caught.value.detail
    assert "nobody may see" not in caught.value.detail


def test_settings_that_cannot_be_meant() -> None:
    with pytest.raises(StartRefused, match="both set"):
        check_chat(Settings(llm_langchain=f"{MODELS}:make_model", llm_base_url="http://h/v1", llm_model="m"))
    with pytest.raises(StartRefused, match="needs the package nowhere"):
        check_chat(Settings(llm_langchain="nowhere.models:make"))
    with pytest.raises(ValueError, match="not of the form module:name"):
        Settings(llm_langchain="make_model")


def test_the_whole_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tests = Path(__file__).resolve().parents[1]
    monkeypatch.setenv("PYTHONPATH", WATCH.add_to_path(tests.parent, tests))
    chat = {"llm_langchain": f"{MODELS}:make_model"}
    with Server(tmp_path / "store", **chat) as server:
        client = server.open_client("k")
        client.create()
        client.upload({"价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。\n".encode()})
        client.wait_until_idle()
        answer = client.ask("开放夜的成人票多少钱？")
        assert (answer["answer"], answer["model"]) == ("成人票一百六十元[1]。", "scripted-langchain")
        assert answer["usage"] == {"prompt_tokens": 12, "completion_tokens": 3}
        assert answer["citations"][0]["document"]["path"] == "价目.md"
        ended = run_command(tmp_path / "store", "doctor", url=server.url, **chat)
        assert "one token of scripted-langchain\n" in ended.out
        assert ended.code == 0, ended.out
