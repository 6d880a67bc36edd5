"""Calls of tools: what a model may call, what it called, and a call out of the pieces that servers stream.

A piece may bring an id, a name and some of the arguments. Which call it belongs to its `index` says; servers that leave
it out, or give every call the same one, are understood as well.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

MOST_CALLS = 16  # of one answer: against a model that does not stop
LONGEST_ARGUMENTS = 20_000  # characters; no question may be longer, and the rest is thrown away
LONGEST_NAME = 64
SURROGATE = re.compile("[\ud800-\udfff]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Tool:
    """`parameters` is a JSON schema."""

    name: str
    description: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True, slots=True)
class ToolCall:
    """`arguments` is what the model wrote, which should be a JSON object; without a name it wrote no call at all."""

    name: str
    arguments: str
    id: str = ""


@dataclass(frozen=True, kw_only=True, slots=True)
class CallPart:
    """What one event of a stream brings of one call."""

    index: int | None = None
    id: str = ""
    name: str = ""
    arguments: str = ""


def read_parts(message: Mapping[str, Any]) -> Sequence[CallPart]:
    """The pieces of calls in a delta, or the whole calls of a message. What cannot be one is left out."""
    told = message.get("tool_calls")
    if not told:
        return ()
    listed = told if isinstance(told, list) else [told]  # some servers send a lone one without its list
    return [part for one in listed if isinstance(one, dict) and (part := _read_part(one)) is not None]


def _read_part(told: Mapping[str, Any]) -> CallPart | None:
    called, index = told.get("function"), told.get("index")
    if not isinstance(called, dict):
        return None
    arguments = called.get("arguments")
    if isinstance(arguments, dict):
        arguments = write_arguments(arguments)
    return CallPart(
        index=index if isinstance(index, int) else None,
        id=_read_text(told.get("id")),
        name=_read_text(called.get("name")),
        arguments=_read_text(arguments),
    )


def write_arguments(told: object) -> str:
    """As the text that they are in a call; empty where they are nested deeper than can be written."""
    try:
        return told if isinstance(told, str) else json.dumps(told, ensure_ascii=False)
    except RecursionError:  # reading bears more
        return ""


def _read_text(value: object) -> str:
    return SURROGATE.sub("\ufffd", value) if isinstance(value, str) else ""


@dataclass(kw_only=True, slots=True)
class _Growing:
    index: int | None
    id: str = ""
    name: str = ""
    arguments: str = ""


class CallAssembly:
    """The calls of one answer as their pieces come."""

    def __init__(self) -> None:
        self._growing: list[_Growing] = []

    def add(self, parts: Sequence[CallPart]) -> None:
        for part in parts:
            call = self._find(part)
            if call is None:
                if len(self._growing) == MOST_CALLS:
                    return
                call = _Growing(index=part.index)
                self._growing.append(call)
            call.id = call.id or part.id
            if part.name != call.name:  # some servers repeat the whole name in each piece
                call.name = (call.name + part.name)[:LONGEST_NAME]
            call.arguments = (call.arguments + part.arguments)[:LONGEST_ARGUMENTS]

    def list_calls(self) -> list[ToolCall]:
        """In the order in which they began."""
        return [ToolCall(id=call.id, name=call.name, arguments=call.arguments) for call in self._growing]

    def _find(self, part: CallPart) -> _Growing | None:
        """The call that the piece goes on with; None when it begins one."""
        if part.index is None:
            latest = self._growing[-1] if self._growing else None
            begins = bool(part.name) or latest is None or _names_another(part, latest)
            return None if begins else latest
        latest = next((call for call in reversed(self._growing) if call.index == part.index), None)
        return None if latest is None or _names_another(part, latest) else latest


def _names_another(part: CallPart, call: _Growing) -> bool:
    return bool(part.id and call.id and part.id != call.id)
