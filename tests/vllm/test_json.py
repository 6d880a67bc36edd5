"""Answers as JSON of a given schema, from a real vLLM with random weights: what makes them fit is its grammar."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import httpx
import openai
import pytest
from fakes.http_client import NO_TLS
from fakes.vllm_server import VllmServer, serve_over

FILES = {
    "价目.md": "# 门票\n\n开放夜的成人票每张一百六十元。学生票每张八十元。\n".encode(),
    "fees.txt": b"A boat for a day costs twelve pounds. Oars are lent free of charge.",
}
ASK = "/api/v1/knowledge-bases/k/ask"
QUESTIONS = {"zh": "开放夜的成人票多少钱？", "en": "What does a boat for a day cost?"}
# Bounded everywhere: random weights would write a text or a list until they are cut off.
TICKET = {
    "type": "object",
    "properties": {
        "price": {"$ref": "#/$defs/price"},
        "currency": {"enum": ["元", "pounds"]},
        "open": {"type": "boolean"},
        "also": {"type": "array", "items": {"$ref": "#/$defs/price"}, "minItems": 1, "maxItems": 2},
    },
    "required": ["price", "currency", "open", "also"],
    "additionalProperties": False,
}
SCHEMA = {"$defs": {"price": {"type": "integer", "enum": [12, 80, 160]}}, **TICKET}


@pytest.fixture(scope="module")
def client(vllm: VllmServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[httpx.Client]:
    with serve_over(vllm, tmp_path_factory.mktemp("json") / "store", FILES) as client:
        yield client


def check(told: dict[str, Any]) -> None:
    """It fits, or says that the passages do not hold it: random weights choose."""
    if told["refused"]:
        assert (told["data"], told["citations"]) == (None, [])
        return
    assert json.loads(told["answer"]) == told["data"]
    check_ticket(told["data"])
    assert [citation["number"] for citation in told["citations"]] == list(range(1, len(told["citations"]) + 1))


def check_ticket(data: dict[str, Any]) -> None:
    assert set(data) == set(TICKET["properties"])
    assert data["price"] in {12, 80, 160}
    assert data["currency"] in {"元", "pounds"}
    assert isinstance(data["open"], bool)
    assert data["also"]


@pytest.mark.parametrize("language", QUESTIONS)
def test_answers_fit_the_schema(client: httpx.Client, language: str) -> None:
    for temperature in (0.0, 0.8, 1.0):
        body = {"question": QUESTIONS[language], "response_schema": SCHEMA, "max_tokens": 150}
        answer = client.post(ASK, json=body | {"temperature": temperature})
        assert answer.status_code == 200, answer.text
        check(answer.json())


@pytest.mark.parametrize("language", QUESTIONS)
def test_a_stream_brings_the_json_in_one_piece(client: httpx.Client, language: str) -> None:
    body = {"question": QUESTIONS[language], "response_schema": SCHEMA, "max_tokens": 150, "stream": True}
    answer = client.post(ASK, json=body | {"temperature": 0.9})
    blocks = [block.split("\n") for block in answer.text.split("\n\n") if block.startswith("event:")]
    assert [name for name, _ in blocks] == ["event: passages", "event: token", "event: done"]
    token, done = (json.loads(data.removeprefix("data: ")) for _, data in blocks[1:])
    check(done)
    assert token == {"text": done["answer"]}


@pytest.mark.parametrize("language", QUESTIONS)
@pytest.mark.parametrize("stream", [False, True])
def test_the_openai_package_gets_json(client: httpx.Client, language: str, *, stream: bool) -> None:
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "ticket", "schema": SCHEMA, "strict": True}}
    messages: Any = [{"role": "user", "content": QUESTIONS[language]}]
    with openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="none", max_retries=0) as package:
        options: Any = {"model": "k", "messages": messages, "response_format": wanted, "max_tokens": 150}
        if stream:
            deltas = [chunk.choices[0].delta for chunk in package.chat.completions.create(**options, stream=True)]
            content = "".join(delta.content or "" for delta in deltas)
            refusal = "".join(delta.refusal or "" for delta in deltas)
        else:
            message = package.chat.completions.create(**options).choices[0].message
            content, refusal = message.content or "", message.refusal or ""
    assert bool(content) != bool(refusal)
    if content:
        check_ticket(json.loads(content))


def test_a_text_that_no_grammar_ends_is_cut_and_said(client: httpx.Client) -> None:
    """Random weights write on: the reply is cut, asked for once more, and the error says what to do."""
    body = {"question": QUESTIONS["en"], "response_schema": {"type": "string", "minLength": 900}, "max_tokens": 20}
    failed = client.post(ASK, json=body)
    assert (failed.status_code, failed.json()["code"]) == (503, "llm_bad_json")
    assert "cut off at max_tokens, 20" in failed.json()["detail"]


def test_what_its_grammar_does_not_know_is_checked_here(client: httpx.Client) -> None:
    """A pattern is not sent: what is written against it is found, and none is let through."""
    schema = {"type": "string", "enum": ["一", "二", "three"], "pattern": "^[a-z]+$"}
    for temperature in (0.0, 1.0):
        body = {"question": QUESTIONS["zh"], "response_schema": schema, "max_tokens": 60, "temperature": temperature}
        answer = client.post(ASK, json=body)
        told = answer.json()
        if answer.status_code == 200:
            assert told["data"] == (None if told["refused"] else "three")
        else:
            assert (answer.status_code, told["code"]) == (503, "llm_bad_json")
            assert "#/pattern" in told["detail"]


ODD = [
    {"enum": []},
    {"type": "integer", "minimum": 5, "maximum": 1},
    {"type": "array", "minItems": 3, "maxItems": 1},
    {"type": "object", "required": ["a"], "additionalProperties": False},
    {"allOf": [{"type": "string"}, {"type": "integer"}]},
    {"type": "object", "properties": {"below": {"$ref": "#"}}, "required": ["below"]},
    {"anyOf": [{"type": "array", "items": {"anyOf": [{"$ref": "#"}, {"$ref": "#"}]}}, {"type": "number"}]},
    {"type": "string", "minLength": 1_000, "maxLength": 1_000},
    {"type": "array", "items": {"type": "array", "items": {"type": "string"}, "minItems": 1_000}, "minItems": 1_000},
    {"enum": [f"<|im_end|>{number}" for number in range(150)]},
    {"const": {"a": [1.5, None, "<tool_call>"]}},
    {"not": {}},
    {"type": "integer", "minimum": -(2**63) - 1, "maximum": 2**64},
    {"enum": [2**63, 2**64 - 1]},
]


@pytest.mark.parametrize("place", range(len(ODD)))
def test_odd_schemas_cost_their_own_question_alone(client: httpx.Client, vllm: VllmServer, place: int) -> None:
    """No value fits them, or none that is short: an answer or an error, and the chat server goes on."""
    body = {"question": QUESTIONS["en"], "response_schema": ODD[place], "max_tokens": 8, "temperature": 0.9}
    answer = client.post(ASK, json=body)
    if answer.status_code != 200:
        assert (answer.status_code, answer.json()["code"]) == (503, "llm_bad_json"), answer.text
    assert vllm.count_running() == 0
    assert httpx.get(f"{vllm.root}/health", timeout=30, trust_env=False, verify=NO_TLS).status_code == 200
