"""The `openai` package against the whole server with a real vLLM behind it."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import openai
import pytest
from fakes.server import Server
from fakes.vllm_server import KEY, WINDOW, VllmServer

from retrieval.follow_up import complete_question
from retrieval.prompt import ChatMessage
from retrieval.question import list_terms

PRICE = {"role": "user", "content": "开放夜的成人票多少钱？"}
READING = {"role": "user", "content": "readings 20250003 value"}
LONG = 1_300  # tokens of an answer that is left while it is written

MOST = 60  # tokens of an answer

Play = Callable[[openai.AsyncOpenAI], Awaitable[None]]


def run(server: Server, play: Play) -> None:
    async def main() -> None:
        async with openai.AsyncOpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client:
            await play(client)

    asyncio.run(main())


def ask(client: openai.AsyncOpenAI, *messages: dict[str, str], **more: Any) -> Any:
    given = {"model": "k", "messages": messages or (PRICE,), "temperature": 0.8, "max_tokens": MOST}
    return client.chat.completions.create(**given | more)


def name_end(usage: Any) -> str:
    """Noise seldom ends by itself."""
    return "length" if usage.completion_tokens == MOST else "stop"


def test_a_whole_answer(server: Server) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        whole = await ask(client)
        [choice] = whole.choices
        assert 0 < whole.usage.completion_tokens <= MOST
        assert choice.finish_reason == name_end(whole.usage)
        assert whole.usage.total_tokens == whole.usage.prompt_tokens + whole.usage.completion_tokens
        assert count_numbers(choice.message.content) == len(whole.model_extra["citations"])
        assert whole.model_extra["query"] == PRICE["content"]

    run(server, play)


def test_a_streamed_answer(server: Server) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        stream = await ask(client, stream=True, stream_options={"include_usage": True})
        first, *written, last, usage = [chunk async for chunk in stream]
        assert (first.choices[0].delta.role, first.choices[0].delta.content) == ("assistant", "")
        assert len(written) > 20
        text = "".join(chunk.choices[0].delta.content for chunk in written)
        assert count_numbers(text) == len(last.model_extra["citations"]) == len(usage.model_extra["citations"])
        assert 100 < usage.usage.prompt_tokens < WINDOW
        assert 0 < usage.usage.completion_tokens <= MOST
        assert last.choices[0].finish_reason == name_end(usage.usage)

    run(server, play)


def count_numbers(text: str) -> int:
    """Citations that the text names: noise names none as a rule, and then there are none."""
    return len(set(re.findall(r"\[\d+\]", text)))


def test_eight_streams_at_once(server: Server, vllm: VllmServer) -> None:
    async def read(client: openai.AsyncOpenAI) -> str:
        chunks = [chunk async for chunk in await ask(client, stream=True)]
        assert chunks[-1].choices[0].finish_reason in {"stop", "length"}
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    async def play(client: openai.AsyncOpenAI) -> None:
        before = await asyncio.to_thread(vllm.count_finished)
        answers = await asyncio.gather(*(read(client) for _ in range(8)))
        assert len(set(answers)) == 8  # each its own, whatever ran beside it
        assert all(len(answer) > 20 for answer in answers)
        assert await asyncio.to_thread(vllm.count_finished) == before + 8

    run(server, play)


def test_vllm_stops_within_a_second_of_a_streams_reader_leaving(server: Server, vllm: VllmServer) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        stream = await ask(client, stream=True, max_tokens=LONG)
        async for chunk in stream:
            if chunk.choices[0].delta.content:
                break
        assert await asyncio.to_thread(vllm.count_running) == 1
        await stream.close()
        await expect_stop(vllm)

    run(server, play)


def test_vllm_stops_within_a_second_when_nobody_waits_for_a_whole_answer(server: Server, vllm: VllmServer) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        waiting = asyncio.ensure_future(ask(client, max_tokens=LONG))
        while not await asyncio.to_thread(vllm.count_running):
            assert not waiting.done()
        waiting.cancel()
        await expect_stop(vllm)

    run(server, play)


async def expect_stop(vllm: VllmServer) -> None:
    left = time.monotonic()
    while await asyncio.to_thread(vllm.count_running):
        assert time.monotonic() - left < 1.0
    assert time.monotonic() - left < 1.0


def test_a_follow_up_goes_through_the_model_and_bears_whatever_it_writes(server: Server, vllm: VllmServer) -> None:
    said = "成人票每张一百六十元[1]。"
    history = [ChatMessage(role="user", content=PRICE["content"]), ChatMessage(role="assistant", content=said)]
    follow_up = {"role": "user", "content": "学生票呢？"}

    async def play(client: openai.AsyncOpenAI) -> None:
        before = await asyncio.to_thread(vllm.count_finished)
        whole = await ask(client, PRICE, {"role": "assistant", "content": said}, follow_up)
        query = whole.model_extra["query"]
        by_rule = complete_question(follow_up["content"], history)
        # it was asked to complete the question; where its time runs out, on a busy machine, the rule does
        assert await asyncio.to_thread(vllm.count_finished) == before + 2 or query == by_rule
        assert query == by_rule or not list_terms(query).isdisjoint(list_terms(follow_up["content"]))
        assert whole.choices[0].message.content

    run(server, play)


def test_what_is_too_long_says_so(server: Server) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        for question in ("长" * 8_001, "1" * 7_900):  # more than a question may have; than vLLM's window has room for
            with pytest.raises(openai.BadRequestError) as refused:
                await ask(client, {"role": "user", "content": question})
            assert refused.value.code == "question_too_long"
            assert refused.value.type == "invalid_request_error"
        with pytest.raises(openai.NotFoundError) as unknown:
            await ask(client, model="Qwen/Qwen2.5-7B-Instruct")
        assert unknown.value.code == "model_not_found"

    run(server, play)


DOWN = openai.InternalServerError
FAULTS = [
    ({"llm_api_key": "another"}, PRICE, DOWN, "llm_key_refused", "KB_LLM_API_KEY"),
    ({"llm_model": "Qwen/Qwen2.5-72B-Instruct"}, PRICE, DOWN, "llm_model_unknown", "KB_LLM_MODEL"),
    ({"llm_window": 256}, PRICE, DOWN, "llm_window_too_small", "longer window"),
    # a profile that never asks for the window, and one set by hand that is not vLLM's: it is vLLM that refuses
    ({"llm_profile": "transformers", "llm_window": 32_768}, READING, openai.BadRequestError, "llm_prompt_too_long",
     "KB_LLM_WINDOW"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("settings", "question", "kind", "code", "way_out"), FAULTS, ids=[code for _, _, _, code, _ in FAULTS]
)
def test_what_vllm_refuses_has_its_code(
    store: Path,
    vllm: VllmServer,
    settings: dict[str, Any],
    question: dict[str, str],
    kind: type[openai.APIStatusError],
    code: str,
    way_out: str,
) -> None:
    async def play(client: openai.AsyncOpenAI) -> None:
        with pytest.raises(kind) as refused:
            await ask(client, question)
        with pytest.raises(openai.APIError) as broken:
            [chunk async for chunk in await ask(client, question, stream=True)]
        assert refused.value.code == broken.value.code == code
        assert way_out in refused.value.message
        assert KEY not in json.dumps(refused.value.body)

    given = {"llm_base_url": vllm.url, "llm_model": vllm.name, "llm_api_key": KEY, "workers": 0}
    with Server(store, **given | settings) as server:
        run(server, play)
        assert KEY not in server.read_log()
