"""The chat model searches on and answers in JSON: over HTTP and by `kb ask`, with a scripted chat server behind the
whole server."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import httpx
import pytest
from fakes.chat_server import DONE, FINISH, USAGE, ChatServer, Reply, send_status, send_stream, write_event
from fakes.chat_walk import ASK, fill_store, play, read_events
from fakes.server import run_command

SCHEMA = {
    "type": "object",
    "properties": {"boat": {"type": "integer"}, "currency": {"type": "string"}},
    "required": ["boat"],
    "additionalProperties": False,
}
QUESTION: dict[str, Any] = {
    "question": "开放夜的成人票多少钱？",
    "top_k": 1,
    "agent": True,
    "response_schema": SCHEMA,
}
DATA = {"boat": 12, "currency": "镑"}
STEP = {"round": 1, "tool": "search", "query": "船 boats oars", "found": 1, "error": None}


def write(text: str) -> Reply:
    return send_stream(*map(write_event, text.partition(":")), FINISH, USAGE, DONE)


def write_call(query: str) -> Reply:
    called = {"name": "search", "arguments": json.dumps({"query": query}, ensure_ascii=False)}
    delta = {"tool_calls": [{"index": 0, "id": "t1", "type": "function", "function": called}]}
    calls = write_event(choices=[{"index": 0, "delta": delta, "finish_reason": "tool_calls"}])
    return send_stream(calls, USAGE, DONE)


CALL = write_call("船 boats oars")
PROSE = write("船每天十二镑[2]。")
GOOD = write('{"answer": {"boat": 12, "currency": "镑"}, "sources": [2, 9]}')
BAD = write('{"answer": {"boat": "secret"}, "sources": [2]}')
NULL = write('{"answer": null, "sources": []}')


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_store(tmp_path_factory.mktemp("agent") / "store")


def drop_times(told: dict[str, Any]) -> dict[str, Any]:
    steps = [{name: value for name, value in step.items() if name != "took_ms"} for step in told["steps"]]
    return {**told, "steps": steps, "timings_ms": None}


def list_kinds(chat: ChatServer) -> list[tuple[bool, bool]]:
    return [("tools" in body, "response_format" in body) for body in chat.bodies]


@pytest.mark.parametrize("between", [[], [PROSE]])
def test_whole_and_streamed(store: Path, between: list[Reply]) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        body = QUESTION | {"history": []}
        told = (await client.post(ASK, json=body)).json()
        assert (told["data"], json.loads(told["answer"]), told["refused"]) == (DATA, DATA, False)
        assert [one["document"]["path"] for one in told["passages"]] == ["价目.md", "fees.txt"]
        [citation] = told["citations"]
        assert (citation["number"], citation["document"]["path"]) == (1, "fees.txt")
        assert citation["quote"] == "A boat for a day costs twelve pounds."
        assert (told["dropped"], told["unsupported"]) == (1, [])
        calls = 2 + len(between)
        assert told["usage"] == {"prompt_tokens": 12 * calls, "completion_tokens": 3 * calls}
        assert drop_times(told)["steps"] == [STEP]
        assert list_kinds(chat) == [(True, False), (True, False), *[(False, True)] * len(between)]

        events = read_events((await client.post(ASK, json=body | {"stream": True})).text)
        assert [name for name, _ in events] == ["step", "passages", "token", "done"]
        assert events[0][1] == events[3][1]["steps"][0]
        assert events[2][1] == {"text": told["answer"]}
        assert drop_times(events[3][1]) == drop_times(told)

    rounds = [CALL, *between, GOOD]
    play(store, *rounds, *rounds, script=script)


def test_the_last_call_is_bound_and_its_answer_corrected_once(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        body = QUESTION | {"max_rounds": 1}
        told = (await client.post(ASK, json=body)).json()
        assert (told["data"], len(told["steps"])) == (DATA, 1)
        assert list_kinds(chat) == [(True, False), (False, True), (False, True)]
        sent = chat.bodies[1]["response_format"]["json_schema"]["schema"]
        assert sent["properties"]["sources"]["items"]["enum"] == [1, 2]
        assert chat.bodies[1]["messages"][-1]["content"].endswith("不能再检索了：请只依据已给出的资料作答。")
        assert "#/properties/boat/type" in chat.bodies[2]["messages"][-1]["content"]
        failed = await client.post(ASK, json=body)
        assert (failed.status_code, failed.json()["code"]) == (503, "llm_bad_json")
        assert "secret" not in failed.text
        events = read_events((await client.post(ASK, json=body | {"stream": True})).text)
        assert [name for name, _ in events] == ["step", "passages", "error"]
        assert events[2][1]["code"] == "llm_bad_json"

    play(store, CALL, BAD, GOOD, CALL, BAD, BAD, CALL, BAD, BAD, script=script)


def test_refusals(store: Path) -> None:
    """By the model, in a round and at the end; by one that calls for ever; and a schema that is none."""

    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        for rounds, asked in ((3, 1), (1, 2), (1, 3)):
            before = len(chat.bodies)
            told = (await client.post(ASK, json=QUESTION | {"max_rounds": rounds, "history": []})).json()
            assert (told["refused"], told["data"], told["citations"]) == (True, None, [])
            assert told["answer"] == "资料中没有找到这个问题的答案。"
            assert len(chat.bodies) - before == asked
        bad = await client.post(ASK, json=QUESTION | {"response_schema": {"type": "x"}})
        assert (bad.status_code, bad.json()["code"]) == (422, "bad_response_schema")

    play(store, NULL, CALL, NULL, CALL, script=script)


def test_a_conversation_goes_on(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        first = (await client.post(ASK, json=QUESTION)).json()
        going_on = QUESTION | {"conversation_id": first["conversation_id"], "question": "学生票呢？"}
        second = (await client.post(ASK, json=going_on)).json()
        assert (second["data"], second["query"]) == ({"boat": 80}, "开放夜的学生票多少钱？")
        assert second["citations"][0]["document"]["path"] == "价目.md"
        said = [message["content"] for message in chat.bodies[3]["messages"] if message["role"] == "assistant"]
        assert said == [first["answer"]]
        kept = (await client.get(f"/api/v1/conversations/{first['conversation_id']}")).json()
        assert [turn["answer"] for turn in kept["turns"]] == [first["answer"], '{"boat":80}']

    student = write('{"answer": {"boat": 80}, "sources": [1]}')
    play(store, CALL, GOOD, write("开放夜的学生票多少钱？"), student, script=script)


def test_a_server_without_tools_and_without_schemas(store: Path) -> None:
    """Asked as text for its calls, and without the schema for its answer."""

    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        told = (await client.post(ASK, json=QUESTION | {"max_rounds": 1})).json()
        assert (told["data"], len(told["steps"])) == (DATA, 1)
        assert list_kinds(chat) == [(True, False), (False, False), (False, True), (False, False)]
        roles = [message["role"] for message in chat.bodies[3]["messages"]]
        assert roles == ["system", "user", "assistant", "user"]

    called = write('<tool_call>{"name": "search", "arguments": {"query": "船 boats oars"}}</tool_call>')
    play(store, send_status(400), called, send_status(400), GOOD, script=script)


def test_a_reader_who_leaves_while_the_json_is_written_ends_it(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        async with client.stream("POST", ASK, json=QUESTION | {"max_rounds": 1, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: passages"):
                    break
        await asyncio.wait_for(chat.left.wait(), 30)
        assert len(chat.bodies) == 2

    play(store, CALL, send_stream(write_event('{"answer": '), stall=True), script=script)


def test_the_command(store: Path, tmp_path: Path) -> None:
    schema, bad = tmp_path / "schema.json", tmp_path / "bad.json"
    schema.write_text(json.dumps(SCHEMA, ensure_ascii=False, indent=2), "utf-8")
    bad.write_text('{"type": "x"}', "utf-8")

    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        async def run(*words: str) -> Any:
            return await asyncio.to_thread(run_command, store, "ask", *words, "--kb", "k", url=str(client.base_url))

        first = await run("船多少钱？", "--schema", str(schema), "--agent", "--max-rounds", "1")
        assert (first.code, first.out.splitlines()[0]) == (0, '{"boat":12,"currency":"镑"}')
        assert first.out.splitlines()[2].startswith("[1] ")
        told, named = first.err.splitlines()
        assert (told, named[:14]) == ("1. search “船 boats oars”: 0 new", "conversation: ")
        again = await run("再说一遍？", "--schema", str(schema), "--json", "--conversation", named[14:])
        assert json.loads(again.out)["data"] == DATA
        assert json.loads(again.out)["conversation_id"] == named[14:]
        refused = await run("船多少钱？", "--schema", str(bad))
        assert (refused.code, refused.out) == (4, "")
        assert refused.err.startswith("bad_response_schema: response_schema #/type is no JSON Schema")
        failed = await run("船多少钱？", "--schema", str(schema), "--no-stream")
        assert (failed.code, failed.err[:13]) == (5, "llm_bad_json:")

    play(store, CALL, GOOD, write("船多少钱？"), GOOD, BAD, BAD, script=script)
