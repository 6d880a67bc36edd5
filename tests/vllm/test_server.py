"""The whole server with a real vLLM behind it: `kb serve`, an upload, questions."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import httpx
import pytest
from fakes.http_client import NO_TLS
from fakes.server import Server
from fakes.vllm_server import KEY, WINDOW, VllmServer

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
    # A figure is a token: the estimate takes this for a quarter of what it costs, and the server's count corrects it.
    "readings.csv": b"time,value\n" + b"\n".join(b"%d,%d.%06d" % (20_250_000 + n, n, n * 7) for n in range(2_000)),
}
ASK = "/api/v1/knowledge-bases/k/ask"
QUESTION = {"question": "开放夜的成人票多少钱？", "temperature": 0.8}


@pytest.fixture(scope="module")
def client(vllm: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    settings = {"llm_base_url": vllm.url, "llm_model": vllm.name, "llm_api_key": KEY}
    with Server(tmp_path_factory.mktemp("server") / "store", **settings) as server:
        filling = server.open_client("k")
        filling.create()
        filling.upload(FILES)
        filling.wait_until_idle()
        with httpx.Client(base_url=server.url, timeout=200, trust_env=False, verify=NO_TLS) as client:
            yield client
        assert KEY not in server.read_log()


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
