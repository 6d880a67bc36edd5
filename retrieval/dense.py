"""The dense index: nearest unit vectors by inner product.

A `DenseView` is immutable and is what searches read: a sealed base that nobody changes (`retrieval/sealed.py`), a delta
of rows that came later, and tombstones for rows that went. `apply` answers with a new view; searches on the old one go
on undisturbed (faiss hangs or crashes when an index grows while another thread searches it).

Vectors are kept as float16, which is what SQL keeps, so that base and delta give the same score for the same row.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from kb.types import Match, Vectors
from retrieval.sealed import Ids, SealedDense, scan_rows
from retrieval.unit_vectors import check_vectors

MOST_MATCHES = 10_000  # beyond this many wanted rows something is wrong with the caller
MARGIN = 32  # extra base rows asked for at first, so that a few tombstones cost no second look


def _check_k(k: int) -> int:
    if not 1 <= k <= MOST_MATCHES:
        raise ValueError(f"k is {k}, it must be between 1 and {MOST_MATCHES}")
    return k


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
        scores, rows = scan_rows(question, self.room.vectors[: self.delta], ask)
        return self._drop_dead(scores, self.room.ids[rows])[:k]

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
