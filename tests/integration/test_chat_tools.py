"""Tools at chat servers: sent as fields and read from the stream, or as text where a server has none."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import pytest
from fakes.chat_server import (
    DONE,
    FINISH,
    USAGE,
    ChatServer,
    Reply,
    send_status,
    send_stream,
    serve_chat,
    split_bytes,
    write_event,
)
from fakes.langchain_models import ScriptedModel

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.hermes import describe_tools
from retrieval.chat.langchain import LangChainChatModel
from retrieval.chat.model import ChatModel, ChatOptions
from retrieval.chat.server import ChatLimits
from retrieval.chat.server import ChatServer as Settings
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage
from retrieval.search_tool import describe_search
from retrieval.tool_calls import ToolCall

TOOL = describe_search("zh")
CALL = ToolCall(id="call01000", name="search", arguments='{"query": "圆顶"}')
ASKED = [ChatMessage(role="system", content="规则"), ChatMessage(role="user", content="多重？")]
TALK = [
    *ASKED,
    ChatMessage(role="assistant", content="", calls=[CALL]),
    ChatMessage(role="tool", content="[2] 十一吨。", call_id=CALL.id),
]
WRITTEN = '<tool_call>\n{"name": "search", "arguments": {"query": "圆顶"}}\n</tool_call>'
LIMITS = ChatLimits(pause_s=0.0, idle_s=5.0)


def write_calls(*calls: dict[str, Any], finish: str | None = None) -> bytes:
    return write_event(choices=[{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": finish}])


def write_call(index: int, arguments: str, **more: Any) -> dict[str, Any]:
    return {"index": index, "function": {"arguments": arguments, **more.pop("function", {})}, **more}


NATIVE = (
    write_calls(write_call(0, "", id="a", type="function", function={"name": "search"})),
    write_calls(write_call(0, '{"query": '), write_call(1, "", id="b", type="function", function={"name": "search"})),
    write_calls(write_call(1, '{"query": "dome')),
    write_calls(write_call(0, '"圆顶"}')),
    write_calls(write_call(1, '"}'), finish="tool_calls"),
    USAGE,
    DONE,
)
NO_PARSER = {"object": "error", "message": '"auto" tool choice requires …', "type": "BadRequestError", "code": 400}


def run(
    play: Callable[[OpenAIChatModel, ChatServer], Coroutine[Any, Any, None]], *replies: Reply, profile: str = "openai"
) -> None:
    async def main() -> None:
        async with serve_chat(*replies) as server:
            settings = Settings(base_url=server.url, model="m", limits=LIMITS, profile=profile)
            model = OpenAIChatModel(settings)
            await model.open()
            try:
                await play(model, server)
            finally:
                await model.close()

    asyncio.run(main())


async def read_all(
    model: ChatModel, messages: list[ChatMessage] = ASKED, *, offers: bool = True
) -> tuple[str, list[ToolCall], list[Usage]]:
    options = ChatOptions(max_tokens=99, tools=[TOOL] if offers else [])
    async with aclosing(model.stream(messages, options)) as stream:
        pieces: list[ChatPiece] = [piece async for piece in stream]
    calls = [call for piece in pieces for call in piece.calls]
    return "".join(piece.text for piece in pieces), calls, [piece.usage for piece in pieces if piece.usage]


@pytest.mark.parametrize("size", [1, 7, 64, 10_000])
def test_calls_are_read_from_deltas_in_any_cut(size: int) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        text, calls, usage = await read_all(model)
        assert (text, usage) == ("", [Usage(prompt_tokens=12, completion_tokens=3)])
        assert calls == [
            ToolCall(id="a", name="search", arguments='{"query": "圆顶"}'),
            ToolCall(id="b", name="search", arguments='{"query": "dome"}'),
        ]
        [body] = server.bodies
        assert body["tools"][0]["function"]["name"] == "search"
        assert len(server.bodies) == 1

    run(play, send_stream(*split_bytes(b"".join(NATIVE), size)))


def test_results_go_back_as_the_protocol_has_them() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert await read_all(model, TALK, offers=False) == ("十一吨[2]。", [], [])
        assistant, result = server.bodies[0]["messages"][2:]
        assert assistant["tool_calls"][0]["id"] == result["tool_call_id"] == "call01000"
        assert (result["role"], result["content"]) == ("tool", "[2] 十一吨。")
        assert "tools" not in server.bodies[0]

    run(play, send_stream(write_event("十一吨[2]。"), FINISH, DONE))


@pytest.mark.parametrize("profile", ["vllm", "llamacpp", "ollama", "tgi", "openai"])
def test_a_call_that_a_native_server_leaves_in_the_text_is_one(profile: str) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert (await read_all(model))[:2] == ("I look. ", [ToolCall(name="search", arguments=CALL.arguments)])
        assert "tools" in server.bodies[0]

    written = f"I look. {WRITTEN}"
    run(play, send_stream(*(write_event(written[at : at + 5]) for at in range(0, len(written), 5)), FINISH, DONE))


def test_a_kind_without_tools_is_asked_as_text() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        assert (await read_all(model))[1] == [ToolCall(name="search", arguments=CALL.arguments)]
        await read_all(model, TALK)
        first, second = server.bodies
        assert "tools" not in first
        assert first["messages"][0]["content"] == "规则\n\n" + describe_tools([TOOL])
        assert second["messages"][2:] == [
            {"role": "assistant", "content": WRITTEN},
            {"role": "user", "content": "<tool_response>\n[2] 十一吨。\n</tool_response>"},
        ]

    run(play, send_stream(write_event(WRITTEN), FINISH), profile="transformers")


def test_a_server_that_refuses_tools_is_asked_as_text_from_then_on() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        for _ in range(2):
            assert (await read_all(model))[1] == [ToolCall(name="search", arguments=CALL.arguments)]
        assert await read_all(model, TALK, offers=False) == (
            "",
            [ToolCall(name="search", arguments=CALL.arguments)],
            [],
        )
        assert ["tools" in body for body in server.bodies] == [True, False, False, False]
        assert server.bodies[3]["messages"][-1]["role"] == "user"

    run(play, send_status(400, NO_PARSER), send_stream(write_event(WRITTEN), FINISH, DONE))


def test_a_server_that_refuses_the_text_as_well_is_not_one_without_tools() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        for _ in range(2):
            with pytest.raises(InvalidInput, match="llm_rejected"):
                await read_all(model)
        assert ["tools" in body for body in server.bodies] == [True, False, True, False]

    run(play, send_status(400, NO_PARSER))


@pytest.mark.parametrize(("status", "code"), [(401, "llm_key_refused"), (404, "llm_unavailable")])
def test_other_refusals_stay_what_they_are(status: int, code: str) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        with pytest.raises(KbError) as caught:
            await read_all(model)
        assert (caught.value.code, len(server.bodies)) == (code, 1)

    run(play, send_status(status))


def test_nothing_is_repeated_when_a_call_has_begun_to_come() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        with pytest.raises(Unavailable, match="llm_error"):
            await read_all(model)
        assert len(server.bodies) == 1

    run(play, send_stream(*NATIVE[:3], cut=True))


def test_closing_in_a_call_hangs_up() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        stream = model.stream(ASKED, ChatOptions(max_tokens=99, tools=[TOOL]))
        await anext(stream)
        await stream.aclose()
        await asyncio.wait_for(server.left.wait(), 30)

    run(play, send_stream(NATIVE[0], stall=True))


def test_a_langchain_model_is_asked_as_text() -> None:
    scripted = ScriptedModel(pieces=["I look.", WRITTEN[:20], WRITTEN[20:]])
    model = LangChainChatModel(scripted)
    text, calls, _ = asyncio.run(read_all(model, TALK))
    assert (text, calls) == ("I look.", [ToolCall(name="search", arguments=CALL.arguments)])
    assert [message.type for message in scripted.asked[0]] == ["system", "human", "ai", "human"]
    assert json.dumps(TOOL.description, ensure_ascii=False) in str(scripted.asked[0][0].content)
