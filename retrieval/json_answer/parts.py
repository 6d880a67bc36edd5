"""The schemas within a JSON Schema: where they stand, and which of them speak of one and the same value."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import unquote

Location = tuple[str, ...]  # the keys on the way from the root; places in a list are written as figures

ONE = frozenset(
    {
        "items",
        "additionalItems",
        "additionalProperties",
        "not",
        "if",
        "then",
        "else",
        "contains",
        "propertyNames",
        "unevaluatedItems",
        "unevaluatedProperties",
        "contentSchema",
    }
)
LISTED = frozenset({"allOf", "anyOf", "oneOf", "prefixItems", "items"})
NAMED = frozenset({"properties", "patternProperties", "$defs", "definitions", "dependentSchemas", "dependencies"})
# What these hold is asked of the same value as the schema they stand in, not of a part of it.
IN_PLACE = frozenset({"allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies"})


def list_parts(schema: Any) -> dict[Location, Any]:  # noqa: ANN401
    """Every schema within `schema`, itself included, by its location. What stands in `enum`, `default` and the like is
    data and no schema."""
    found: dict[Location, Any] = {}
    todo: list[tuple[Location, Any]] = [((), schema)]
    while todo:
        location, part = todo.pop()
        found[location] = part
        if isinstance(part, dict):
            todo += [((*location, *way), inner) for way, inner in iter_inner(part)]
    return found


def iter_inner(part: Mapping[str, Any]) -> Iterator[tuple[Location, Any]]:
    """The schemas right below this one, with the way to them."""
    for keyword, value in part.items():
        if keyword in ONE and isinstance(value, dict | bool):
            yield (keyword,), value
        elif keyword in LISTED and isinstance(value, list):
            yield from (((keyword, str(place)), inner) for place, inner in enumerate(value))
        elif keyword in NAMED and isinstance(value, dict):
            yield from (((keyword, name), inner) for name, inner in value.items() if not isinstance(inner, list))


def read_pointer(ref: str) -> Location:
    """The location that `#` or `#/…` points to, read as `referencing` reads it: `%2F` is a `/` like any other."""
    keys = unquote(ref.removeprefix("#")).split("/")[1:]
    return tuple(key.replace("~1", "/").replace("~0", "~") for key in keys)


def write_pointer(location: Location) -> str:
    return "#" + "".join("/" + key.replace("~", "~0").replace("/", "~1").replace("%", "%25") for key in location)


def find_circle(parts: Mapping[Location, Any]) -> Location | None:
    """A schema that, of one and the same value, asks for itself: checking against it would never end."""
    done: set[Location] = set()
    for start in parts:
        path: list[Location] = []
        todo = [(start, False)]
        while todo:
            location, leaving = todo.pop()
            if leaving:
                done.add(path.pop())
            elif location in path:
                return location
            elif location not in done:
                path.append(location)
                todo.append((location, True))
                todo += [(below, False) for below in _iter_in_place(location, parts[location]) if below in parts]
    return None


def _iter_in_place(location: Location, part: Any) -> Iterator[Location]:  # noqa: ANN401
    if not isinstance(part, dict):
        return
    if isinstance(part.get("$ref"), str):
        yield read_pointer(part["$ref"])
    yield from ((*location, *way) for way, _ in iter_inner(part) if way[0] in IN_PLACE)
