"""What a chat server is sent of a schema: an object with the answer and the passages it rests on.

So no `[n]` has to stand in the JSON, and there is a place to say that the passages do not hold the answer: null.

What is sent is wider than what was asked for, never narrower: only keywords that every grammar engine knows, and no
number so large that one would unroll it. What is left out is checked when the answer is there.
"""

from __future__ import annotations

from typing import Any

from retrieval.json_answer.parts import read_pointer, write_pointer
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
COUNTS = frozenset({"minLength", "maxLength", "minItems", "maxItems"})
MOST_COUNTED = 1_000  # a grammar is unrolled as often
BEYOND = 2**63  # xgrammar refuses such a bound, and makes of such a constant one that is not it: 1.8e+19


def wrap_schema(schema: ResponseSchema, passages: int) -> dict[str, Any]:
    """The wrapper over `passages` numbered ones."""
    numbers = {"type": "integer", "enum": list(range(1, passages + 1))}
    own = {keyword: value for keyword, value in schema.schema.items() if keyword not in HOISTED}
    hoisted = {
        name: {key: _widen(inner) for key, inner in schema.schema[name].items()}
        for name in HOISTED
        if isinstance(schema.schema.get(name), dict)
    }
    return {
        "type": "object",
        "properties": {
            ANSWER: {"anyOf": [_widen(own), {"type": "null"}]},
            SOURCES: {"type": "array", "items": numbers, "maxItems": passages},
        },
        "required": [ANSWER, SOURCES],
        "additionalProperties": False,
        **hoisted,
    }


def _widen(part: Any) -> Any:  # noqa: ANN401
    if not isinstance(part, dict):
        return part
    kept: dict[str, Any] = {}
    for keyword, value in part.items():
        if keyword == "$ref":
            kept[keyword] = _move_pointer(value)
        elif keyword in {"properties", *HOISTED}:
            kept[keyword] = {name: _widen(inner) for name, inner in value.items()}
        elif keyword in {"anyOf", "oneOf", "allOf", "prefixItems"} or (keyword == "items" and isinstance(value, list)):
            kept.setdefault(_name_list(keyword), [_widen(inner) for inner in value])
        elif keyword in {"items", "additionalProperties"}:
            kept[keyword] = _widen(value)
        elif keyword in KEPT and not (keyword in COUNTS and value > MOST_COUNTED) and not _is_beyond(value):
            kept[keyword] = value
    return kept


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
