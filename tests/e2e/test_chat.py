"""The whole server with a chat server behind it: prompt, stream, citations, and how a stream ends."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import httpx
import pytest
from fakes.chat_server import DONE, FINISH, USAGE, ChatServer, send_status, send_stream, write_event
from fakes.chat_walk import ASK, KEY, fill_store, play, read_events
from fakes.http_client import wait_until

ANSWER = (write_event("成人票一百"), write_event("六十元[1]，"), write_event("见附录[9]。"), FINISH, USAGE, DONE)
QUESTION = {"question": "开放夜的成人票多少钱？"}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return fill_store(tmp_path_factory.mktemp("chat") / "store")


def test_an_answer_is_prompted_streamed_and_cited(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        answer = (await client.post(ASK, json=QUESTION)).json()
        assert answer["answer"] == "成人票一百六十元[1]，见附录。"
        assert (answer["model"], answer["refused"]) == ("m", False)
        assert answer["usage"] == {"prompt_tokens": 12, "completion_tokens": 3}
        [citation] = answer["citations"]
        assert (citation["number"], citation["document"]["path"]) == (1, "价目.md")
        assert "一百六十元" in citation["quote"]
        [system, user] = chat.bodies[0]["messages"]
        assert (system["role"], user["role"]) == ("system", "user")
        assert QUESTION["question"] in system["content"] + user["content"]
        assert "学生票每张八十元" in user["content"]
        assert chat.headers[0]["Authorization"] == f"Bearer {KEY}"

        events = read_events((await client.post(ASK, json={**QUESTION, "stream": True})).text)
        names = [name for name, _ in events]
        tokens = [data["text"] for name, data in events if name == "token"]
        assert names == ["passages", *["token"] * len(tokens), "done"]  # what has come together goes on together
        assert "".join(tokens) == "成人票一百六十元[1]，见附录[9]。"
        assert events[-1][1]["answer"] == answer["answer"]
        assert len(set(chat.ports)) == 1  # one client is kept, not one a request

    log = play(store, send_stream(*ANSWER), script=script)
    assert KEY not in log


FALSE_ANSWER = "成人票一百九十元[1]。学生票每张八十元[1][99]。"


def test_what_no_passage_bears_out_is_flagged_and_the_cited_version_opens_as_it_was(tmp_path: Path) -> None:
    folder = tmp_path / "store"

    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        for stream in (False, True):
            told = await client.post(ASK, json={**QUESTION, "stream": stream})
            answer = read_events(told.text)[-1][1] if stream else told.json()
            assert answer["answer"] == "成人票一百九十元[1]。学生票每张八十元[1]。"
            [flagged] = answer["unsupported"]
            assert answer["answer"][flagged["start"] : flagged["end"]] == "成人票一百九十元[1]。"
            assert (answer["unsupported_count"], answer["dropped"]) == (1, 1)
            kept = (await client.get(f"/api/v1/conversations/{answer['conversation_id']}")).json()
            assert kept["turns"][0]["unsupported"] == [flagged]
            asked = {"model": "k", "messages": [{"role": "user", "content": QUESTION["question"]}], "stream": stream}
            completed = await client.post("/v1/chat/completions", json=asked)
            chunks = [block.removeprefix("data: ") for block in completed.text.split("\n\n")]
            last = json.loads(chunks[-3]) if stream else completed.json()  # behind it `[DONE]` and nothing
            assert (last["unsupported"], last["citations"]) == ([flagged], answer["citations"])
        [citation] = answer["citations"]
        new = ("files", ("价目.md", "# 门票\n\n学生票每张九十元。\n".encode(), "text/markdown"))
        uploaded = await client.post("/api/v1/knowledge-bases/k/documents", files=[new])
        job = f"{client.base_url}/api/v1/jobs/{uploaded.json()['job_id']}"
        await asyncio.to_thread(wait_until, lambda: is_done(job), "the new version is there")
        at = f"/api/v1/knowledge-bases/k/documents/{citation['document']['id']}/text"
        assert "九十元" in (await client.get(at)).json()["text"]
        pinned = (await client.get(at, params={"version": citation["version"]})).json()
        assert pinned["text"][citation["start"] : citation["end"]] == citation["quote"]
        assert "八十元" in citation["quote"]

    fill_store(folder)
    play(folder, send_stream(write_event(FALSE_ANSWER), FINISH, DONE), script=script, workers=1)


def is_done(url: str) -> bool:
    return httpx.get(url, trust_env=False).json()["state"] == "succeeded"


def test_nothing_found_calls_no_model(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        answer = (await client.post(ASK, json={"question": "zzqx?"})).json()
        if not answer["passages"]:
            assert (answer["refused"], answer["citations"], chat.bodies) == (True, [], [])
        assert (await client.get("/health/ready")).status_code == 200

    play(store, send_stream(*ANSWER), script=script)


def test_a_chat_server_that_fails_is_a_503_and_an_error_event(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        answer = await client.post(ASK, json=QUESTION)
        assert (answer.status_code, answer.json()["code"]) == (503, "llm_key_refused")
        events = read_events((await client.post(ASK, json={**QUESTION, "stream": True})).text)
        assert [name for name, _ in events] == ["passages", "error"]
        assert events[-1][1]["code"] == "llm_key_refused"

    log = play(store, send_status(401), script=script)
    assert KEY not in log


def test_a_reader_who_leaves_ends_the_models_work(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        async with client.stream("POST", ASK, json={**QUESTION, "stream": True}) as answer:
            async for line in answer.aiter_lines():
                if line.startswith("event: token"):
                    break
        await asyncio.wait_for(chat.left.wait(), 30)

    play(store, send_stream(write_event("一"), stall=True), script=script)


def test_who_finds_no_place_is_told_to_come_again(store: Path) -> None:
    async def script(client: httpx.AsyncClient, chat: ChatServer) -> None:
        async with client.stream("POST", ASK, json={**QUESTION, "stream": True}) as first:
            await asyncio.wait_for(chat.reached.wait(), 30)
            for stream in (False, True):
                answer = await client.post(ASK, json={**QUESTION, "stream": stream})
                assert (answer.status_code, answer.json()["code"]) == (429, "too_busy")
                assert answer.headers["retry-after"] == "5"
            assert (await client.post(ASK.replace("ask", "search"), json={"query": "票"})).status_code == 200
            await first.aclose()
        await asyncio.wait_for(chat.left.wait(), 30)
        assert (await client.post(ASK, json=QUESTION)).status_code == 200

    replies = send_stream(write_event("一"), stall=True), send_stream(*ANSWER)
    play(store, *replies, script=script, llm_calls=1, llm_waiting=0)
