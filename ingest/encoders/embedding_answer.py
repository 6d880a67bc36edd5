"""What an embedding server sent, taken apart: vectors by their index, or the fault as words of ours.

A server's own words are never told on: they may repeat a document, or the key. Of its errors only plain names are.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson
from numpy.typing import NDArray

Numbers = NDArray[np.float64]

SAFE_NAME = re.compile(r"[A-Za-z][A-Za-z_]{1,47}")
NO_NUMBER = re.compile(rb"\b(?:NaN|-?Infinity)\b")
# llama-server says so with a status of 500; the others with one that speaks of the request.
TOO_LONG = re.compile(rb"too (?:large|long) to process|exceed\w* (?:the )?(?:maximum )?context", re.IGNORECASE)
SHORTEST = 1e-12  # what is shorter has no direction


def read_vectors(content: bytes, count: int) -> Numbers:
    """`count` vectors in the order of the texts, shape (count, dimension), as they were sent.

    Raises ValueError: what the server did in place of that.
    """
    rows = _list_rows(content)
    if len(rows) != count:
        raise ValueError(f"sent {len(rows)} vectors for {count} texts")
    places = [row.get("index", at) if isinstance(row, dict) else None for at, row in enumerate(rows)]
    by_place = {place: row for place, row in zip(places, rows, strict=True) if type(place) is int}
    if by_place.keys() != set(range(count)):
        raise ValueError("numbered its vectors wrongly")
    vectors = [_read_vector(by_place[place].get("embedding")) for place in range(count)]
    if len({len(vector) for vector in vectors}) > 1:
        raise ValueError("sent vectors of different dimensions in one answer")
    return np.stack(vectors)


def scale_to_unit(vectors: Numbers) -> NDArray[np.float32]:
    """Raises ValueError for a vector that has no direction."""
    with np.errstate(over="ignore", invalid="ignore"):
        norms = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(norms).all():
        raise ValueError("sent numbers that are none (NaN or infinite)")
    if (norms < SHORTEST).any():
        raise ValueError("sent a vector of zeros")
    return np.ascontiguousarray(vectors / norms, dtype=np.float32)


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


def _list_rows(content: bytes) -> Sequence[Any]:
    try:
        body = orjson.loads(content)
    except ValueError:
        if NO_NUMBER.search(content):
            raise ValueError("sent numbers that are none (NaN or infinite)") from None
        what = "a web page" if content.lstrip()[:1] == b"<" else "something else"
        raise ValueError(f"sent {what} in place of JSON; is it an embedding server?") from None
    if not isinstance(body, dict):
        raise ValueError("sent JSON that is not an object")
    if body.get("error"):
        raise ValueError(f"reports an error{name_error(content)}")
    rows = body.get("data")
    if not isinstance(rows, list) or not rows:
        raise ValueError("sent no vectors")
    return rows


def _read_vector(told: object) -> Numbers:
    """A list of numbers, or little-endian float32 in base64, which some servers send unasked."""
    if isinstance(told, str):
        return _decode_vector(told)
    if not isinstance(told, list) or not told or not {type(one) for one in told} <= {int, float}:
        raise ValueError("sent a vector that is not a list of numbers")
    return np.array(told, dtype=np.float64)


def _decode_vector(told: str) -> Numbers:
    try:
        data = base64.b64decode(told, validate=True)
    except ValueError:
        data = b""
    if not data or len(data) % 4:
        raise ValueError("sent a vector that is neither a list of numbers nor base64")
    return np.frombuffer(data, dtype="<f4").astype(np.float64)
