"""The chat model against a server that misbehaves: each fault has its code, its limit, its end at the server."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import Callable, Coroutine
from contextlib import ExitStack, aclosing
from typing import Any

import pytest
from fakes.chat_server import (
    DONE,
    FINISH,
    USAGE,
    ChatServer,
    Reply,
    reset,
    send_endlessly,
    send_status,
    send_stream,
    send_unframed,
    serve_chat,
    split_bytes,
    stall_silently,
    write_event,
)

from kb.errors import InvalidInput, KbError, Unavailable
from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatLimits
from retrieval.chat.server import ChatServer as Settings
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage

SECRET = "key-that-nobody-may-see"
TEXT = "a document's text that nobody may see"
MESSAGES = [ChatMessage(role="user", content=TEXT)]
PATIENT = ChatLimits(pause_s=0.0)  # a busy machine must not fail a test that is not about time
LATE = ChatLimits(first_token_s=0.2)
LONG_S = 120.0
PATIENCE_S = 60.0
WHOLE = (write_event("你好，"), write_event("world"), FINISH, USAGE, DONE)


def run(
    play: Callable[[OpenAIChatModel, ChatServer], Coroutine[Any, Any, None]],
    *replies: Reply,
    window: int | None = None,
    limits: ChatLimits = PATIENT,
    **settings: Any,
) -> None:
    async def main() -> None:
        async with serve_chat(*replies, window=window) as server:
            model = OpenAIChatModel(Settings(base_url=server.url, model="m", api_key=SECRET, limits=limits, **settings))
            await model.open()
            try:
                await play(model, server)
            finally:
                await model.close()

    asyncio.run(main())


async def read_all(model: OpenAIChatModel, **options: Any) -> list[ChatPiece]:
    stream = model.stream(MESSAGES, ChatOptions(max_tokens=9, **options))
    async with aclosing(stream) as pieces:
        return [piece async for piece in pieces]


async def read_until_error(model: OpenAIChatModel) -> tuple[str, KbError]:
    """The text that came before the error, and the error, which never tells a secret."""
    texts: list[str] = []
    with pytest.raises(KbError) as caught:  # noqa: PT012 - what came before the error counts as well
        async with aclosing(model.stream(MESSAGES, ChatOptions(max_tokens=9))) as pieces:
            async for piece in pieces:
                texts.append(piece.text)  # noqa: PERF401 - an error must not lose what came
    assert SECRET not in str(caught.value)
    assert TEXT not in str(caught.value)
    return "".join(texts), caught.value


def expect_text(text: str, *replies: Reply, usage: Usage | None = None, calls: int = 1, **more: Any) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        pieces = await read_all(model)
        assert "".join(piece.text for piece in pieces) == text
        assert [piece.usage for piece in pieces if piece.usage] == ([usage] if usage else [])
        assert len(server.bodies) == calls

    run(play, *replies, **more)


def expect_error(code: str, kind: type[KbError], *replies: Reply, text: str = "", calls: int = 1, **more: Any) -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        came, error = await read_until_error(model)
        assert (came, error.code, type(error)) == (text, code, kind)
        assert len(server.bodies) == calls

    run(play, *replies, **more)


def test_streams_text_then_usage_and_keeps_the_connection() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        for _ in range(3):
            pieces = await read_all(model)
            assert "".join(piece.text for piece in pieces) == "你好，world"
            assert [piece.usage for piece in pieces if piece.usage] == [Usage(prompt_tokens=12, completion_tokens=3)]
        assert len(set(server.ports)) == 1

    run(play, send_stream(*WHOLE))


def test_sends_the_known_fields_and_no_other() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        await read_all(model)
        await read_all(model, temperature=0.5, top_p=0.9, stop=("\n",), seed=3)
        plain = {
            "model": "m",
            "messages": [{"role": "user", "content": TEXT}],
            "max_tokens": 9,
            "temperature": 0.0,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        assert server.bodies[0] == plain
        assert server.bodies[1] == plain | {"temperature": 0.5, "top_p": 0.9, "stop": ["\n"], "seed": 3}
        assert server.headers[0]["Authorization"] == f"Bearer {SECRET}"

    run(play, send_stream(*WHOLE))


def test_profile_openai_sends_no_stream_options() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        await read_all(model)
        assert "stream_options" not in server.bodies[0]

    run(play, send_stream(*WHOLE), profile="openai")


CRLF = b": ping\r\n\r\n" + b"".join(WHOLE).replace(b"\n", b"\r\n")
ODD = (
    write_event(choices=[{"delta": {"role": "assistant"}}]),
    write_event(choices=[{"delta": {"content": None}}]),
    write_event(choices=[{"delta": None}]),
    write_event(choices=[]),
    b"event: message\nid: 7\n" + write_event("fine"),
)


def test_bears_what_servers_send() -> None:
    used = Usage(prompt_tokens=12, completion_tokens=3)
    expect_text("你好，world", send_stream(*split_bytes(b"".join(WHOLE), 1)), usage=used)
    expect_text("你好，world", send_stream(*split_bytes(CRLF, 3)), usage=used)
    expect_text("fine", send_stream(*ODD, DONE))
    expect_text("fine", send_stream(*ODD, FINISH))  # neither usage nor [DONE]
    expect_text("fine", send_stream(*ODD))  # nor a reason why it ended, but HTTP says that the body is whole
    expect_text("fine", send_unframed(*ODD, FINISH))
    expect_text("fine", send_stream(*ODD, FINISH.rstrip()))  # no blank line behind the last event


def test_takes_an_answer_that_is_not_streamed() -> None:
    body = {"choices": [{"message": {"content": "whole"}, "finish_reason": "stop"}]}
    expect_text("whole", send_status(200, body))


def test_repeats_before_the_first_token_only() -> None:
    good = send_stream(*WHOLE)
    used = Usage(prompt_tokens=12, completion_tokens=3)
    expect_text("你好，world", send_status(429), send_status(500), good, usage=used, calls=3)
    expect_text("你好，world", reset(), good, usage=used, calls=2)
    expect_text("你好，world", send_stream(), good, usage=used, calls=2)  # an empty stream
    expect_error("llm_unavailable", Unavailable, send_status(503), calls=3)
    expect_error("llm_unavailable", Unavailable, send_status(429), calls=3)
    expect_error("llm_error", Unavailable, send_status(500, {"error": TEXT}), calls=3)
    expect_error("llm_error", Unavailable, reset(), calls=3)
    expect_error("llm_error", Unavailable, send_stream(write_event("half"), cut=True), text="half")


@pytest.mark.parametrize("body", [{"error": {"message": TEXT, "type": "BadRequestError"}}, {"detail": TEXT}, [1]])
def test_a_refused_request_is_not_repeated(body: object) -> None:
    expect_error("llm_rejected", InvalidInput, send_status(400, body))
    expect_error("llm_rejected", InvalidInput, send_status(422, body))


NO_MODEL = {"error": {"message": TEXT, "type": "NotFoundError", "param": "model", "code": 404}}


def test_a_wrong_key_or_model_is_the_operators_fault() -> None:
    expect_error("llm_key_refused", Unavailable, send_status(401, {"error": "Unauthorized"}))
    expect_error("llm_key_refused", Unavailable, send_status(403))
    expect_error("llm_model_unknown", Unavailable, send_status(404, NO_MODEL))


@pytest.mark.parametrize(("status", "body"), [(404, {"detail": "Not Found"}), (404, None), (405, None), (308, None)])
def test_an_address_without_a_chat_is_named_as_that(status: int, body: object) -> None:
    expect_error("llm_unavailable", Unavailable, send_status(status, body))


@pytest.mark.parametrize(
    "error",
    [
        {"message": TEXT, "type": "BadRequestError", "param": "input_tokens", "code": 400},  # vLLM
        {"message": TEXT, "type": "exceed_context_size_error", "code": 400, "n_ctx": 4096},  # llama-server
        {"message": TEXT, "type": "invalid_request_error", "code": "context_length_exceeded"},  # OpenAI
    ],
)
def test_a_prompt_that_is_too_long_for_the_server(error: object) -> None:
    expect_error("llm_prompt_too_long", InvalidInput, send_status(400, {"error": error}))


def test_the_server_says_how_long_to_wait() -> None:
    busy, limits = send_status(429, None, **{"Retry-After": "0"}), ChatLimits(pause_s=60)
    used = Usage(prompt_tokens=12, completion_tokens=3)
    expect_text("你好，world", busy, send_stream(*WHOLE), usage=used, calls=2, limits=limits)


def test_no_text_is_no_start() -> None:
    """Servers that announce themselves with an empty piece may be asked again while no text has come."""
    role = write_event(choices=[{"delta": {"role": "assistant", "content": ""}}])
    used = Usage(prompt_tokens=12, completion_tokens=3)
    expect_text("你好，world", send_stream(role, cut=True), send_stream(*WHOLE), usage=used, calls=2)
    expect_error("llm_timeout", Unavailable, send_endlessly(role), limits=LATE)


def test_more_calls_than_there_are_places_wait_and_the_rest_are_turned_away() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        first = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        assert (await anext(first)).text == "so "
        second = asyncio.ensure_future(read_all(model))
        while not is_full(model):  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0)
        assert (await read_until_error(model))[1].code == "too_busy"
        assert len(server.bodies) == 1
        await first.aclose()  # its place goes to the one that waits
        assert "".join(piece.text for piece in await second) == "你好，world"
        assert not is_full(model)

    limits = ChatLimits(calls=1, waiting=1)
    run(play, send_stream(write_event("so "), stall=True), send_stream(*WHOLE), limits=limits)


def test_whoever_waits_too_long_for_a_place_is_told_to_come_again() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        first = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        assert (await anext(first)).text == "so "
        assert (await read_until_error(model))[1].code == "too_busy"
        await first.aclose()
        assert not is_full(model)

    limits = ChatLimits(calls=1, waiting=1, first_token_s=0.2)
    run(play, send_stream(write_event("so "), stall=True), limits=limits)


def is_full(model: OpenAIChatModel) -> bool:
    try:
        model.check_room()
    except Unavailable:
        return True
    return False


def test_a_reader_who_takes_nothing_holds_the_server_up() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        stream = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        assert len((await anext(stream)).text) % 60_000 == 0  # what has come together goes on together
        held, still = -1, 0
        while still < 1_000:  # turns of the loop in which the server could have sent more
            still = still + 1 if server.sent == held else 0
            held = server.sent
            await asyncio.sleep(0)
        assert held < 1_000  # of what the sockets' buffers hold, not of what it would send
        await stream.aclose()
        await asyncio.wait_for(server.left.wait(), PATIENCE_S)

    run(play, send_endlessly(write_event("x" * 60_000)))


@pytest.mark.parametrize("error", [{"message": TEXT, "type": "InternalServerError"}, TEXT])
def test_errors_inside_a_200(error: object) -> None:
    broken = write_event(error=error)
    expect_error("llm_error", Unavailable, send_stream(write_event("so "), broken), text="so ")
    expect_error("llm_error", Unavailable, send_stream(broken))
    expect_error("llm_error", Unavailable, send_status(200, {"error": error}))
    expect_error("llm_error", Unavailable, send_status(200, {"detail": TEXT}))


def test_torn_streams() -> None:
    half = write_event("never whole")[:30]
    expect_error("llm_error", Unavailable, send_stream(write_event("so "), half), text="so ")
    expect_error("llm_error", Unavailable, send_unframed(write_event("so ")), text="so ")
    expect_error("llm_error", Unavailable, send_stream(write_event("so "), b"data: <html>\n\n"), text="so ")
    expect_error("llm_error", Unavailable, send_stream(write_event("so "), b"data: 3\n\n"), text="so ")
    deep = b"data: " + b"[" * 100_000 + b"\n\n"
    expect_error("llm_error", Unavailable, send_stream(write_event("so "), deep), text="so ")
    expect_error("llm_rejected", InvalidInput, send_status(400, text="[" * 100_000))


def test_half_of_a_character_is_borne() -> None:
    half = b'data: {"choices": [{"delta": {"content": "so \\ud83d"}}]}\n\n'
    expect_text("so \ufffd", send_stream(half, FINISH, DONE))


def test_limits() -> None:
    expect_error("llm_timeout", Unavailable, stall_silently(), limits=LATE)
    expect_error("llm_timeout", Unavailable, send_stream(stall=True), limits=LATE)


def test_silence_in_mid_answer_has_its_own_limit_however_long_the_first_token_may_take() -> None:
    limits = ChatLimits(idle_s=0.5, first_token_s=LONG_S)
    began = time.monotonic()
    expect_error("llm_timeout", Unavailable, send_stream(write_event("so "), stall=True), text="so ", limits=limits)
    expect_text("fine", send_stream(*ODD, FINISH, stall=True), limits=limits)  # the line stays open after the answer
    assert time.monotonic() - began < LONG_S


def test_a_slow_healthy_stream_is_cut_by_the_total_alone() -> None:
    limits = ChatLimits(idle_s=1.0, total_s=1.5)

    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        text, error = await read_until_error(model)
        assert (error.code, "1.5 s" in error.detail) == ("llm_timeout", True)
        assert len(text) > 100
        await asyncio.wait_for(server.left.wait(), PATIENCE_S)

    run(play, send_endlessly(write_event("word ")), limits=limits)


def test_an_event_without_end_is_cut() -> None:
    expect_error("llm_error", Unavailable, send_endlessly(b"data: " + b"x" * 60_000), limits=ChatLimits())


def test_nobody_listens() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        absent = OpenAIChatModel(Settings(base_url="http://127.0.0.1:1/v1", model="m", limits=PATIENT))
        assert (await read_until_error(absent))[1].code == "llm_unavailable"  # not open yet
        await absent.open()
        assert (await read_until_error(absent))[1].code == "llm_unavailable"
        assert await absent.find_window() is None
        await absent.close()

    run(play, send_status(500))


def test_a_server_that_takes_no_connection() -> None:
    """Its queue is full: the kernel drops what comes, as a firewall does, and nothing says no."""

    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        with socket.socket() as deaf, ExitStack() as waiting:
            deaf.bind(("127.0.0.1", 0))
            deaf.listen(0)
            url = f"http://127.0.0.1:{deaf.getsockname()[1]}/v1"
            for _ in range(4):
                client = waiting.enter_context(socket.socket())
                client.setblocking(False)
                client.connect_ex(deaf.getsockname())
            absent = OpenAIChatModel(Settings(base_url=url, model="m", limits=ChatLimits(connect_s=0.3)))
            await absent.open()
            assert (await read_until_error(absent))[1].code == "llm_unavailable"
            await absent.close()

    run(play, send_status(500))


def test_closing_the_stream_ends_the_call_at_the_server() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        tasks = len(asyncio.all_tasks())
        stream = model.stream(MESSAGES, ChatOptions(max_tokens=9))
        assert (await anext(stream)).text == "so "
        assert not server.left.is_set()
        await stream.aclose()
        await asyncio.wait_for(server.left.wait(), PATIENCE_S)
        assert len(asyncio.all_tasks()) <= tasks + 1  # the server may still be winding up its side

    run(play, send_stream(write_event("so "), stall=True), limits=ChatLimits())


def test_cancelling_the_reader_ends_the_call_at_the_server() -> None:
    async def play(model: OpenAIChatModel, server: ChatServer) -> None:
        reader = asyncio.ensure_future(read_all(model))
        await asyncio.wait_for(server.reached.wait(), PATIENCE_S)
        reader.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reader
        await asyncio.wait_for(server.left.wait(), PATIENCE_S)

    run(play, stall_silently(), limits=ChatLimits())


def test_settings_do_not_show_the_key() -> None:
    assert SECRET not in repr(Settings(base_url="http://h/v1", model="m", api_key=SECRET))
    assert json.dumps(SECRET) not in repr(Settings(base_url="http://h/v1", model="m", api_key=SECRET))
