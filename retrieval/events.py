"""Server-sent events as chat servers send them: bytes in any cut, JSON objects out. Knows no transport.

Bears CR, LF and CRLF, comments, data in several lines, UTF-8 cut in the middle of a character, and a last event without
the blank line behind it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from kb.errors import Unavailable
from retrieval.tool_calls import SURROGATE, CallPart, ToolCall, read_parts

DONE = b"[DONE]"  # the data of the event that ends a stream; not every server sends it
LONGEST_EVENT = 1_000_000  # bytes: no chat server sends such a line, a broken one may send nothing else
MOST_TOKENS = 2**31 - 1  # of one answer; a larger number is none, and no JSON of ours could hold some
SAFE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.\-]{0,40}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Usage:
    prompt_tokens: int
    completion_tokens: int


def add_usage(known: Usage | None, more: Usage | None) -> Usage | None:
    """What several calls have used, as far as the server told."""
    if known is None or more is None:
        return known or more
    return Usage(
        prompt_tokens=known.prompt_tokens + more.prompt_tokens,
        completion_tokens=known.completion_tokens + more.completion_tokens,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class ChatPiece:
    """A stretch of the answer, or what the call has used; `finished` when the server gives the reason why it ended,
    `cut` when that is that `max_tokens` were written.

    `parts` are what a server's event brings of calls of tools, `calls` whole ones.
    """

    text: str = ""
    usage: Usage | None = None
    finished: bool = False
    cut: bool = False
    parts: Sequence[CallPart] = ()
    calls: Sequence[ToolCall] = ()


class EventReader:
    """Turns the bytes of one response into the data of its events.

    With `plain` the response is no event stream: its whole body is the data of one event. Lines are cut as bytes: no
    character of UTF-8 has a line end inside it, and only what is kept is ever decoded.
    """

    def __init__(self, *, plain: bool = False) -> None:
        self._plain = plain
        self._rest = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, chunk: bytes, *, last: bool = False) -> list[bytes]:
        """The data of every event that is complete; with `last` also of one that lacks its blank line.

        Raises Unavailable (`llm_error`) when an event grows beyond all measure; those before it were given.
        """
        content = self._rest + chunk
        if self._plain:
            self._rest = b"" if last else content
            events = [content] if last and content else []
        else:
            events = self._take_events(content, last=last)
        if not events and self._size + len(self._rest) > LONGEST_EVENT:
            raise Unavailable("llm_error", f"the chat server sent an event of more than {LONGEST_EVENT} bytes")
        return events

    def _take_events(self, content: bytes, *, last: bool) -> list[bytes]:
        held = b""
        if b"\r" in content:
            held = b"\r" if content.endswith(b"\r") and not last else b""  # it may be half a CRLF
            content = content.removesuffix(held).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        lines = content.split(b"\n")
        self._rest = lines.pop() + held
        if last:
            lines += [self._rest, b""]
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                self._data.append(line[5:].removeprefix(b" "))
                self._size += len(line)
            elif not line and self._data:
                events.append(b"\n".join(self._data))
                self._data.clear()
                self._size = 0
        return events


def read_piece(data: str | bytes) -> ChatPiece:
    """One event of a chat stream, or the whole body of an answer that was not streamed.

    Raises Unavailable (`llm_error`) for an error in place of an answer and for anything that is not JSON.
    """
    try:
        body = _parse(data)
    except (ValueError, RecursionError):
        raise Unavailable("llm_error", "the chat server sent an event that is not JSON") from None
    if not isinstance(body, dict):
        raise Unavailable("llm_error", "the chat server sent an event that is not an object")
    if body.get("error") or ("detail" in body and "choices" not in body):
        raise Unavailable("llm_error", f"the chat server reports an error{name_error(body)}")
    choices = body.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    said = [part for key in ("delta", "message") if isinstance(part := choice.get(key), dict)]
    return ChatPiece(
        text=_read_text(said),
        usage=_read_usage(body.get("usage")),
        finished=bool(choice.get("finish_reason")),
        cut=choice.get("finish_reason") == "length",
        parts=next((parts for part in said if (parts := read_parts(part))), ()),
    )


def name_error(body: Mapping[str, Any]) -> str:
    """Those names in parentheses, nothing when there are none."""
    names = list_error_names(body)
    return f" ({', '.join(names)})" if names else ""


def list_error_names(body: Mapping[str, Any]) -> list[str]:
    """The error's type, code and parameter where they are plain names: its message may repeat the prompt and is never
    told on."""
    error = body.get("error")
    fields = error if isinstance(error, dict) else body
    names = [fields.get(key) for key in ("type", "code", "param")]
    return list(dict.fromkeys(name for name in names if isinstance(name, str) and SAFE_NAME.fullmatch(name)))


def parse_json(content: bytes) -> object:
    """None where it is none."""
    try:
        return _parse(content)
    except (ValueError, RecursionError):
        return None


def _parse(content: str | bytes) -> Any:  # noqa: ANN401
    """A quarter of the time of `json`, which is left for what is no strict JSON, as half of a surrogate pair or a byte
    that is no UTF-8."""
    try:
        return orjson.loads(content)
    except orjson.JSONDecodeError:
        return json.loads(content if isinstance(content, str) else content.decode("utf-8", "replace"))


def _read_text(said: Sequence[Mapping[str, Any]]) -> str:
    for part in said:
        if isinstance(part.get("content"), str):
            return SURROGATE.sub("\ufffd", part["content"])
    return ""


def _read_usage(usage: object) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    counts = [usage.get(key) for key in ("prompt_tokens", "completion_tokens")]
    if not all(isinstance(count, int) and 0 <= count <= MOST_TOKENS for count in counts):
        return None
    return Usage(prompt_tokens=int(counts[0] or 0), completion_tokens=int(counts[1] or 0))
