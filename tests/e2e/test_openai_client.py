"""The `openai` package against the running server, with a chat server behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import openai
import pytest
from fakes.chat_server import DONE, FINISH, USAGE, ChatServer, Reply, send_status, send_stream, serve_chat, write_event
from fakes.server import Server

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}
QUESTION = [{"role": "user", "content": "开放夜的成人票多少钱？"}]
PIECES = ("成人票一百", "六十元", "[1", "]，", "见附录[9]。")
ANSWER = (*map(write_event, PIECES), FINISH, USAGE, DONE)
TEXT = "成人票一百六十元[1]，见附录。"

Script = Callable[[openai.AsyncOpenAI, ChatServer], Awaitable[None]]


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("openai") / "store"
    with Server(folder) as server:
        client = server.open_client("票务")
        client.create()
        client.upload(FILES)
        client.wait_until_idle()
    return folder


@asynccontextmanager
async def connect(store: Path, *replies: Reply) -> AsyncIterator[tuple[openai.AsyncOpenAI, ChatServer]]:
    async with serve_chat(*replies, window=4096) as chat:
        server = Server(store, llm_base_url=chat.url, llm_model="m", workers=0)
        await asyncio.to_thread(server.start)
        try:
            async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
                yield client, chat
        finally:
            await asyncio.to_thread(server.stop)


def play(store: Path, *replies: Reply, script: Script) -> None:
    async def main() -> None:
        async with connect(store, *replies) as (client, chat):
            await script(client, chat)

    asyncio.run(main())


def test_a_knowledge_base_is_a_model(store: Path) -> None:
    async def script(client: openai.AsyncOpenAI, chat: ChatServer) -> None:
        assert [model.id async for model in client.models.list()] == ["票务"]
        assert (await client.models.retrieve("票务")).owned_by == "kb-server"

        whole = await client.chat.completions.create(model="票务", messages=QUESTION, top_p=0.5, seed=7)
        assert whole.choices[0].message.content == TEXT
        assert whole.usage.total_tokens == 15
        [citation] = whole.model_extra["citations"]
        assert (citation["number"], citation["document"]["path"]) == (1, "价目.md")
        assert "一百六十元" in citation["quote"]
        assert not {"top_p", "seed"} & chat.bodies[0].keys()  # never forwarded

        options = {"include_usage": True}
        stream = await client.chat.completions.create(
            model="票务", messages=QUESTION, stream=True, stream_options=options
        )
        chunks = [chunk async for chunk in stream]
        *written, last, usage = chunks
        assert "".join(chunk.choices[0].delta.content for chunk in written) == TEXT
        assert last.choices[0].finish_reason == "stop"
        assert last.model_extra["citations"] == usage.model_extra["citations"] == [citation]
        assert (usage.choices, usage.usage.total_tokens) == ([], 15)

        embedded = await client.embeddings.create(model="票务", input=["一张票", "a boat"])
        assert [len(one.embedding) for one in embedded.data] == [512, 512]
        plain = await client.embeddings.create(model="builtin", input="a boat", encoding_format="float")
        assert plain.data[0].embedding == pytest.approx(embedded.data[1].embedding)

    play(store, send_stream(*ANSWER), script=script)


def test_an_answer_that_was_cut_off_says_so(store: Path) -> None:
    async def script(client: openai.AsyncOpenAI, chat: ChatServer) -> None:
        whole = await client.chat.completions.create(model="票务", messages=QUESTION, max_tokens=1)
        assert (whole.choices[0].finish_reason, whole.choices[0].message.content) == ("length", "成人票一百")
        stream = await client.chat.completions.create(model="票务", messages=QUESTION, max_tokens=0, stream=True)
        assert [chunk async for chunk in stream][-1].choices[0].finish_reason == "length"
        await client.chat.completions.create(model="票务", messages=QUESTION, max_tokens=-1)  # as much as there may be
        assert [body["max_tokens"] for body in chat.bodies] == [1, 1_024, 1_024]
        asked = await client.post(
            str(client.base_url.join("/api/v1/knowledge-bases/票务/ask")),
            body={"question": "开放夜的成人票多少钱？", "history": []},
            cast_to=dict[str, object],
        )
        assert (asked["answer"], asked["cut_off"]) == ("成人票一百", True)

    stopped = write_event(choices=[{"index": 0, "delta": {}, "finish_reason": "length"}])
    play(store, send_stream(write_event("成人票一百"), stopped, USAGE, DONE), script=script)


def test_a_follow_up_is_asked_as_the_chat_model_completes_it(store: Path) -> None:
    async def script(client: openai.AsyncOpenAI, chat: ChatServer) -> None:
        messages = [*QUESTION, {"role": "assistant", "content": TEXT}, {"role": "user", "content": "学生票呢？"}]
        whole = await client.chat.completions.create(model="票务", messages=messages)
        assert whole.model_extra["query"] == "开放夜的学生票多少钱？"
        assert whole.choices[0].message.content == "八十元[1]。"
        rewriting, answering = chat.bodies
        assert (rewriting["max_tokens"], rewriting["temperature"]) == (128, 0.0)
        assert "开放夜的学生票多少钱？" in answering["messages"][-1]["content"]

    full = send_stream(write_event("开放夜的学生票多少钱？"), FINISH, DONE)
    play(store, full, send_stream(write_event("八十元[1]。"), FINISH, DONE), script=script)


def test_what_goes_wrong_is_an_error_of_the_package(store: Path) -> None:
    async def script(client: openai.AsyncOpenAI, chat: ChatServer) -> None:
        with pytest.raises(openai.NotFoundError) as unknown:
            await client.chat.completions.create(model="gpt-4o", messages=QUESTION)
        assert unknown.value.code == "model_not_found"
        with pytest.raises(openai.BadRequestError) as empty:
            await client.chat.completions.create(model="票务", messages=[{"role": "user", "content": ""}])
        assert empty.value.code == "question_empty"
        with pytest.raises(openai.NotFoundError):
            await client.embeddings.create(model="text-embedding-3-small", input="x")
        with pytest.raises(openai.InternalServerError) as down:
            await client.chat.completions.create(model="票务", messages=QUESTION)
        assert down.value.status_code == 503
        stream = await client.chat.completions.create(model="票务", messages=QUESTION, stream=True)
        with pytest.raises(openai.APIError) as broken:
            [chunk async for chunk in stream]
        assert broken.value.code == down.value.code

    play(store, send_status(401), script=script)


def test_closing_a_stream_ends_the_models_work(store: Path) -> None:
    async def script(client: openai.AsyncOpenAI, chat: ChatServer) -> None:
        stream = await client.chat.completions.create(model="票务", messages=QUESTION, stream=True)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        await stream.close()
        await asyncio.wait_for(chat.left.wait(), 30)

    play(store, send_stream(write_event("一"), stall=True), script=script)
