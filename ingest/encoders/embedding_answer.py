"""What an embedding server sent, taken apart: vectors by their index, or the fault as words of ours."""

from __future__ import annotations

import base64

import numpy as np
from numpy.typing import NDArray

from kb.model_answer import order_by_index, read_object

Numbers = NDArray[np.float64]

SHORTEST = 1e-12  # what is shorter has no direction


def read_vectors(content: bytes, count: int) -> Numbers:
    """`count` vectors in the order of the texts, shape (count, dimension), as they were sent.

    Raises ValueError: what the server did in place of that.
    """
    rows = read_object(content, "an embedding server").get("data")
    if not isinstance(rows, list) or not rows:
        raise ValueError("sent no vectors")
    vectors = [_read_vector(row.get("embedding")) for row in order_by_index(rows, count, "vectors")]
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
