"""What a chat model wrote in place of the wrapper, read and held against the schema."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from retrieval.json_answer.exact import read_exact, write_exact
from retrieval.json_answer.rules import measure_depth
from retrieval.json_answer.validator import ResponseSchema
from retrieval.json_answer.wrapper import ANSWER, SOURCES

DEEPEST = 100  # objects and lists within each other: JSON can be read deeper than it can be written
TOO_LARGE = "infinity"  # what orjson says of a number beyond all floats
LONGEST_NUMBER = 9  # figures of a source written as a text


@dataclass(frozen=True, kw_only=True, slots=True)
class Reply:
    """`value` fits the schema, or is None where the passages do not hold it. `places` are the passages it rests on,
    from 0, each once; `dropped` counts what named none."""

    value: Any
    places: Sequence[int] = ()
    dropped: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class BadReply:
    """Why a reply cannot be used; none of its text stands in it."""

    reason: str


def read_reply(written: str, schema: ResponseSchema, passages: int) -> Reply | BadReply:
    """Raises InvalidInput (`bad_response_schema`) where checking takes too long."""
    text = _strip_frame(written)
    try:
        wrapper = read_exact(text)
    except orjson.JSONDecodeError as error:
        return BadReply(reason=_explain(error, len(text)))
    if not isinstance(wrapper, dict) or ANSWER not in wrapper:
        return BadReply(reason=f'it is no JSON object with "{ANSWER}" and "{SOURCES}"')
    value = wrapper[ANSWER]
    if measure_depth(value) > DEEPEST:
        return BadReply(reason=f'"{ANSWER}" is nested more than {DEEPEST} deep')
    if value is not None and (misfit := schema.find_misfit(value)) is not None:
        return BadReply(reason=f'"{ANSWER}" does not fit the schema at {misfit.place}')
    places, dropped = _read_sources(wrapper.get(SOURCES), passages)
    return Reply(value=value, places=places, dropped=dropped)


def write_value(value: Any) -> str:  # noqa: ANN401
    return write_exact(value).decode()


def list_leaves(value: Any) -> list[str]:  # noqa: ANN401
    """The texts and numbers within a value, as words; true and false say nothing by themselves."""
    leaves: list[str] = []
    todo = [value]
    while todo:
        match todo.pop():
            case dict(fields):
                todo += reversed(fields.values())
            case list(items):
                todo += reversed(items)
            case bool() | None:
                pass
            case leaf:
                leaves.append(str(leaf))
    return leaves


def _explain(error: orjson.JSONDecodeError, length: int) -> str:
    if TOO_LARGE in error.msg:
        return "it holds a number that is too large: of more than 308 figures, or with such an exponent"
    return f"it is no JSON: broken at character {error.pos + 1:,} of {length:,}"


def _strip_frame(written: str) -> str:
    """Without the code fence, or the words around it, that a model puts there which knows no schema."""
    text = written.strip()
    if text.startswith("{"):
        return text
    if text.startswith("```"):
        return text[3:].removesuffix("```").strip().removeprefix("json").removeprefix("JSON").strip()
    return text[max(0, text.find("{")) : text.rfind("}") + 1] or text


def _read_sources(told: Any, passages: int) -> tuple[list[int], int]:  # noqa: ANN401
    """What is missing is no source; one written as a text is read as a number."""
    named = told if isinstance(told, list) else []
    numbers = [int(one) if _is_number(one) else one for one in named]
    kept = [one for one in numbers if isinstance(one, int) and not isinstance(one, bool) and 1 <= one <= passages]
    return [number - 1 for number in dict.fromkeys(kept)], len(named) - len(kept)


def _is_number(one: Any) -> bool:  # noqa: ANN401
    return isinstance(one, str) and one.isdecimal() and len(one) <= LONGEST_NUMBER
