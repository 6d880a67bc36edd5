"""Vectors as the dense index takes them: rows of unit length, as SQL keeps them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb.types import Vectors

NORM_SLACK = 2e-3  # a unit vector rounded to float16 is this far from length 1 at most


def check_vectors(vectors: NDArray[Any], dimension: int) -> Vectors:
    """`vectors` as float32 of unit length, shape (n, dimension); near-unit rows are kept bit by bit.

    Raises ValueError for another shape, NaN or infinity, or a zero vector: faiss would drop or misplace them silently.
    """
    if vectors.ndim != 2 or vectors.shape[1] != dimension:
        raise ValueError(f"vectors have shape {vectors.shape}, the index wants (n, {dimension})")
    rows = np.ascontiguousarray(vectors, dtype=np.float32)
    norms = np.sqrt(np.einsum("ij,ij->i", rows, rows, dtype=np.float64))
    if not np.isfinite(norms).all() or not np.isfinite(rows).all():
        raise ValueError("vectors hold NaN or infinity")
    if (norms == 0).any():
        raise ValueError("vectors hold a zero vector, which has no direction")
    far = np.abs(norms - 1) > NORM_SLACK
    if far.any():
        rows = np.array(rows)
        rows[far] = (rows[far] / norms[far, None]).astype(np.float32)
    return rows


def stack_vectors(vectors: Sequence[NDArray[np.float16]], dimension: int) -> NDArray[np.float16]:
    """Rows as one matrix, shape (n, dimension), also for none. Raises ValueError when a row has another length."""
    return np.stack(vectors) if vectors else np.empty((0, dimension), dtype=np.float16)
