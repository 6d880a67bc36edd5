"""The dense index: exact inner product of unit vectors. The only module that knows faiss.

A `DenseView` is immutable and is what searches read: a sealed base that faiss built and nobody changes, a delta of rows
that came later, and tombstones for rows that went. `apply` answers with a new view; searches on the old one go on
undisturbed (faiss hangs or crashes when an index grows while another thread searches it).

Vectors are kept as float16, which is what SQL keeps, so that base and delta give the same score for the same row.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from kb.types import Match, Vectors

Ids = NDArray[np.int64]

MOST_MATCHES = 10_000  # beyond this many wanted rows something is wrong with the caller
MARGIN = 32  # extra base rows asked for at first, so that a few tombstones cost no second look
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


def _check_k(k: int) -> int:
    if not 1 <= k <= MOST_MATCHES:
        raise ValueError(f"k is {k}, it must be between 1 and {MOST_MATCHES}")
    return k


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedDense:
    """A finished faiss index and, row by row, the chunk ids, ascending."""

    index: Any
    ids: Ids

    def search(self, question: Vectors, k: int) -> tuple[NDArray[np.float32], Ids]:
        """Scores and chunk ids of the best `k` rows, best first."""
        scores, rows = self.index.search(question, min(k, len(self.ids)))
        found = rows[0] >= 0
        return scores[0][found], self.ids[rows[0][found]]

    def count_known(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of `ids` are rows of this index."""
        if not len(self.ids):
            return np.zeros(len(ids), dtype=bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.asarray(self.ids[at] == ids, dtype=bool)


class _Room:
    """Memory that a delta grows in. Rows once given out are never written again; a view sees only its first rows."""

    def __init__(self, dimension: int, capacity: int) -> None:
        self.vectors: Vectors = np.empty((capacity, dimension), dtype=np.float32)
        self.ids: Ids = np.empty(capacity, dtype=np.int64)
        self.used = 0

    def append(self, ids: Ids, vectors: Vectors) -> None:
        end = self.used + len(ids)
        self.vectors[self.used : end] = vectors
        self.ids[self.used : end] = ids
        self.used = end


@dataclass(frozen=True, kw_only=True, slots=True)
class DenseView:
    """What is searched. `apply` must not be called by two threads at once; `search` may run in any number."""

    dimension: int
    base: SealedDense | None
    room: _Room
    delta: int  # rows of `room` that this view sees
    tombstones: frozenset[int]

    def __len__(self) -> int:
        return (len(self.base.ids) if self.base else 0) + self.delta - len(self.tombstones)

    def list_ids(self) -> set[int]:
        """Chunk ids that can be found."""
        base = self.base.ids.tolist() if self.base else []
        return {*base, *self.room.ids[: self.delta].tolist()} - self.tombstones

    def search(self, question: NDArray[Any], k: int) -> list[Match]:
        """The `k` nearest rows, best first, ties by chunk id; fewer when there are not so many.

        `question` has shape (1, dimension). Raises ValueError for another shape, NaN, infinity or a zero vector.
        """
        unit = check_vectors(question, self.dimension)
        if len(unit) != 1:
            raise ValueError(f"one question at a time, not {len(unit)}")
        faiss.omp_set_num_threads(1)  # holds for the calling thread alone, so it is said here and not once at start
        wanted = _check_k(k)
        found = [*self._search_base(unit, wanted), *self._search_delta(unit, wanted)]
        found.sort(key=lambda match: (-match.score, match.chunk_id))
        return found[:wanted]

    def _search_base(self, question: Vectors, k: int) -> list[Match]:
        """Asks for more until `k` living rows are found or every row was seen."""
        if self.base is None or not len(self.base.ids):
            return []
        ask = k + (min(len(self.tombstones), MARGIN))
        while True:
            scores, ids = self.base.search(question, ask)
            found = self._drop_dead(scores, ids)
            if len(found) >= k or ask >= len(self.base.ids):
                return found[:k]
            ask *= 2

    def _search_delta(self, question: Vectors, k: int) -> list[Match]:
        if not self.delta:
            return []
        ask = min(self.delta, k + len(self.tombstones))
        # not numpy's product, which spreads over all cores and stumbles when they are busy
        scores, rows = faiss.knn(question, self.room.vectors[: self.delta], ask, metric=faiss.METRIC_INNER_PRODUCT)
        return self._drop_dead(scores[0], self.room.ids[rows[0]])[:k]

    def _drop_dead(self, scores: NDArray[np.float32], ids: Ids) -> list[Match]:
        pairs = zip(ids.tolist(), scores.tolist(), strict=True)
        return [Match(chunk_id=i, score=score) for i, score in pairs if i not in self.tombstones]

    def apply(self, ids: Sequence[int], vectors: NDArray[Any], removed: Sequence[int]) -> DenseView:
        """A view with `ids` added and `removed` gone. Ids that are there already and unknown ones do no harm.

        Raises ValueError as `check_vectors` does, and when ids and vectors differ in number.
        """
        if len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
        rows = check_vectors(vectors, self.dimension) if len(ids) else np.empty((0, self.dimension), np.float32)
        came, went = np.asarray(ids, dtype=np.int64), np.asarray(removed, dtype=np.int64)
        fresh = ~self._find_known(came)
        room = self._grow_room(came[fresh], rows[fresh])
        known_gone = frozenset(went[self._find_known(went) | np.isin(went, came)].tolist())
        return DenseView(
            dimension=self.dimension,
            base=self.base,
            room=room,
            delta=self.delta + int(fresh.sum()),
            tombstones=(self.tombstones - frozenset(came.tolist())) | known_gone,
        )

    def _find_known(self, ids: Ids) -> NDArray[np.bool_]:
        known = np.isin(ids, self.room.ids[: self.delta])
        return known | self.base.count_known(ids) if self.base else known

    def _grow_room(self, ids: Ids, rows: Vectors) -> _Room:
        """The room with these rows appended: the same one while nobody else wrote there, else a larger copy."""
        room, needed = self.room, self.delta + len(ids)
        if room.used != self.delta or needed > len(room.ids):
            room = _Room(self.dimension, max(64, needed + needed // 2))
            room.append(self.room.ids[: self.delta], self.room.vectors[: self.delta])
        room.append(ids, rows)
        return room


def open_view(dimension: int, sealed: SealedDense | None = None) -> DenseView:
    """A view of a sealed index, or an empty one."""
    return DenseView(dimension=dimension, base=sealed, room=_Room(dimension, 0), delta=0, tombstones=frozenset())


class DenseBuilder:
    """Builds a sealed index from batches in ascending chunk id."""

    def __init__(self, dimension: int) -> None:
        self.dimension = dimension
        kind = faiss.ScalarQuantizer.QT_fp16
        self._index = faiss.IndexScalarQuantizer(dimension, kind, faiss.METRIC_INNER_PRODUCT)
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    def add(self, ids: Sequence[int], vectors: NDArray[Any]) -> None:
        """Raises ValueError for bad vectors and for ids that do not ascend."""
        if len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
        run = [*self._ids[-1:], *ids]
        if any(later <= earlier for earlier, later in pairwise(run)):
            raise ValueError("chunk ids must ascend")
        faiss.omp_set_num_threads(1)
        self._index.add(check_vectors(vectors, self.dimension))
        self._ids.extend(ids)

    def write_index(self, write: Callable[[bytes], int]) -> None:
        """Hand the index to `write` piece by piece; what `write` raises comes through.

        faiss's own file writer reports success on a full disk, this way it cannot.
        """
        writer = faiss.PyCallbackIOWriter(write)  # type: ignore[attr-defined]  # made by SWIG, unknown to its stub
        faiss.write_index(self._index, writer)

    def dump_ids(self) -> bytes:
        """Chunk ids as little-endian int64."""
        return np.asarray(self._ids, dtype="<i8").tobytes()

    def finish(self) -> SealedDense:
        return SealedDense(index=self._index, ids=np.asarray(self._ids, dtype=np.int64))


def read_sealed(index_path: Path, ids_path: Path, dimension: int) -> SealedDense:
    """Read what DenseBuilder wrote; the files' checksums have been verified before, faiss has none of its own.

    Raises ValueError when the two do not belong together or are of another dimension.
    """
    try:
        index = faiss.read_index(str(index_path))
    except RuntimeError as error:
        raise ValueError(f"{index_path.name} is not a faiss index") from error
    ids = np.frombuffer(ids_path.read_bytes(), dtype="<i8").astype(np.int64)
    if index.d != dimension or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(f"{index_path.name} has dimension {index.d}, not {dimension}, or another metric")
    if index.ntotal != len(ids) or (np.diff(ids) <= 0).any():
        raise ValueError(f"{index_path.name} has {index.ntotal} rows for {len(ids)} ids")
    return SealedDense(index=index, ids=ids)
