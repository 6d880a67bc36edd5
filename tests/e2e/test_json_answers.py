"""Answers as JSON of a caller's schema: the running server with a scripted chat server behind it, over its own calls
and through the `openai` package."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import openai
import pydantic
import pytest
from fakes.chat_server import DONE, FINISH, USAGE, ChatServer, Reply, send_status, send_stream, serve_chat, write_event
from fakes.server import Server

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}
ASK = "/api/v1/knowledge-bases/k/ask"
ZH, EN = "开放夜的成人票多少钱？", "What does a boat for a day cost?"


class Ticket(pydantic.BaseModel):
    price: int
    currency: str


SCHEMA = Ticket.model_json_schema()
FOUND = {
    ZH: (
        '{"answer": {"price": 160, "currency": "元"}, "sources": [1]}',
        {"price": 160, "currency": "元"},
        "一百六十元",
    ),
    EN: ('{"answer": {"price": 12, "currency": "£"}, "sources": [1, 7]}', {"price": 12, "currency": "£"}, "twelve"),
}
MISSING = '{"answer": null, "sources": []}'

Script = Callable[[httpx.AsyncClient, openai.AsyncOpenAI, ChatServer], Awaitable[None]]


def write(text: str) -> Reply:
    return send_stream(*map(write_event, text.partition(":")), FINISH, USAGE, DONE)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("json") / "store"
    with Server(folder) as server:
        client = server.open_client("k")
        client.create()
        client.upload(FILES)
        client.wait_until_idle()
    return folder


@asynccontextmanager
async def connect(
    store: Path, *replies: Reply
) -> AsyncIterator[tuple[httpx.AsyncClient, openai.AsyncOpenAI, ChatServer]]:
    async with serve_chat(*replies, window=4096) as chat:
        server = Server(store, llm_base_url=chat.url, llm_model="m", workers=0)
        await asyncio.to_thread(server.start)
        try:
            url = str(server.open_client("k").http.base_url)
            async with (
                httpx.AsyncClient(base_url=url, trust_env=False, timeout=60) as client,
                openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as package,
            ):
                yield client, package, chat
        finally:
            await asyncio.to_thread(server.stop)


def play(store: Path, *replies: Reply, script: Script) -> None:
    async def main() -> None:
        async with connect(store, *replies) as (client, package, chat):
            await script(client, package, chat)

    asyncio.run(main())


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block.split("\n") for block in text.split("\n\n") if block.startswith("event:")]
    return [(name.removeprefix("event: "), json.loads(data.removeprefix("data: "))) for name, data in blocks]


@pytest.mark.parametrize("question", [ZH, EN])
def test_whole_and_streamed(store: Path, question: str) -> None:
    written, data, quoted = FOUND[question]

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        body = {"question": question, "response_schema": SCHEMA, "max_tokens": 99, "history": []}
        told = (await client.post(ASK, json=body)).json()
        assert (told["data"], json.loads(told["answer"]), told["refused"]) == (data, data, False)
        assert (told["unsupported"], told["unsupported_count"]) == ([], 0)
        assert told["dropped"] == (1 if question == EN else 0)
        [citation] = told["citations"]
        assert citation["number"] == 1
        assert quoted in citation["quote"]
        sent = chat.bodies[0]["response_format"]["json_schema"]
        assert sent["strict"] is True
        assert sent["schema"]["properties"]["answer"]["anyOf"][0]["properties"]["price"]["type"] == "integer"

        events = read_events((await client.post(ASK, json=body | {"stream": True})).text)
        assert [name for name, _ in events] == ["passages", "token", "done"]
        assert events[1][1] == {"text": told["answer"]}
        assert {**events[2][1], "timings_ms": None} == {**told, "timings_ms": None}

    play(store, write(written), script=script)


def test_null_is_a_refusal_and_prose_has_no_data(store: Path) -> None:
    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        told = (await client.post(ASK, json={"question": ZH, "response_schema": SCHEMA})).json()
        assert (told["refused"], told["data"], told["citations"]) == (True, None, [])
        assert told["answer"] == "资料中没有找到这个问题的答案。"
        several = {"question": ZH, "response_schema": None, "knowledge_bases": ["k"]}
        told = (await client.post("/api/v1/ask", json=several)).json()
        assert (told["answer"], told["data"]) == ("一百六十元[1]。", None)

    play(store, write(MISSING), write("一百六十元[1]。"), script=script)


def test_what_does_not_fit_is_corrected_once_and_then_an_error(store: Path) -> None:
    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        body = {"question": ZH, "response_schema": SCHEMA}
        told = (await client.post(ASK, json=body)).json()
        assert told["data"] == FOUND[ZH][1]
        assert told["usage"] == {"prompt_tokens": 24, "completion_tokens": 6}
        failed = await client.post(ASK, json=body)
        assert (failed.status_code, failed.json()["code"]) == (503, "llm_bad_json")
        assert "secret" not in failed.text
        events = read_events((await client.post(ASK, json=body | {"stream": True})).text)
        assert [name for name, _ in events] == ["passages", "error"]
        assert events[1][1]["code"] == "llm_bad_json"

    bad = write('{"answer": {"price": "secret", "currency": "元"}}')
    play(store, bad, write(FOUND[ZH][0]), bad, script=script)


REFUSED = {"error": {"message": "no grammar", "type": "BadRequestError", "code": 400}}


@pytest.mark.parametrize("refusal", [send_status(400, REFUSED), send_stream(write_event(**REFUSED), DONE)])
def test_a_server_that_refuses_schemas_is_asked_without(store: Path, refusal: Reply) -> None:
    """vLLM refuses some as a 400, some in its stream."""

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        told = (await client.post(ASK, json={"question": ZH, "response_schema": SCHEMA})).json()
        assert told["data"] == FOUND[ZH][1]
        assert ["response_format" in body for body in chat.bodies] == [True, False]
        assert '"currency"' in chat.bodies[1]["messages"][0]["content"]

    play(store, refusal, write(FOUND[ZH][0]), script=script)


def test_the_openai_package_parses_it(store: Path) -> None:
    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        messages: Any = [{"role": "user", "content": ZH}]
        whole = await package.chat.completions.parse(model="k", messages=messages, response_format=Ticket)
        assert whole.choices[0].message.parsed == Ticket(price=160, currency="元")
        assert "一百六十元" in (whole.model_extra or {})["citations"][0]["quote"]
        async with package.chat.completions.stream(model="k", messages=messages, response_format=Ticket) as stream:
            streamed = await stream.get_final_completion()
        assert streamed.choices[0].message.parsed == Ticket(price=160, currency="元")

    play(store, write(FOUND[ZH][0]), script=script)


def test_to_the_openai_package_a_refusal_is_a_refusal(store: Path) -> None:
    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        messages: Any = [{"role": "user", "content": EN}]
        whole = await package.chat.completions.parse(model="k", messages=messages, response_format=Ticket)
        assert whole.choices[0].message.parsed is None
        assert (whole.choices[0].message.content, whole.choices[0].message.refusal) == (
            None,
            "The passages do not hold the answer to this question.",
        )
        async with package.chat.completions.stream(model="k", messages=messages, response_format=Ticket) as stream:
            streamed = await stream.get_final_completion()
        assert streamed.choices[0].message.refusal == whole.choices[0].message.refusal

    play(store, write(MISSING), script=script)


def test_lists_of_numbers_are_no_citations(store: Path) -> None:
    """`[1]` in JSON is a list, also in a stream of OpenAI's shape, where markers are renumbered as they pass."""

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        schema = {"type": "array", "items": {"type": "integer"}}
        told = (await client.post(ASK, json={"question": ZH, "response_schema": schema})).json()
        assert (told["answer"], told["data"]) == ("[9,1]", [9, 1])
        wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
        messages: Any = [{"role": "user", "content": ZH}]
        stream = await package.chat.completions.create(
            model="k", messages=messages, response_format=wanted, stream=True
        )
        assert "".join([chunk.choices[0].delta.content or "" async for chunk in stream]) == "[9,1]"

    play(store, write('{"answer": [9, 1], "sources": [2]}'), script=script)


def test_a_knowledge_base_has_a_prompt_of_its_own(store: Path) -> None:
    """Set over HTTP, told to the model with the next question, at the very beginning of what it reads."""

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        own = "你是值班员。引用写作 [1]。没有答案时只说：{missing}"
        base = ASK.removesuffix("/ask")
        assert (await client.patch(base, json={"prompt": {"zh": own}})).status_code == 200
        for question in (ZH, "学生票多少钱？", EN):
            assert (await client.post(ASK, json={"question": question, "history": []})).status_code == 200
        first, second, english = (body["messages"][0]["content"] for body in chat.bodies)
        assert first == second
        assert first.startswith("你是值班员。引用写作 [1]。没有答案时只说：资料中没有找到这个问题的答案。\n<passage>")
        assert english.startswith("You answer questions")
        assert (await client.patch(base, json={"prompt": None})).status_code == 200

    play(store, write("一百六十元[1]。"), script=script)


def write_number(number: object) -> Reply:
    return write(f'{{"answer": {{"n": {number}}}, "sources": [1]}}')


def test_integers_are_told_as_the_model_wrote_them(store: Path) -> None:
    numbers = [2**63, 2**64 - 1, 2**64, 10**30, -(2**63) - 1]

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        for number in numbers:
            schema = {"type": "object", "properties": {"n": {"const": number}}, "required": ["n"]}
            body = {"question": ZH, "response_schema": schema, "history": []}
            whole = await client.post(ASK, json=body)
            assert f'"data":{{"n":{number}}}' in whole.text
            assert (whole.json()["data"], whole.json()["answer"]) == ({"n": number}, f'{{"n":{number}}}')
            *_, (name, done) = read_events((await client.post(ASK, json=body | {"stream": True})).text)
            assert (name, done["data"]) == ("done", {"n": number})
            wanted: Any = {"type": "json_schema", "json_schema": {"name": "n", "schema": schema}}
            messages: Any = [{"role": "user", "content": ZH}]
            shaped = await package.chat.completions.create(model="k", messages=messages, response_format=wanted)
            assert shaped.choices[0].message.content == f'{{"n":{number}}}'

    play(store, *[write_number(number) for number in numbers for _ in range(3)], script=script)


def test_another_integer_than_the_schema_names_and_one_beyond_all_bounds_are_no_answer(store: Path) -> None:
    written = [(10**30 + 1, "#/properties/n/const"), ("1e400", "too large"), ("9" * 5_000, "too large")]

    async def script(client: httpx.AsyncClient, package: openai.AsyncOpenAI, chat: ChatServer) -> None:
        for _, reason in written:
            body = {"question": ZH, "response_schema": {"properties": {"n": {"const": 10**30}}}}
            failed = await client.post(ASK, json=body)
            assert (failed.status_code, failed.json()["code"]) == (503, "llm_bad_json")
            assert reason in failed.json()["detail"]

    play(store, *[write_number(number) for number, _ in written for _ in range(2)], script=script)
