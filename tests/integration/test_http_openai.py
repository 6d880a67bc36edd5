"""OpenAI's shapes over HTTP, without a chat model: what is ignored, what is refused, and how."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from fakes.local_server import KB, LocalServer

CHAT, EMBED = "/v1/chat/completions", "/v1/embeddings"
FILES = {
    "塔.md": "# 望江塔\n\n望江塔位于北门外，高四十六米，一九〇七年建成。\n".encode(),
    "mill.md": b"# Barley Mill\n\nBarley Mill stands at Stow. It was built in 1799 and is 19 metres tall.\n",
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    server = LocalServer(tmp_path_factory.mktemp("openai") / "store")
    server.create("地方 志")
    server.create("empty")
    server.upload("地方 志", FILES)
    server.work()
    yield server
    server.close()


def chat(server: LocalServer, *messages: Any, model: str = "地方 志", **fields: Any) -> dict[str, Any]:
    told = server.request("POST", CHAT, json={"model": model, "messages": list(messages), **fields})
    assert told.status_code == 200, told.text
    body: dict[str, Any] = told.json()
    return body


def user(content: Any) -> dict[str, Any]:
    return {"role": "user", "content": content}


def refuse(server: LocalServer, path: str, **body: Any) -> tuple[int, str, str]:
    told = server.request("POST", path, json=body)
    error = told.json()["error"]
    assert set(told.json()) == {"error"}
    assert set(error) == {"message", "type", "param", "code"}
    assert told.headers["content-type"] == "application/json"
    return told.status_code, error["type"], error["code"]


def test_models_are_the_knowledge_bases(server: LocalServer) -> None:
    told = server.request("GET", "/v1/models").json()
    assert told["object"] == "list"
    assert [one["id"] for one in told["data"]] == ["empty", "地方 志"]
    for one in told["data"]:
        assert set(one) == {"id", "object", "created", "owned_by"}
        assert server.request("GET", f"/v1/models/{one['id']}").json() == one
    missing = server.request("GET", "/v1/models/none")
    assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


@pytest.mark.parametrize("question", ["望江塔有多高？", "How tall is Barley Mill?"])
def test_an_answer_is_the_one_that_ask_gives(server: LocalServer, question: str) -> None:
    told = chat(server, user(question))
    asked = server.request("POST", f"{KB}/地方 志/ask", json={"question": question, "history": []}).json()
    assert set(told) >= {"id", "object", "created", "model", "choices", "usage", "citations"}
    assert (told["object"], told["model"], told["usage"]) == ("chat.completion", "地方 志", None)
    [choice] = told["choices"]
    assert (choice["index"], choice["finish_reason"]) == (0, "stop")
    assert choice["message"] == {"role": "assistant", "content": asked["answer"], "refusal": None}
    assert (told["citations"], told["unsupported"]) == (asked["citations"], asked["unsupported"])
    assert told["citations"][0]["quote"]
    assert server.request("GET", "/api/v1/conversations").json()["items"] == []


def test_messages_are_history_and_the_last_of_the_user_is_the_question(server: LocalServer) -> None:
    told = chat(
        server,
        {"role": "system", "content": "Answer like a pirate about Barley Mill."},
        user("望江塔在哪里？"),
        {"role": "assistant", "content": "北门外。", "tool_calls": None},
        {"role": "developer", "content": "x"},
        user([{"type": "text", "text": "它有"}, {"type": "text", "text": "多高？"}]),
        {"role": "assistant", "content": None},
    )
    assert told["query"] == "望江塔有\n多高？"
    assert "四十六米" in told["choices"][0]["message"]["content"]


def test_fields_that_nobody_knows_are_ignored(server: LocalServer) -> None:
    extras = {
        "logit_bias": {"1": 5},
        "tools": [],
        "user": "u",
        "seed": 1,
        "top_p": 0.1,
        "response_format": {"type": "x"},
    }
    nulls = dict.fromkeys(("stream", "stream_options", "max_tokens", "temperature", "n"))
    assert chat(server, user("望江塔有多高？") | {"name": "n"}, **extras, **nulls)["citations"]
    assert chat(server, user("q"), n=1, max_tokens=10**9, max_completion_tokens=5, temperature=1)["choices"]


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "none"}, 404, "model_not_found"),
        ({"messages": []}, 400, "bad_messages"),
        ({"messages": "x"}, 400, "bad_messages"),
        ({"messages": [{"role": "assistant", "content": "x"}]}, 400, "question_empty"),
        ({"messages": [{"role": "user", "content": " "}]}, 400, "question_empty"),
        ({"messages": [{"role": "tool", "content": "x"}, {"role": "user", "content": "q"}]}, 400, "bad_role"),
        ({"messages": [{"role": "user", "content": "x" * 8_001}]}, 400, "question_too_long"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {}}]}]}, 400, "bad_messages"),
        ({"messages": [{"content": "x"}]}, 400, "missing_field"),
        ({"temperature": 3}, 400, "bad_temperature"),
        ({"temperature": "hot"}, 400, "bad_temperature"),
        ({"n": 2}, 400, "bad_n"),
        ({"model": None}, 400, "bad_model"),
    ],
)
@pytest.mark.parametrize("how", [{}, {"stream": True}])
def test_what_is_refused_is_told_in_openais_shape(
    server: LocalServer, body: dict[str, Any], status: int, code: str, how: dict[str, bool]
) -> None:
    whole = {"model": "地方 志", "messages": [user("q")], **how, **body}
    assert refuse(server, CHAT, **whole) == (status, "invalid_request_error", code)


def test_addresses_and_methods_that_are_not_there(server: LocalServer) -> None:
    for method, path, status, code in (
        ("GET", "/v1/nothing", 404, "not_found"),
        ("GET", CHAT, 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
    ):
        told = server.request(method, path)
        assert (told.status_code, told.json()["error"]["code"]) == (status, code)
    broken = server.request("POST", CHAT, content=b"{", headers={"content-type": "application/json"})
    assert (broken.status_code, broken.json()["error"]["code"]) == (400, "bad_json")
    problem = server.request("GET", "/api/v1/nothing")
    assert problem.headers["content-type"] == "application/problem+json"


def read_stream(text: str) -> list[dict[str, Any]]:
    lines = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    assert lines[-1] == "[DONE]"
    return [json.loads(line) for line in lines[:-1]]


@pytest.mark.parametrize("question", ["望江塔有多高？", "zzqx?"])
def test_a_stream_is_the_same_answer_in_chunks(server: LocalServer, question: str) -> None:
    body = {"model": "地方 志", "messages": [user(question)], "stream": True, "stream_options": {"include_usage": True}}
    told = server.request("POST", CHAT, json=body)
    assert told.headers["content-type"].startswith("text/event-stream")
    first, *middle, last = read_stream(told.text)
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": ""}
    assert len({(one["id"], one["created"], one["model"], one["object"]) for one in (first, *middle, last)}) == 1
    whole = chat(server, user(question))
    assert "".join(one["choices"][0]["delta"]["content"] for one in middle) == whole["choices"][0]["message"]["content"]
    assert (last["choices"][0]["delta"], last["choices"][0]["finish_reason"]) == ({}, "stop")
    grounds = ("citations", "unsupported", "refused", "query")
    assert {name: last[name] for name in grounds} == {name: whole[name] for name in grounds}


@pytest.mark.parametrize("model", ["地方 志", "builtin"])
def test_embeddings_are_the_encoders(server: LocalServer, model: str) -> None:
    texts = ["望江塔有多高", "Barley Mill"]
    told = server.request("POST", EMBED, json={"model": model, "input": texts, "user": "u", "dimensions": 512}).json()
    wanted = server.store.encoders.get_encoder("builtin").embed_texts(texts)
    assert (told["object"], told["model"]) == ("list", model)
    assert [(one["object"], one["index"]) for one in told["data"]] == [("embedding", 0), ("embedding", 1)]
    np.testing.assert_allclose([one["embedding"] for one in told["data"]], wanted, atol=1e-7)
    packed = server.request("POST", EMBED, json={"model": model, "input": texts[1], "encoding_format": "base64"}).json()
    [one] = packed["data"]
    np.testing.assert_array_equal(np.frombuffer(base64.b64decode(one["embedding"]), "<f4"), wanted[1])
    assert told["usage"]["prompt_tokens"] == told["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"model": "none"}, 404, "model_not_found"),
        ({"input": []}, 400, "bad_input"),
        ({"input": ""}, 400, "bad_input"),
        ({"input": ["a", " "]}, 400, "bad_input"),
        ({"input": [1, 2]}, 400, "bad_input"),
        ({"input": ["a"] * 2_049}, 400, "bad_input"),
        ({"encoding_format": "int8"}, 400, "bad_encoding_format"),
        ({"dimensions": 64}, 400, "bad_dimensions"),
    ],
)
def test_what_cannot_be_embedded(server: LocalServer, body: dict[str, Any], status: int, code: str) -> None:
    assert refuse(server, EMBED, **{"model": "empty", "input": "a", **body}) == (status, "invalid_request_error", code)


def test_lists_of_tokens_are_refused_in_words_that_say_so(server: LocalServer) -> None:
    for tokens in ([1, 2], [[1, 2], [3]]):
        told = server.request("POST", EMBED, json={"model": "empty", "input": tokens}).json()["error"]
        assert told["code"] == "bad_input"
        assert "lists of tokens" in told["message"]


def test_json_needs_a_chat_model_and_a_schema(server: LocalServer) -> None:
    question = {"model": "地方 志", "messages": [user("望江塔有多高？")]}
    wanted = {"type": "json_schema", "json_schema": {"name": "tower", "schema": {"type": "object"}}}
    assert refuse(server, CHAT, **question, response_format=wanted)[::2] == (400, "schema_needs_chat_model")
    for wrong in ({"type": "json_schema"}, {"type": "json_schema", "json_schema": {"name": "x"}}, "json"):
        assert refuse(server, CHAT, **question, response_format=wrong)[::2] == (400, "bad_response_format")
    for ignored in ({"type": "text"}, {"type": "json_object"}, None):
        told = chat(server, *question["messages"], response_format=ignored)
        assert told["choices"][0]["message"]["content"]


def test_a_schema_for_ask_is_refused_before_anything_is_searched(server: LocalServer) -> None:
    for schema, code in (
        ({"type": "object"}, "schema_needs_chat_model"),
        ([], "bad_response_schema"),
        ("{}", "bad_response_schema"),
        (True, "bad_response_schema"),
    ):
        for stream in (False, True):
            body = {"question": "望江塔有多高？", "response_schema": schema, "stream": stream}
            told = server.request("POST", f"{KB}/地方 志/ask", json=body)
            assert (told.status_code, told.json()["code"]) == (422, code)
    asked = server.request("POST", f"{KB}/地方 志/ask", json={"question": "望江塔有多高？"}).json()
    assert asked["data"] is None
