from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.errors import Unavailable
from retrieval.events import LONGEST_EVENT, ChatPiece, EventReader, Usage, add_usage, name_error, read_piece
from retrieval.tool_calls import CallPart

STREAM = ": ping\n\ndata: 一\nid: 3\n\nevent: x\ndata:two\ndata: more\n\n\n\ndata: 😀\n\ndata: [DONE]\n\n"
EVENTS = ["一", "two\nmore", "😀", "[DONE]"]


def read(data: bytes, size: int) -> list[str]:
    reader = EventReader()
    chunks = [data[i : i + size] for i in range(0, len(data), size)]
    events = [event for chunk in chunks for event in reader.feed(chunk)] + reader.feed(b"", last=True)
    return [event.decode("utf-8", "replace") for event in events]


@given(size=st.integers(1, 40), end=st.sampled_from(["\n", "\r\n", "\r"]))
def test_any_cut_and_any_line_end_give_the_same_events(size: int, end: str) -> None:
    assert read(STREAM.replace("\n", end).encode(), size) == EVENTS


def test_a_last_event_without_its_blank_line_counts() -> None:
    assert read(b"data: a\n\ndata: b", 4) == ["a", "b"]
    assert read(b"data: a\n\ndata: b\r", 4) == ["a", "b"]
    assert read(b"data: \xe4\xb8", 4) == ["\ufffd"]


def test_a_plain_body_is_one_event() -> None:
    reader = EventReader(plain=True)
    assert reader.feed(b'{"a":\n\n') == []
    assert reader.feed(b" 1}") == []
    assert reader.feed(b"", last=True) == [b'{"a":\n\n 1}']
    assert EventReader(plain=True).feed(b"", last=True) == []


@pytest.mark.parametrize("line", [b"x" * 100_000, b"data: " + b"x" * 99_000 + b"\n"])
def test_an_event_beyond_measure_is_an_error(line: bytes) -> None:
    reader = EventReader()
    with pytest.raises(Unavailable) as caught:  # noqa: PT012 - how often it may be fed is not the point
        for _ in range(LONGEST_EVENT // 90_000):
            reader.feed(line)
    assert caught.value.code == "llm_error"


def test_what_comes_before_an_event_beyond_measure_is_given() -> None:
    reader = EventReader()
    assert reader.feed(b"data: a\n\ndata: " + b"x" * LONGEST_EVENT) == [b"a"]
    with pytest.raises(Unavailable):
        reader.feed(b"x")


def test_bytes_that_are_no_utf8_are_replaced() -> None:
    assert read_piece(b'{"choices": [{"delta": {"content": "a\xff"}}]}') == ChatPiece(text="a\ufffd")


@pytest.mark.parametrize(
    ("body", "piece"),
    [
        ({"choices": [{"delta": {"content": "a"}}]}, ChatPiece(text="a")),
        ({"choices": [{"delta": {"content": None, "role": "assistant"}}]}, ChatPiece()),
        ({"choices": [{"delta": {}, "finish_reason": "length"}]}, ChatPiece(finished=True, cut=True)),
        ({"choices": [{"delta": {"content": ""}, "finish_reason": None}]}, ChatPiece()),
        ({"choices": [{"message": {"content": "a"}, "finish_reason": "stop"}]}, ChatPiece(text="a", finished=True)),
        (
            {"choices": [{"delta": {"tool_calls": [{"function": {"name": "rm"}}]}}]},
            ChatPiece(parts=[CallPart(name="rm")]),
        ),
        ({"choices": [], "usage": None}, ChatPiece()),
        ({"choices": None}, ChatPiece()),
        ({"choices": ["a"], "error": None}, ChatPiece()),
        (
            {"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 2}},
            ChatPiece(usage=Usage(prompt_tokens=1, completion_tokens=2)),
        ),
        ({"choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": None}}, ChatPiece()),
        ({"choices": [], "usage": 3}, ChatPiece()),
        ({"choices": [], "usage": {"prompt_tokens": 2**63, "completion_tokens": 2}}, ChatPiece()),
        ({"choices": [], "usage": {"prompt_tokens": -1, "completion_tokens": 2}}, ChatPiece()),
    ],
)
def test_read_piece(body: object, piece: ChatPiece) -> None:
    assert read_piece(json.dumps(body)) == piece


@pytest.mark.parametrize(
    "data", ['{"error": "out of memory: secret"}', '{"error": {"message": "secret"}}', '{"detail": "secret"}', "{", "3"]
)
def test_what_is_no_piece_is_an_error_that_repeats_nothing(data: str) -> None:
    with pytest.raises(Unavailable) as caught:
        read_piece(data)
    assert caught.value.code == "llm_error"
    assert "secret" not in str(caught.value)


def test_only_plain_names_of_an_error_are_told() -> None:
    told = {"error": {"message": "secret", "type": "BadRequestError", "code": 400, "param": "input_tokens"}}
    assert name_error(told) == " (BadRequestError, input_tokens)"
    assert name_error({"error": "secret"}) == ""
    assert name_error({"error": {"type": "a secret text"}}) == ""


def test_what_calls_used_is_added_as_far_as_it_was_told() -> None:
    one, two = Usage(prompt_tokens=1, completion_tokens=2), Usage(prompt_tokens=10, completion_tokens=20)
    assert add_usage(one, two) == Usage(prompt_tokens=11, completion_tokens=22)
    assert (add_usage(None, two), add_usage(one, None), add_usage(None, None)) == (two, one, None)
