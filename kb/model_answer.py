"""What a model server sent, taken apart as far as all of them agree: a JSON object, or the fault as words of ours.

A server's own words are never told on: they may repeat a document, or the key. Of its errors only plain names are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

SAFE_NAME = re.compile(r"[A-Za-z][A-Za-z_]{1,47}")
NO_NUMBER = re.compile(rb"\b(?:NaN|-?Infinity)\b")
# llama-server says so with a status of 500; the others with one that speaks of the request.
TOO_LONG = re.compile(rb"too (?:large|long) to process|exceed\w* (?:the )?(?:maximum )?context", re.IGNORECASE)


def read_object(content: bytes, expected: str) -> Mapping[str, Any]:
    """The object in a good answer of a server that should be `expected`: `an embedding server`.

    Raises ValueError: what the server did in place of that.
    """
    try:
        body = orjson.loads(content)
    except ValueError:
        if NO_NUMBER.search(content):
            raise ValueError("sent numbers that are none (NaN or infinite)") from None
        what = "a web page" if content.lstrip()[:1] == b"<" else "something else"
        raise ValueError(f"sent {what} in place of JSON; is it {expected}?") from None
    if not isinstance(body, dict):
        raise ValueError("sent JSON that is not an object")
    if body.get("error"):
        raise ValueError(f"reports an error{name_error(content)}")
    return body


def order_by_index(rows: Sequence[Any], count: int, noun: str) -> list[Mapping[str, Any]]:
    """`rows`, one for each of `count` texts, in the order of the texts. Raises ValueError."""
    if len(rows) != count:
        raise ValueError(f"sent {len(rows)} {noun} for {count} texts")
    places = [row.get("index", at) if isinstance(row, dict) else None for at, row in enumerate(rows)]
    by_place = {place: row for place, row in zip(places, rows, strict=True) if type(place) is int}
    if by_place.keys() != set(range(count)):
        raise ValueError(f"numbered its {noun} wrongly")
    return [by_place[place] for place in range(count)]


def name_error(content: bytes) -> str:
    """Type and code of an error where they are plain names, in brackets; else nothing."""
    try:
        body = orjson.loads(content)
    except ValueError:
        return ""
    error = body.get("error", body) if isinstance(body, dict) else None
    names = [error.get(key) for key in ("type", "code")] if isinstance(error, dict) else []
    safe = dict.fromkeys(name for name in names if isinstance(name, str) and SAFE_NAME.fullmatch(name))
    return f" ({', '.join(safe)})" if safe else ""


def is_too_long(content: bytes) -> bool:
    return TOO_LONG.search(content) is not None
