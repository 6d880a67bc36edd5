from __future__ import annotations

import itertools
import json
from typing import Any

import pytest

from retrieval.events import EventReader, read_piece
from retrieval.tool_calls import (
    LONGEST_ARGUMENTS,
    LONGEST_NAME,
    MOST_CALLS,
    CallAssembly,
    CallPart,
    ToolCall,
    read_parts,
)

ARGUMENTS = '{"query": "圆顶\\"的 weight"}'
CALL = ToolCall(id="a", name="search", arguments=ARGUMENTS)


def write_delta(*calls: dict[str, Any]) -> bytes:
    body = {"choices": [{"index": 0, "delta": {"tool_calls": list(calls)}, "finish_reason": None}]}
    return b"data: " + json.dumps(body, ensure_ascii=False).encode() + b"\n\n"


def write_part(index: int | None = None, arguments: str | None = None, **more: Any) -> dict[str, Any]:
    named = {"name": more.pop("name")} if "name" in more else {}
    function = named | ({} if arguments is None else {"arguments": arguments})
    return {"function": function, **({} if index is None else {"index": index}), **more}


def assemble(*chunks: bytes) -> list[ToolCall]:
    reader, assembly = EventReader(), CallAssembly()
    for chunk in [*chunks, b""]:
        for data in reader.feed(chunk, last=not chunk):
            assembly.add(read_piece(data).parts)
    return assembly.list_calls()


@pytest.mark.parametrize("size", range(1, 9))
def test_arguments_in_pieces_of_any_size_and_bytes_in_any_cut(size: int) -> None:
    pieces = [ARGUMENTS[at : at + size] for at in range(0, len(ARGUMENTS), size)]
    events = [write_delta(write_part(0, "", id="a", type="function", name="search"))]
    stream = b"".join([*events, *(write_delta(write_part(0, piece)) for piece in pieces)])
    for cut in range(1, len(stream), 7):
        assert assemble(stream[:cut], stream[cut:]) == [CALL]
    assert assemble(*(stream[at : at + size] for at in range(0, len(stream), size))) == [CALL]


def test_two_calls_interleaved_by_index() -> None:
    first, second = '{"query": "a"}', '{"query": "bcdef"}'
    parts = [write_part(0, "", id="x", name="search"), write_part(1, "", id="y", name="search")]
    for left, right in itertools.zip_longest(first, second, fillvalue=""):
        parts += [write_part(1, right), write_part(0, left)]
    expected = [ToolCall(id="x", name="search", arguments=first), ToolCall(id="y", name="search", arguments=second)]
    assert assemble(*(write_delta(part) for part in parts)) == expected
    assert assemble(write_delta(*parts)) == expected


@pytest.mark.parametrize(
    ("parts", "calls"),
    [
        # neither index nor id: a name begins a call
        ([write_part(name="a", arguments="{"), write_part(arguments="}")], [("", "a", "{}")]),
        ([write_part(name="a", arguments="1"), write_part(name="b", arguments="2")], [("", "a", "1"), ("", "b", "2")]),
        # ids without an index
        (
            [write_part(id="x", name="a", arguments="1"), write_part(id="y", name="a", arguments="2")],
            [("x", "a", "1"), ("y", "a", "2")],
        ),
        ([write_part(id="x", name="a", arguments="1"), write_part(id="x", arguments="2")], [("x", "a", "12")]),
        # every call at index 0, told apart by ids alone
        (
            [write_part(0, "1", id="x", name="a"), write_part(0, "2", id="y", name="a"), write_part(0, "3")],
            [("x", "a", "1"), ("y", "a", "23")],
        ),
        # the name again in every piece, and an id that comes late
        ([write_part(0, "1", name="a"), write_part(0, "2", name="a", id="x")], [("x", "a", "12")]),
        # arguments as an object, a lone call without its list
        ([write_part(0, name="a") | {"function": {"name": "a", "arguments": {"q": "圆"}}}], [("", "a", '{"q": "圆"}')]),
        # indexes that do not begin at 0
        ([write_part(7, "1", name="a"), write_part(3, "2", name="b")], [("", "a", "1"), ("", "b", "2")]),
        ([write_part(0, name="a")], [("", "a", "")]),
    ],
)
def test_what_servers_leave_out(parts: list[dict[str, Any]], calls: list[tuple[str, str, str]]) -> None:
    found = assemble(*(write_delta(part) for part in parts))
    assert [(call.id, call.name, call.arguments) for call in found] == calls


def test_a_whole_message_brings_its_calls() -> None:
    call = {"id": "a", "type": "function", "function": {"name": "search", "arguments": ARGUMENTS}}
    piece = read_piece(json.dumps({"choices": [{"message": {"content": None, "tool_calls": [call]}}]}))
    assembly = CallAssembly()
    assembly.add(piece.parts)
    assert assembly.list_calls() == [CALL]


@pytest.mark.parametrize(
    "told", [None, [], "a", 3, [None], ["a"], [{}], [{"function": None}], [{"function": "search"}], {"function": 3}]
)
def test_what_is_no_call_is_left_out(told: Any) -> None:
    assert list(read_parts({"tool_calls": told})) == []


def test_broken_fields_are_nothing_said() -> None:
    told = {"index": "0", "id": 7, "function": {"name": None, "arguments": ["a"]}}
    assert list(read_parts({"tool_calls": told})) == [CallPart()]
    assert read_parts({"tool_calls": [{"function": {"name": "a\ud800"}}]}) == [CallPart(name="a\ufffd")]


def test_arguments_nested_deeper_than_can_be_written_are_empty() -> None:
    tree: dict[str, Any] = {}
    for _ in range(1_010):  # as deep as orjson reads
        tree = {"a": tree}
    [part] = read_parts({"tool_calls": [{"index": 0, "function": {"name": "search", "arguments": tree}}]})
    assert part == CallPart(index=0, name="search")


def test_a_model_that_does_not_stop_is_bounded() -> None:
    assembly = CallAssembly()
    assembly.add([CallPart(index=n, name="a") for n in range(10 * MOST_CALLS)])
    assembly.add([CallPart(index=0, name="b" * 1_000, arguments="x" * 1_000)] * 100)
    calls = assembly.list_calls()
    assert len(calls) == MOST_CALLS
    assert (len(calls[0].name), len(calls[0].arguments)) == (LONGEST_NAME, LONGEST_ARGUMENTS)
