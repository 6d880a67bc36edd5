from __future__ import annotations

from typing import Any, get_args

import pytest

from kb.config import Settings
from retrieval.chat.model import ChatOptions
from retrieval.chat.profiles import PROFILES, write_body
from retrieval.prompt import ChatMessage
from retrieval.tool_calls import Tool, ToolCall

MESSAGES = [ChatMessage(role="user", content="何时？")]
PLAIN = {
    "model": "m",
    "messages": [{"role": "user", "content": "何时？"}],
    "max_tokens": 9,
    "temperature": 0.0,
    "stream": True,
}
USAGE = {"stream_options": {"include_usage": True}}
FULL = ChatOptions(max_tokens=9, top_p=1.0, stop=("a", "b", "c", "d", "e"), seed=0)
FULL_SENT = {"top_p": 1.0, "stop": ["a", "b", "c", "d"], "seed": 0}


def test_every_kind_can_be_set_and_no_other() -> None:
    assert set(get_args(Settings.model_fields["llm_profile"].annotation)) == set(PROFILES)


@pytest.mark.parametrize(
    ("profile", "more", "full"),
    [
        ("vllm", USAGE, {}),
        ("transformers", {}, {}),  # an unknown field is a 422 there
        ("llamacpp", USAGE, {}),
        ("ollama", USAGE, {}),
        ("tgi", USAGE, {"top_p": 0.99, "seed": 1}),
        ("openai", {}, {}),
    ],
)
def test_what_each_kind_is_sent(profile: str, more: dict[str, Any], full: dict[str, Any]) -> None:
    kind = PROFILES[profile]
    assert write_body("m", kind, MESSAGES, ChatOptions(max_tokens=9)) == PLAIN | more
    assert write_body("m", kind, MESSAGES, FULL) == PLAIN | more | FULL_SENT | full


def test_tools_and_calls_are_sent_as_the_protocol_has_them() -> None:
    call = ToolCall(id="call01000", name="search", arguments='{"query": "圆顶"}')
    messages = [
        ChatMessage(role="assistant", content="I look.", calls=[call]),
        ChatMessage(role="tool", content="[2] …", call_id="call01000"),
    ]
    tool = Tool(name="search", description="Searches.", parameters={"type": "object"})
    body = write_body("m", PROFILES["openai"], messages, ChatOptions(max_tokens=9, tools=[tool]))
    described = {"name": "search", "description": "Searches.", "parameters": {"type": "object"}}
    assert body["tools"] == [{"type": "function", "function": described}]
    function = {"name": "search", "arguments": '{"query": "圆顶"}'}
    assert body["messages"] == [
        {
            "role": "assistant",
            "content": "I look.",
            "tool_calls": [{"id": "call01000", "type": "function", "function": function}],
        },
        {"role": "tool", "content": "[2] …", "tool_call_id": "call01000"},
    ]
    assert [kind for kind, profile in PROFILES.items() if not profile.tools] == ["transformers"]


SCHEMA = {"type": "object", "properties": {"价": {"type": "integer"}}}
STRICT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA, "strict": True}}


@pytest.mark.parametrize(
    ("profile", "told"),
    [
        ("vllm", STRICT),
        ("transformers", None),  # it would take and ignore it
        ("llamacpp", STRICT),
        ("ollama", STRICT),
        ("tgi", {"type": "json_object", "value": SCHEMA}),
        ("openai", {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}),
    ],
)
def test_how_each_kind_is_told_a_schema(profile: str, told: dict[str, Any] | None) -> None:
    body = write_body("m", PROFILES[profile], MESSAGES, ChatOptions(max_tokens=9, schema=SCHEMA))
    assert body.pop("response_format", None) == told
    assert body == write_body("m", PROFILES[profile], MESSAGES, ChatOptions(max_tokens=9))
