"""The whole server with a real vLLM behind it: `kb serve`, an upload, questions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fakes.http_client import NO_TLS
from fakes.server import Server
from fakes.vllm_server import WINDOW, VllmServer

from retrieval.question import list_terms
from retrieval.rewriting import LIMIT_S

ASK = "/api/v1/knowledge-bases/k/ask"
QUESTION = {"question": "开放夜的成人票多少钱？", "temperature": 0.8}


@pytest.fixture(scope="module")
def client(server: Server) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=server.url, timeout=200, trust_env=False, verify=NO_TLS) as client:
        yield client


def test_a_whole_answer(client: httpx.Client, vllm: VllmServer) -> None:
    answer = client.post(ASK, json=QUESTION | {"max_tokens": 60})
    assert answer.status_code == 200, answer.text
    told = answer.json()
    assert told["model"] == vllm.name
    assert told["answer"]
    assert told["passages"][0]["document"]["path"] == "价目.md"
    assert 0 < told["usage"]["completion_tokens"] <= 60


def test_a_streamed_answer(client: httpx.Client) -> None:
    answer = client.post(ASK, json=QUESTION | {"max_tokens": 60, "stream": True})
    blocks = [block for block in answer.text.split("\n\n") if block.startswith("event:")]
    names = [block.split("\n")[0][7:] for block in blocks]
    assert (names[0], names[-1]) == ("passages", "done")
    assert set(names[1:-1]) == {"token"}
    assert len(names) > 20
    assert json.loads(blocks[-1].split("data: ", 1)[1])["usage"]["prompt_tokens"] > 100


def test_the_prompt_fits_the_window_whatever_the_estimate_says(client: httpx.Client) -> None:
    question = {"question": "readings 20250003 value", "max_context_tokens": 9_000, "top_k": 50, "max_tokens": 30}
    answer = client.post(ASK, json=question | {"temperature": 0.8})
    assert answer.status_code == 200, answer.text
    assert 0.4 * WINDOW < answer.json()["usage"]["prompt_tokens"] <= WINDOW - 30


def test_a_conversation_goes_on_whatever_the_model_makes_of_the_follow_up(
    client: httpx.Client, vllm: VllmServer
) -> None:
    first = client.post(ASK, json=QUESTION | {"max_tokens": 30}).json()
    before = vllm.count_finished()
    follow_up = {"question": "学生票呢？", "conversation_id": first["conversation_id"], "max_tokens": 30}
    answer = client.post(ASK, json=QUESTION | follow_up)
    assert answer.status_code == 200, answer.text
    told = answer.json()
    # it was asked to complete the question and to answer it, unless its time for the first ran out on a busy machine
    assert vllm.count_finished() == before + 2 or told["timings_ms"]["rewrite"] >= 1000 * LIMIT_S
    assert not list_terms(told["query"]).isdisjoint(list_terms("学生票呢？"))
    assert told["passages"][0]["document"]["path"] == "价目.md"
    turns = client.get(f"/api/v1/conversations/{first['conversation_id']}").json()["turns"]
    assert [turn["question"] for turn in turns] == [QUESTION["question"], "学生票呢？"]


def test_vllm_stops_within_a_second_of_our_client_leaving(client: httpx.Client, vllm: VllmServer) -> None:
    with client.stream("POST", ASK, json=QUESTION | {"stream": True, "max_tokens": 1_300}) as answer:
        for line in answer.iter_lines():
            if line.startswith("event: token"):
                break
        assert vllm.count_running() == 1
    left = time.monotonic()
    while vllm.count_running():
        assert time.monotonic() - left < 1.0
    assert time.monotonic() - left < 1.0
