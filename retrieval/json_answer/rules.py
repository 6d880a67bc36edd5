"""What a schema for an answer may be: small, whole by itself, and quick to check against.

It comes from a caller and is handed to a chat server that others use as well, so nothing in it is fetched, and nothing
that could take for ever is let through.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kb.errors import InvalidInput
from retrieval.json_answer.exact import write_exact
from retrieval.json_answer.parts import Location, find_circle, list_parts, read_pointer, write_pointer

MOST_BYTES = 16_384
DEEPEST = 20  # objects and lists within each other
LONGEST_PATTERN = 500  # characters
DIALECTS = frozenset(
    {
        "http://json-schema.org/draft-07/schema",
        "https://json-schema.org/draft/2019-09/schema",
        "https://json-schema.org/draft/2020-12/schema",
    }
)
# Each is another way to name a schema than `$ref` with a place in this document, or to name one elsewhere.
NAMING = frozenset({"$anchor", "$dynamicAnchor", "$dynamicRef", "$recursiveAnchor", "$recursiveRef", "$vocabulary"})


def write_schema(schema: Mapping[str, Any]) -> str:
    """The schema as JSON, once it is small enough. Raises InvalidInput (`bad_response_schema`)."""
    try:
        written = write_exact(schema)
    except TypeError:  # deeper than can be written, or a number that no JSON holds
        raise refuse_schema((), f"is nested more than {DEEPEST} deep or is no JSON") from None
    if len(written) > MOST_BYTES:
        raise refuse_schema(
            (), f"has {len(written):,} bytes as JSON, {MOST_BYTES:,} at most: leave out what it can do without"
        )
    if (depth := measure_depth(schema)) > DEEPEST:
        raise refuse_schema((), f"is nested {depth} deep, {DEEPEST} at most: put inner schemas into $defs")
    return written.decode()


def check_parts(schema: Mapping[str, Any]) -> None:
    """Raises InvalidInput (`bad_response_schema`)."""
    if not isinstance(dialect := schema.get("$schema", ""), str) or (dialect and dialect.rstrip("#") not in DIALECTS):
        raise refuse_schema(("$schema",), "names no draft that is known here: 7, 2019-09 and 2020-12 are")
    parts = list_parts(schema)
    for location, part in parts.items():
        if isinstance(part, dict):
            _check_part(location, part, parts)
    if (circle := find_circle(parts)) is not None:
        raise refuse_schema(
            circle, "leads back to itself without going into the value: no value can be checked against it"
        )


def _check_part(location: Location, part: Mapping[str, Any], parts: Mapping[Location, Any]) -> None:
    for keyword in NAMING & part.keys():
        raise refuse_schema(
            (*location, keyword), "is not taken: name inner schemas in $defs and use $ref with #/$defs/…"
        )
    for keyword in {"$id", "$schema"} & part.keys():
        if location:
            raise refuse_schema((*location, keyword), "may stand at the root alone")
    if "patternProperties" in part:
        raise refuse_schema(
            (*location, "patternProperties"), "is not taken: name the properties, or use additionalProperties"
        )
    ref = part.get("$ref", "#")
    if not isinstance(ref, str) or not (ref == "#" or ref.startswith("#/")):
        raise refuse_schema((*location, "$ref"), "leads out of the schema, and nothing is fetched: use #/$defs/…")
    if read_pointer(ref) not in parts:
        raise refuse_schema((*location, "$ref"), "points to a place where there is no schema")


def measure_depth(value: Any) -> int:  # noqa: ANN401
    """Objects and lists within each other."""
    deepest = 0
    todo = [(value, 1)]
    while todo:
        inner, depth = todo.pop()
        if isinstance(inner, Mapping | list):
            deepest = max(deepest, depth)
            todo += [(one, depth + 1) for one in (inner.values() if isinstance(inner, Mapping) else inner)]
    return deepest


def refuse_schema(location: Location, reason: str) -> InvalidInput:
    """Names the place by the caller's own keys."""
    return InvalidInput("bad_response_schema", f"response_schema {write_pointer(location)[:200]} {reason}")
