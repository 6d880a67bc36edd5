from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncGenerator

import pytest

from retrieval.chat.hermes import MOST_HELD, CallReader, describe_tools, read_calls, write_as_text
from retrieval.events import ChatPiece, Usage
from retrieval.prompt import ChatMessage
from retrieval.search_tool import describe_search
from retrieval.tool_calls import LONGEST_ARGUMENTS, MOST_CALLS, CallPart, ToolCall

QUERY = '{"query": "圆顶 weight"}'
WRITTEN = f'<tool_call>\n{{"name": "search", "arguments": {QUERY}}}\n</tool_call>'
CALL = ToolCall(name="search", arguments=QUERY)


def read(*pieces: str) -> tuple[str, list[ToolCall]]:
    reader = CallReader()
    text = "".join([*(reader.feed(piece) for piece in pieces), reader.close()])
    return text, reader.calls


@pytest.mark.parametrize("size", [1, 2, 3, 5, 11, 1_000])
@pytest.mark.parametrize(
    ("written", "text", "calls"),
    [
        (WRITTEN, "", [CALL]),
        (f"I look. {WRITTEN}\n{WRITTEN} Done.", "I look. \n Done.", [CALL, CALL]),
        ("a < b <tool <tool_cal> </tool_call> <", "a < b <tool <tool_cal> </tool_call> <", []),
        (WRITTEN.removesuffix("</tool_call>"), "", [CALL]),  # its end left out
        (f"<tool_call>{WRITTEN}", "", [CALL]),
        (WRITTEN[:-40], "", [ToolCall(name="", arguments=WRITTEN[11:-40].strip())]),  # cut off in the middle
        ("<tool_call>search(dome)</tool_call>", "", [ToolCall(name="", arguments="search(dome)")]),
        ("<tool_call></tool_call>", "", []),
        ('<tool_call>{"name": 3}</tool_call>', "", [ToolCall(name="", arguments='{"name": 3}')]),
        ('<tool_call>["search"]</tool_call>', "", [ToolCall(name="", arguments='["search"]')]),
        ('<tool_call>{"name": "a"}</tool_call>', "", [ToolCall(name="a", arguments="{}")]),
        (
            '<tool_call>{"name": "a", "parameters": {"b": 1}}</tool_call>',
            "",
            [ToolCall(name="a", arguments='{"b": 1}')],
        ),
        ('<tool_call>{"name": "a", "arguments": "{}"}</tool_call>', "", [ToolCall(name="a", arguments="{}")]),
        ('<tool_call>{"name": "a\\ud800"}</tool_call>', "", [ToolCall(name="a\ufffd", arguments="{}")]),
        ("< tool_call>" + WRITTEN[11:], "< tool_call>" + WRITTEN[11:], []),  # as a document's forged call stands there
    ],
)
def test_calls_in_a_text_cut_anywhere(size: int, written: str, text: str, calls: list[ToolCall]) -> None:
    assert read(*(written[at : at + size] for at in range(0, len(written), size))) == (text, calls)


def test_text_is_held_back_only_where_a_call_may_begin() -> None:
    reader = CallReader()
    assert [reader.feed(piece) for piece in ("The dome ", "<", "b> ", "<tool_c", "all>{")] == [
        "The dome ",
        "",
        "<b> ",
        "",
        "",
    ]


def test_calls_are_bounded() -> None:
    assert len(read(WRITTEN * 100)[1]) == MOST_CALLS


def test_a_call_that_never_ends_is_held_only_so_far() -> None:
    reader = CallReader()
    reader.feed("<tool_call>")
    sizes = []
    for _ in range(100):
        reader.feed("票 " * 1_000)
        sizes.append(len(reader._held))
    assert max(sizes) < MOST_HELD + 2_000
    ends = [reader.feed(character) for character in "</tool_call> Twelve."]
    assert "".join(ends) == " Twelve."
    assert [(call.name, len(call.arguments)) for call in reader.calls] == [("", LONGEST_ARGUMENTS)]


def test_messages_of_tools_become_text() -> None:
    calls = [ToolCall(id="1", name="search", arguments=QUERY), ToolCall(id="2", name="search", arguments="{}")]
    messages = [
        ChatMessage(role="system", content="Rules."),
        ChatMessage(role="user", content="How heavy?"),
        ChatMessage(role="assistant", content="I look.", calls=calls),
        ChatMessage(role="tool", content="[2] Eleven.", call_id="1"),
        ChatMessage(role="tool", content="Nothing.", call_id="2"),
        ChatMessage(role="assistant", content="", calls=calls[:1]),
        ChatMessage(role="tool", content="Again.", call_id="1"),
    ]
    tool = describe_search("zh")
    system, *others = write_as_text(messages, [tool])
    assert system.content == "Rules.\n\n" + describe_tools([tool])
    inside = system.content.split("<tools>\n")[1].split("\n</tools>")[0]
    assert json.loads(inside)["function"]["parameters"]["required"] == ["query"]
    assert "在知识库中检索" in inside
    assert [(message.role, message.content) for message in others] == [
        ("user", "How heavy?"),
        ("assistant", f'I look.\n{WRITTEN}\n<tool_call>\n{{"name": "search", "arguments": {{}}}}\n</tool_call>'),
        ("user", "<tool_response>\n[2] Eleven.\n</tool_response>\n<tool_response>\nNothing.\n</tool_response>"),
        ("assistant", WRITTEN),
        ("user", "<tool_response>\nAgain.\n</tool_response>"),
    ]
    assert [call for message in others for call in read(message.content)[1]] == [CALL, replace_arguments("{}"), CALL]
    assert not any(message.calls for message in others)
    assert write_as_text(messages[:2], []) == messages[:2]
    assert write_as_text(messages[1:2], [tool])[0].role == "system"


def replace_arguments(arguments: str) -> ToolCall:
    return ToolCall(name="search", arguments=arguments)


def test_calls_come_last_however_they_were_sent() -> None:
    usage = Usage(prompt_tokens=1, completion_tokens=2)

    async def stream() -> AsyncGenerator[ChatPiece, None]:
        yield ChatPiece(text="I look. <tool")
        yield ChatPiece(parts=[CallPart(index=0, id="a", name="search", arguments="{")])
        yield ChatPiece(text=WRITTEN[5:], parts=[CallPart(index=0, arguments="}")])
        yield ChatPiece(usage=usage, finished=True)

    async def main() -> list[ChatPiece]:
        return [piece async for piece in read_calls(stream())]

    *pieces, last = asyncio.run(main())
    assert "".join(piece.text for piece in pieces) == "I look. "
    assert [piece.usage for piece in pieces if piece.usage] == [usage]
    assert not any(piece.parts or piece.calls for piece in pieces)
    assert last == ChatPiece(calls=[ToolCall(id="a", name="search", arguments="{}"), CALL])
