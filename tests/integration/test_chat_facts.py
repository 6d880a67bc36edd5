"""What chat servers tell of themselves, each kind in its own way: models, window, counts."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from fakes.chat_server import ChatServer, send_status, serve_chat, stall_silently

from kb.errors import Unavailable
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatLimits
from retrieval.chat.server import ChatServer as Settings
from retrieval.prompt import ChatMessage

MESSAGES = [ChatMessage(role="system", content="s"), ChatMessage(role="user", content="何时？")]
SENT = [{"role": "system", "content": "s"}, {"role": "user", "content": "何时？"}]
TOO_LONG = send_status(400, {"error": {"param": "input_tokens"}})
LIMITS = ChatLimits(pause_s=0, connect_s=2)


def run(play: Callable[[OpenAIChatModel, ChatServer], Awaitable[None]], **settings: Any) -> None:
    told, limits = settings.pop("told", {}), settings.pop("limits", LIMITS)

    async def main() -> None:
        async with serve_chat(TOO_LONG) as server:
            server.told = told
            model = OpenAIChatModel(Settings(base_url=server.url, model="m", limits=limits, **settings))
            await model.open()
            try:
                await play(model, server)
            finally:
                await model.close()

    asyncio.run(main())


def list_models(**cards: dict[str, Any]) -> dict[str, Any]:
    return {"/v1/models": {"object": "list", "data": [{"id": name, **card} for name, card in cards.items()]}}


WINDOWS = [
    ("vllm", list_models(other={"max_model_len": 1}, m={"max_model_len": 4_096}), 4_096),
    ("openai", list_models(m={}), None),
    ("openai", list_models(m={"max_model_len": 0}), None),
    ("llamacpp", {"/props": {"default_generation_settings": {"n_ctx": 2_048}, "total_slots": 4}}, 2_048),
    ("llamacpp", {"/props": []}, None),
    ("tgi", {"/info": {"model_id": "x", "max_total_tokens": 8_192}}, 8_192),
    ("ollama", list_models(m={}), 4_096),
    ("transformers", {"/v1/models": send_status(500)}, None),
]


@pytest.mark.parametrize(("profile", "told", "window"), WINDOWS)
def test_the_window_is_what_the_server_tells(profile: str, told: dict[str, Any], window: int | None) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.find_window() == window

    run(play, profile=profile, told=told)


@pytest.mark.parametrize(
    ("told", "setting", "window"), [(4_096, 1_000, 1_000), (4_096, 9_000, 4_096), (None, 1_000, 1_000)]
)
def test_the_smaller_of_setting_and_server_counts(told: int | None, setting: int, window: int) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.find_window() == window

    run(play, told=list_models(m={"max_model_len": told}), window=setting)


def test_a_set_window_goes_before_the_one_that_a_kind_is_known_for() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.find_window() == 32_768

    run(play, told=list_models(m={}), profile="ollama", window=32_768)


def test_the_window_is_asked_for_once_and_again_when_it_proved_wrong() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert [await model.find_window() for _ in range(3)] == [4_096] * 3
        server.told = list_models(m={"max_model_len": 512})
        assert await model.find_window() == 4_096
        with pytest.raises(Exception, match="llm_prompt_too_long"):
            await anext(model.stream(MESSAGES, ChatOptions(max_tokens=9)))
        assert await model.find_window() == 512
        assert len(server.asked) == 2

    run(play, told=list_models(m={"max_model_len": 4_096}))


def test_a_server_that_tells_no_window_is_not_asked_at_every_call() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert [await model.find_window() for _ in range(3)] == [None] * 3
        assert len(server.asked) == 1

    run(play, told=list_models(m={}))


def test_who_comes_while_the_window_is_asked_for_gets_the_same_answer() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await asyncio.gather(*(model.find_window() for _ in range(3))) == [4_096] * 3
        assert [path for path, _ in server.asked] == ["/v1/models"]

    run(play, told=list_models(m={"max_model_len": 4_096}))


def test_a_caller_who_leaves_does_not_leave_the_window_unknown() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        asked = asyncio.Event()

        async def stall(_: ChatServer, __: object) -> None:
            asked.set()
            await asyncio.Event().wait()

        server.told = {"/v1/models": stall}
        leaving = asyncio.create_task(model.find_window())
        await asyncio.wait_for(asked.wait(), 30)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
        server.told = list_models(m={"max_model_len": 4_096})
        assert await model.find_window() == 4_096

    run(play)


def test_vllm_counts_the_messages_with_its_template() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.count_tokens(MESSAGES) == 30
        assert server.asked == [("/tokenize", {"model": "m", "messages": SENT})]

    run(play, told={"/tokenize": {"count": 30, "max_model_len": 4_096, "tokens": [1] * 30}})


def test_llama_server_writes_the_template_and_counts_its_text() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.count_tokens(MESSAGES) == 3
        text = {"content": "<|im_start|>何时？", "add_special": True, "parse_special": True}
        assert server.asked == [("/apply-template", {"messages": SENT}), ("/tokenize", text)]

    told = {"/apply-template": {"prompt": "<|im_start|>何时？"}, "/tokenize": {"tokens": [1, 2, 3]}}
    run(play, told=told, profile="llamacpp")


@pytest.mark.parametrize("profile", ["vllm", "llamacpp"])
def test_a_server_that_does_not_count_is_not_asked_at_every_call(profile: str) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert [await model.count_tokens(MESSAGES) for _ in range(3)] == [None] * 3
        assert len(server.asked) == 1

    run(play, profile=profile)


@pytest.mark.parametrize("profile", ["transformers", "ollama", "tgi", "openai"])
def test_kinds_that_cannot_count_are_not_asked(profile: str) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.count_tokens(MESSAGES) is None
        assert server.asked == []

    run(play, profile=profile, told={"/tokenize": {"count": 30}})


def test_the_models_of_a_server() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await model.facts.list_models() == ["m", "其他"]
        server.told = {"/v1/models": send_status(500)}
        assert await model.facts.list_models() is None
        server.told = {"/v1/models": send_status(401)}
        with pytest.raises(Unavailable, match="llm_key_refused"):
            await model.facts.list_models()

    run(play, told=list_models(m={}, 其他={}))


def test_a_server_that_says_nothing_is_late() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        with pytest.raises(Unavailable, match="llm_timeout"):
            await model.facts.list_models()
        assert await model.find_window() is None

    run(play, told={"/v1/models": stall_silently()}, limits=ChatLimits(connect_s=0.1))
