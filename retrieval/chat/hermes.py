"""Tools in plain text, in the form that Hermes and Qwen are trained on: for servers that take none as fields.

`<tools>` in the system prompt says what may be called, the model writes `<tool_call>{"name": …}</tool_call>`, and what
came of it goes back as `<tool_response>` in a message of the user. These marks are the only ones that stand in a
prompt: in what documents and users say they are broken up (`retrieval/prompt.py`).
"""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from itertools import groupby

from retrieval.events import ChatPiece
from retrieval.prompt import ChatMessage
from retrieval.tool_calls import (
    LONGEST_ARGUMENTS,
    LONGEST_NAME,
    MOST_CALLS,
    SURROGATE,
    CallAssembly,
    Tool,
    ToolCall,
    write_arguments,
)

OPENING, CLOSING = "<tool_call>", "</tool_call>"
MOST_HELD = 2 * LONGEST_ARGUMENTS  # characters of a call, written with escapes: what goes on for ever is thrown away


def write_as_text(messages: Sequence[ChatMessage], tools: Sequence[Tool]) -> list[ChatMessage]:
    """The same messages with nothing in them but text, of system, user and assistant alone."""
    written: list[ChatMessage] = []
    for is_result, group in groupby(messages, key=lambda message: message.role == "tool"):
        if is_result:
            results = [f"<tool_response>\n{message.content}\n</tool_response>" for message in group]
            written.append(ChatMessage(role="user", content="\n".join(results)))
        else:
            written += [_write_calls(message) if message.calls else message for message in group]
    if tools and written and written[0].role == "system":
        return [replace(written[0], content=f"{written[0].content}\n\n{describe_tools(tools)}"), *written[1:]]
    return [ChatMessage(role="system", content=describe_tools(tools)), *written] if tools else written


def _write_calls(message: ChatMessage) -> ChatMessage:
    calls = [
        f'{OPENING}\n{{"name": {json.dumps(call.name)}, "arguments": {call.arguments}}}\n{CLOSING}'
        for call in message.calls
    ]
    thought = [message.content] if message.content else []
    return ChatMessage(role="assistant", content="\n".join([*thought, *calls]))


def describe_tools(tools: Sequence[Tool]) -> str:
    signatures = [json.dumps(write_tool(tool), ensure_ascii=False) for tool in tools]
    return "\n".join(
        [
            "# Tools",
            "",
            "You may call functions. Their signatures stand within <tools></tools> tags:",
            "<tools>",
            *signatures,
            "</tools>",
            "",
            f"To call one, write a JSON object with its name and arguments within {OPENING}{CLOSING} tags:",
            OPENING,
            '{"name": <function-name>, "arguments": <args-json-object>}',
            CLOSING,
        ]
    )


def write_tool(tool: Tool) -> dict[str, object]:
    """As the OpenAI protocol has it, and as models know it from there."""
    described = {"name": tool.name, "description": tool.description, "parameters": dict(tool.parameters)}
    return {"type": "function", "function": described}


class CallReader:
    """Takes the calls out of what a model writes. `feed` gives the text beside them, `close` what was held back."""

    def __init__(self) -> None:
        self.calls: list[ToolCall] = []
        self._held = ""
        self._inside = False

    def feed(self, text: str) -> str:
        self._held += text
        shown: list[str] = []
        while True:
            before, mark, after = self._held.partition(CLOSING if self._inside else OPENING)
            if not mark:
                break
            if self._inside:
                self._read_calls(before)
            else:
                shown.append(before)
            self._held, self._inside = after, not self._inside
        if not self._inside:
            kept = _count_beginning(self._held)
            shown.append(self._held[: len(self._held) - kept])
            self._held = self._held[len(self._held) - kept :]
        elif len(self._held) > MOST_HELD:  # but for what may be the beginning of its end
            self._held = self._held[:MOST_HELD] + self._held[MOST_HELD:][-len(CLOSING) + 1 :]
        return "".join(shown)

    def close(self) -> str:
        """A call that is not closed counts: models leave the end out, and one that was cut off is to be told so."""
        rest, self._held = self._held, ""
        if not self._inside:
            return rest
        self._inside = False
        self._read_calls(rest)
        return ""

    def _read_calls(self, text: str) -> None:
        written = [one for one in text.split(OPENING) if one.strip()]
        self.calls += [read_call(one) for one in written[: MOST_CALLS - len(self.calls)]]


def _count_beginning(text: str) -> int:
    """Characters at the end of `text` that may be the beginning of a call."""
    return next((n for n in range(min(len(OPENING) - 1, len(text)), 0, -1) if OPENING.startswith(text[-n:])), 0)


def read_call(written: str) -> ToolCall:
    """What stands between the marks; a call without a name when it is none."""
    try:
        told = json.loads(written, strict=False)
    except (ValueError, RecursionError):
        told = None
    name = told.get("name") if isinstance(told, dict) else None
    if not isinstance(told, dict) or not isinstance(name, str):
        return ToolCall(name="", arguments=written.strip()[:LONGEST_ARGUMENTS])
    whole = write_arguments(told.get("arguments", told.get("parameters", {})))
    return ToolCall(name=_mend(name)[:LONGEST_NAME], arguments=_mend(whole)[:LONGEST_ARGUMENTS])


def _mend(text: str) -> str:
    return SURROGATE.sub("\ufffd", text)


async def read_calls(stream: AsyncGenerator[ChatPiece, None]) -> AsyncGenerator[ChatPiece, None]:
    """The pieces of a stream without their pieces of calls, and the whole calls behind them, however they came."""
    reader, assembly = CallReader(), CallAssembly()
    async with aclosing(stream) as pieces:
        async for piece in pieces:
            assembly.add(piece.parts)
            yield replace(piece, text=reader.feed(piece.text), parts=())
    yield ChatPiece(text=reader.close(), calls=[*assembly.list_calls(), *reader.calls])
