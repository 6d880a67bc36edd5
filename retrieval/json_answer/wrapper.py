"""What a chat server is sent of a schema: an object with the answer and the passages it rests on.

So no `[n]` has to stand in the JSON, and there is a place to say that the passages do not hold the answer: null.

What is sent is wider than what was asked for, never narrower: only keywords that every grammar engine knows, and no
number so large that one would unroll it. What is left out is checked when the answer is there.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

from retrieval.json_answer.parts import list_parts, read_pointer, write_pointer
from retrieval.json_answer.validator import ResponseSchema

ANSWER, SOURCES = "answer", "sources"
PLACE = ("properties", ANSWER, "anyOf", "0")  # where the caller's schema stands in the wrapper
HOISTED = ("$defs", "definitions")
KEPT = frozenset(
    {
        "type",
        "enum",
        "const",
        "properties",
        "required",
        "additionalProperties",
        "items",
        "prefixItems",
        "anyOf",
        "allOf",
        "$ref",
        "title",
        "description",
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "minLength",
        "maxLength",
        "minItems",
        "maxItems",
    }
)
SAID = frozenset({"title", "description"})  # for a reader: no value is judged by them
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
MOST_COUNTED = 1_000  # a grammar is unrolled as often
BEYOND = 2**63  # xgrammar refuses such a bound, and makes of such a constant one that is not it: 1.8e+19


def wrap_schema(schema: ResponseSchema, passages: int) -> dict[str, Any]:
    """The wrapper over `passages` numbered ones."""
    numbers = {"type": "integer", "enum": list(range(1, passages + 1))}
    own = {keyword: value for keyword, value in schema.schema.items() if keyword not in HOISTED}
    hoisted = {
        name: {key: _widen(inner, schema.keywords) for key, inner in schema.schema[name].items()}
        for name in HOISTED
        if isinstance(schema.schema.get(name), dict)
    }
    wrapper = {
        "type": "object",
        "properties": {
            ANSWER: {"anyOf": [_widen(own, schema.keywords), {"type": "null"}]},
            SOURCES: {"type": "array", "items": numbers, "maxItems": passages},
        },
        "required": [ANSWER, SOURCES],
        "additionalProperties": False,
        **hoisted,
    }
    _drop_dangling(wrapper)
    return wrapper


def _drop_dangling(wrapper: dict[str, Any]) -> None:
    """Pointers to what was left out: without them more is taken, with them no server could read the schema."""
    parts = list_parts(wrapper)
    for part in parts.values():
        if isinstance(part, dict) and "$ref" in part and read_pointer(part["$ref"]) not in parts:
            del part["$ref"]


def _widen(part: Any, known: Set[str]) -> Any:  # noqa: ANN401
    """Without what the draft does not know, for there it says nothing, and what stands beside `$ref` in draft 7."""
    if not isinstance(part, dict):
        return part
    if "$ref" in part and "unevaluatedItems" not in known:
        return {"$ref": _move_pointer(part["$ref"])}
    kept: dict[str, Any] = {}
    for keyword, value in part.items():
        if keyword in HOISTED and isinstance(value, dict):
            kept[keyword] = {
                name: _widen(inner, known) for name, inner in value.items() if isinstance(inner, dict | bool)
            }
        elif keyword == "properties":
            kept[keyword] = {name: _widen(inner, known) for name, inner in value.items()}
        elif keyword in known:
            kept.update(_widen_keyword(keyword, value, known, kept))
        elif keyword in SAID:
            kept[keyword] = value
    return kept


def _widen_keyword(keyword: str, value: Any, known: Set[str], kept: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401
    """What stands for it; nothing where it is left out."""
    if keyword == "$ref":
        return {keyword: _move_pointer(value)}
    if keyword in {"anyOf", "oneOf", "allOf", "prefixItems"} or (keyword == "items" and isinstance(value, list)):
        name = _name_list(keyword)
        return {} if name in kept else {name: [_widen(inner, known) for inner in value]}
    if keyword in {"items", "additionalProperties"}:
        return {keyword: _widen(value, known)}
    is_kept = keyword in KEPT and not (keyword in COUNTS and value > MOST_COUNTED) and not _is_beyond(value)
    return {keyword: value} if is_kept else {}


def _is_beyond(value: Any) -> bool:  # noqa: ANN401
    """Whether a number in it is more than an engine's integers hold."""
    todo = [value]
    while todo:
        match todo.pop():
            case dict(fields):
                todo += fields.values()
            case list(items):
                todo += items
            case int() | float() as number if not -BEYOND <= number < BEYOND:
                return True
    return False


def _name_list(keyword: str) -> str:
    """One of several is wider than exactly one of them; a list of items is what draft 7 calls prefixItems."""
    return {"oneOf": "anyOf", "items": "prefixItems"}.get(keyword, keyword)


def _move_pointer(ref: str) -> str:
    location = read_pointer(ref)
    return write_pointer(location if location[:1] and location[0] in HOISTED else (*PLACE, *location))
