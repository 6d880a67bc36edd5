"""The chat model searches on by itself: a real vLLM, its own parser of calls, and the whole server before it."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Iterator
from contextlib import aclosing
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.calling_qwen import ALWAYS, QUERY, build_calling_qwen
from fakes.vllm_server import ABSENT, ENVIRONMENT, KEY, WINDOW, VllmServer, find_source, serve_over

from retrieval.chat.client import OpenAIChatModel
from retrieval.chat.model import ChatOptions
from retrieval.chat.server import ChatServer
from retrieval.events import ChatPiece
from retrieval.prompt import ChatMessage
from retrieval.search_tool import describe_search

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge. Boats are let from May on.",
}
ASK = "/api/v1/knowledge-bases/k/ask"
QUESTION = {"question": "开放夜的成人票多少钱？", "top_k": 1, "agent": True, "max_tokens": 200}
ENDLESS = QUESTION | {"question": QUESTION["question"] + ALWAYS, "language": "zh"}
SCHEMA = {"type": "integer", "enum": [12, 80]}
ARGUMENTS = json.dumps({"query": QUERY}, ensure_ascii=False)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if not (ENVIRONMENT / "installed").exists():
        pytest.skip(ABSENT)
    return build_calling_qwen(tmp_path_factory.mktemp("calling") / "qwen", find_source())


@pytest.fixture(scope="module", params=["--tools", "no parser"])
def caller(folder: Path, request: pytest.FixtureRequest) -> Iterator[VllmServer]:
    """With its parser of calls, and without one: it then refuses tools, and is asked as text."""
    options = [request.param] if request.param == "--tools" else []
    with VllmServer(folder, "--window", str(WINDOW), *options) as server:
        yield server


@pytest.fixture(scope="module")
def client(caller: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serve_over(caller, tmp_path_factory.mktemp("server") / "store", FILES) as client:
        yield client


def read_events(text: str) -> list[tuple[str, dict[str, Any]]]:
    blocks = [block for block in text.split("\n\n") if block.startswith("event:")]
    return [(block.split("\n")[0][7:], json.loads(block.split("data: ", 1)[1])) for block in blocks]


def list_steps(answer: dict[str, Any]) -> list[tuple[int, str, str, int, str | None]]:
    return [tuple(step[name] for name in ("round", "tool", "query", "found", "error")) for step in answer["steps"]]


def test_a_call_is_made_and_what_it_finds_is_cited(client: httpx.Client) -> None:
    events = read_events(client.post(ASK, json=QUESTION | {"stream": True}).text)
    names = [name for name, _ in events]
    assert names[:2] == ["step", "passages"]
    assert set(names[2:-1]) == {"token"}
    assert names[-1] == "done"
    answer = events[-1][1]
    assert list_steps(answer) == [(1, "search", QUERY, 1, None)]
    assert events[0][1] == answer["steps"][0]
    assert [one["document"]["path"] for one in events[1][1]["passages"]] == ["价目.md", "fees.txt"]
    assert answer["answer"] == "A boat costs twelve pounds [1]."
    [citation] = answer["citations"]
    assert (citation["document"]["path"], citation["quote"]) == ("fees.txt", "A boat for a day costs twelve pounds.")
    assert answer["unsupported"] == []
    assert answer["usage"]["prompt_tokens"] > 600  # of both rounds
    whole = client.post(ASK, json=QUESTION).json()
    assert (whole["answer"], list_steps(whole)) == (answer["answer"], list_steps(answer))


@pytest.mark.parametrize("rounds", [1, 4])
def test_a_model_that_calls_for_ever_ends_after_its_rounds(client: httpx.Client, rounds: int) -> None:
    events = read_events(client.post(ASK, json=ENDLESS | {"stream": True, "max_rounds": rounds}).text)
    assert [name for name, _ in events] == ["step"] * rounds + ["passages", "token", "done"]
    answer = events[-1][1]
    repeated = [(number, "search", QUERY, 0, "repeated_query") for number in range(2, rounds + 1)]
    assert list_steps(answer) == [(1, "search", QUERY, 1, None), *repeated]
    assert (answer["answer"], answer["refused"]) == ("资料中没有找到这个问题的答案。", True)
    assert answer["usage"]["completion_tokens"] > 20 * (rounds + 1)


def test_nothing_is_called_without_agent(client: httpx.Client) -> None:
    """The model writes its call all the same, into a request without tools: it is text, and nothing is searched."""
    answer = client.post(ASK, json=QUESTION | {"agent": False}).json()
    assert answer["steps"] == []
    assert answer["answer"].startswith("<tool_call>")
    assert len(answer["passages"]) == 1


def test_json_is_asked_for_behind_the_rounds(client: httpx.Client, caller: VllmServer) -> None:
    """The model calls, then says something in words; only its third call is bound, and its grammar makes it JSON."""
    before = caller.count_finished()
    events = read_events(client.post(ASK, json=QUESTION | {"response_schema": SCHEMA, "stream": True}).text)
    assert [name for name, _ in events] == ["step", "passages", "token", "done"]
    answer = events[-1][1]
    assert list_steps(answer) == [(1, "search", QUERY, 1, None)]
    assert [one["document"]["path"] for one in answer["passages"]] == ["价目.md", "fees.txt"]
    assert events[2][1] == {"text": answer["answer"]}
    check_number(answer)
    assert caller.count_finished() - before == 3
    whole = client.post(ASK, json=QUESTION | {"response_schema": SCHEMA}).json()
    assert (whole["answer"], list_steps(whole)) == (answer["answer"], list_steps(answer))


@pytest.mark.parametrize("rounds", [1, 3])
def test_a_model_that_calls_for_ever_ends_with_json(client: httpx.Client, caller: VllmServer, rounds: int) -> None:
    before = caller.count_finished()
    body = ENDLESS | {"response_schema": SCHEMA, "max_rounds": rounds}
    answer = client.post(ASK, json=body).json()
    assert [step["round"] for step in answer["steps"]] == list(range(1, rounds + 1))
    check_number(answer)
    assert caller.count_finished() - before == rounds + 1


def check_number(answer: dict[str, Any]) -> None:
    assert (answer["refused"], answer["answer"]) == (False, str(answer["data"]))
    assert answer["data"] in {12, 80}
    cited = [citation["document"]["path"] for citation in answer["citations"]]
    assert set(cited) <= {passage["document"]["path"] for passage in answer["passages"]}
    assert [citation["number"] for citation in answer["citations"]] == list(range(1, len(cited) + 1))


def test_a_reader_who_leaves_between_rounds_ends_it(client: httpx.Client, caller: VllmServer) -> None:
    with client.stream("POST", ASK, json=ENDLESS | {"stream": True, "max_rounds": 6}) as answer:
        for line in answer.iter_lines():
            if line.startswith("event: step"):
                break
    left = time.monotonic()
    while caller.count_running():
        assert time.monotonic() - left < 1.0


def test_calls_come_in_pieces_and_are_whole_in_the_end(caller: VllmServer) -> None:
    *pieces, last = asyncio.run(listen(caller, ChatOptions(max_tokens=100, tools=[describe_search("en")])))
    assert "".join(piece.text for piece in pieces) == ""
    [call] = last.calls
    assert (call.name, json.loads(call.arguments)) == ("search", {"query": QUERY})
    assert [piece.usage for piece in pieces if piece.usage]


def test_a_schema_beside_the_tool_keeps_the_model_from_calling(caller: VllmServer) -> None:
    """Why no round is bound to a schema: https://github.com/vllm-project/vllm/issues/39929. Where this fails, a newer
    vLLM lets it call."""
    options = ChatOptions(max_tokens=100, tools=[describe_search("en")], schema=SCHEMA)
    *pieces, last = asyncio.run(listen(caller, options))
    assert last.calls == []
    assert int("".join(piece.text for piece in pieces)) in {12, 80}


async def listen(caller: VllmServer, options: ChatOptions) -> list[ChatPiece]:
    messages = [ChatMessage(role="system", content="只依据资料回答。"), ChatMessage(role="user", content="How much?")]
    model = OpenAIChatModel(ChatServer(base_url=caller.url, model=caller.name, api_key=KEY))
    await model.open()
    try:
        async with aclosing(model.stream(messages, options)) as pieces:
            return [piece async for piece in pieces]
    finally:
        await model.close()
