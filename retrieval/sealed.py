"""The sealed part of a dense index: built once, never changed, searched by any number of threads. The only module that
knows faiss.

Which kind is built goes by the number of rows:

* Up to 20,000 rows every row is compared, as float16, in 2 ms.
* Up to 2,000,000 every row is compared by a code of one bit a number (RaBitQ, FastScan), and the best of them once more
  by their float16 vectors, which lie in a memory-mapped file beside the index. Of 512 numbers 72 bytes are read for a
  question, not 1,024.
* Beyond, the same in lists around k-means centres (IVF), of which a question visits the nearest. How many is measured
  on rows of the index itself when it is built.

Scores are inner products with the float16 rows whatever the kind, so that they compare with those of newer rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faiss
import numpy as np
from numpy.typing import NDArray

from kb.types import Vectors
from retrieval.unit_vectors import check_vectors

Ids = NDArray[np.int64]
Rows = NDArray[np.float16]  # shape (n, dimension)

# Candidates of the coarse look that are compared by their vectors, for each row wanted, and at least; twice as many in
# a large index. Measured × 512 in clusters of near alike: recall@10 1.000 with 200 at 100,000; at 1,000,000 .951 with
# 200, .9995 with 400 and 1.000 with 1,000, which takes twice the time.
CANDIDATES_A_ROW = 4
FEWEST_CANDIDATES = 200
LARGE = 250_000
BLOCK = 50_000  # rows that are float32 at one time while an index is built
TRAINING_ROWS = 100_000  # of a flat index: they give its one centre
TRAINING_ROWS_A_LIST = 64
TRIALS = 100  # rows on which the number of lists to visit is measured
TRIAL_DEPTH = 10
WANTED_RECALL = 0.995
OFFSET = 0.01  # of unit vectors: more than float16 rounds away, too little to tell in recall


@dataclass(frozen=True, kw_only=True, slots=True)
class Sizes:
    """Up to how many rows an index compares all by their vectors, and up to how many all by their codes."""

    exact: int = 20_000
    flat: int = 2_000_000


SIZES = Sizes()


def scan_rows(question: Vectors, rows: Vectors, k: int) -> tuple[NDArray[np.float32], Ids]:
    """Scores and places of the best `k` of `rows`, best first. `question` has shape (1, dimension).

    Not numpy's product, which spreads over all cores and stumbles when they are busy.
    """
    _use_one_thread()
    scores, places = faiss.knn(question, rows, min(k, len(rows)), metric=faiss.METRIC_INNER_PRODUCT)
    return scores[0], places[0]


def _widen(rows: Rows) -> Vectors:
    """Float32 rows; faiss takes two thirds of numpy's time for it."""
    half = faiss.ScalarQuantizer(rows.shape[1], faiss.ScalarQuantizer.QT_fp16)
    wide: Vectors = half.decode(rows.view(np.uint8))
    return wide


def _use_one_thread() -> None:
    faiss.omp_set_num_threads(1)  # holds for the calling thread alone, so it is said each time and not once at start


@dataclass(frozen=True, kw_only=True, slots=True)
class SealedDense:
    """A finished faiss index and, row by row, the chunk ids, ascending. `vectors` are the rows themselves, where the
    index holds only codes of them; None where it holds them whole."""

    index: Any
    ids: Ids
    vectors: Rows | None = None

    def search(self, question: Vectors, k: int) -> tuple[NDArray[np.float32], Ids]:
        """Scores and chunk ids of the best `k` rows, best first. `question` has shape (1, dimension)."""
        _use_one_thread()
        if self.vectors is None:
            scores, rows = self.index.search(question, min(k, len(self.ids)))
            found = rows[0] >= 0
            return scores[0][found], self.ids[rows[0][found]]
        wanted = max(FEWEST_CANDIDATES, CANDIDATES_A_ROW * k) * (2 if len(self.ids) > LARGE else 1)
        rows = np.sort(self._find_candidates(question, wanted))
        scores = np.einsum("ij,j->i", _widen(self.vectors[rows]), question[0])
        best = np.argsort(-scores, kind="stable")[:k]
        return scores[best], self.ids[rows[best]]

    def _find_candidates(self, question: Vectors, wanted: int) -> Ids:
        asked = min(wanted, len(self.ids))
        options: dict[str, Any] = {}
        if isinstance(self.index, faiss.IndexIVF):
            lists = math.ceil(self.index.nlist * CANDIDATES_A_ROW * asked / len(self.ids))
            options["params"] = faiss.SearchParametersIVF()
            options["params"].nprobe = min(self.index.nlist, max(self.index.nprobe, lists))
        _, rows = self.index.search(question, asked, **options)
        found: Ids = rows[0][rows[0] >= 0]
        return found

    def count_known(self, ids: Ids) -> NDArray[np.bool_]:
        """Which of `ids` are rows of this index."""
        if not len(self.ids):
            return np.zeros(len(ids), dtype=bool)
        at = np.minimum(np.searchsorted(self.ids, ids), len(self.ids) - 1)
        return np.asarray(self.ids[at] == ids, dtype=bool)


class DenseBuilder:
    """Builds a sealed index from batches in ascending chunk id. The rows go to a file as they come, so that a million
    of them takes no memory; `close` leaves the file where the index needs it, and removes it where not."""

    def __init__(self, dimension: int, spool: Path, sizes: Sizes = SIZES) -> None:
        self.dimension = dimension
        self.spool = spool
        self._sizes = sizes
        self._file = spool.open("wb")
        self._ids: list[int] = []

    def __len__(self) -> int:
        return len(self._ids)

    @property
    def keeps_vectors(self) -> bool:
        """Whether the index holds only codes, so that the rows' file belongs to it."""
        return len(self) > self._sizes.exact

    def add(self, ids: list[int], vectors: NDArray[Any]) -> None:
        """Raises ValueError for bad vectors and for ids that do not ascend."""
        if len(ids) != len(vectors):
            raise ValueError(f"{len(ids)} ids for {len(vectors)} vectors")
        came = np.asarray([*self._ids[-1:], *ids], dtype=np.int64)
        if (np.diff(came) <= 0).any():
            raise ValueError("chunk ids must ascend")
        self._file.write(check_vectors(vectors, self.dimension).astype("<f2").tobytes())
        self._ids.extend(ids)

    def dump_ids(self) -> bytes:
        """Chunk ids as little-endian int64."""
        return np.asarray(self._ids, dtype="<i8").tobytes()

    def finish(self) -> SealedDense:
        """The index over all rows added. Called once; what a full disk raises comes through."""
        self._file.close()
        rows = open_rows(self.spool, self.dimension)
        index = _build_index(rows, self.dimension, self._sizes)
        ids = np.asarray(self._ids, dtype=np.int64)
        return SealedDense(index=index, ids=ids, vectors=rows if self.keeps_vectors else None)

    def close(self) -> None:
        self._file.close()
        if not self.keeps_vectors:
            self.spool.unlink(missing_ok=True)


def write_index(sealed: SealedDense, write: Callable[[bytes], int]) -> None:
    """Hand the index to `write` piece by piece; what `write` raises comes through.

    faiss's own file writer reports success on a full disk, this way it cannot.
    """
    writer = faiss.PyCallbackIOWriter(write)  # type: ignore[attr-defined]  # made by SWIG, unknown to its stub
    faiss.write_index(sealed.index, writer)


# -- building -----------------------------------------------------------------------------------------------------


def _build_index(rows: Rows, dimension: int, sizes: Sizes) -> Any:  # noqa: ANN401  faiss's own
    _use_one_thread()
    index: Any
    if len(rows) <= sizes.exact:
        index = faiss.IndexScalarQuantizer(dimension, faiss.ScalarQuantizer.QT_fp16, faiss.METRIC_INNER_PRODUCT)
    elif len(rows) <= sizes.flat:
        index = faiss.IndexRaBitQFastScan(dimension, faiss.METRIC_INNER_PRODUCT)
        centre = _spread_rows(rows, TRAINING_ROWS).mean(axis=0, keepdims=True)
        index.train(centre + _make_offset(dimension))
    else:
        index = _train_lists(rows, dimension)
    for start in range(0, len(rows), BLOCK):
        index.add(rows[start : start + BLOCK].astype(np.float32))
    if isinstance(index, faiss.IndexIVF):
        index.nprobe = _measure_lists(SealedDense(index=index, ids=np.arange(len(rows)), vectors=rows), rows)
    return index


def _train_lists(rows: Rows, dimension: int) -> Any:  # noqa: ANN401  faiss's own
    """k-means on the cards where faiss has any; the codes themselves it makes on the processor alone."""
    lists = 2 ** round(math.log2(2 * math.sqrt(len(rows))))
    centres = faiss.IndexFlatIP(dimension)
    index = faiss.IndexIVFRaBitQFastScan(centres, dimension, lists, faiss.METRIC_INNER_PRODUCT)
    if faiss.get_num_gpus():  # without a card the line below answers with an empty index and no error
        index.clustering_index = faiss.index_cpu_to_all_gpus(faiss.IndexFlatIP(dimension))
    index.train(_spread_rows(rows, TRAINING_ROWS_A_LIST * lists))
    found = centres.reconstruct_n(0, lists)
    centres.reset()
    centres.add(found + _make_offset(dimension))
    return index


def _make_offset(dimension: int) -> Vectors:
    """What centres are moved by, shape (1, dimension): a row that lies on its centre has no code and is never found,
    as when one page is copied a hundred times."""
    return np.full((1, dimension), OFFSET / math.sqrt(dimension), dtype=np.float32)


def _spread_rows(rows: Rows, most: int) -> Vectors:
    return rows[:: max(1, math.ceil(len(rows) / most))].astype(np.float32)


def _measure_lists(sealed: SealedDense, rows: Rows) -> int:
    """How many lists must be visited for WANTED_RECALL on rows of the index taken as questions."""
    questions = _spread_rows(rows, TRIALS)
    truth = _find_nearest(questions, rows)
    visited, lists = 1, sealed.index.nlist
    while visited < lists:
        sealed.index.nprobe = visited
        found = [sealed.search(question[None], TRIAL_DEPTH)[1] for question in questions]
        right = sum(len(np.intersect1d(one, other)) for one, other in zip(found, truth, strict=True))
        if right >= WANTED_RECALL * truth.size:
            return visited
        visited *= 2
    return int(lists)


def _find_nearest(questions: Vectors, rows: Rows) -> Ids:
    """Places of the TRIAL_DEPTH best rows of each question, in no order."""
    scores = np.full((len(questions), TRIAL_DEPTH), -np.inf, dtype=np.float32)
    places = np.full((len(questions), TRIAL_DEPTH), -1, dtype=np.int64)
    for start in range(0, len(rows), BLOCK):
        block = questions @ rows[start : start + BLOCK].astype(np.float32).T
        scores = np.hstack([scores, block])
        places = np.hstack([places, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)])
        best = np.argpartition(-scores, TRIAL_DEPTH - 1, axis=1)[:, :TRIAL_DEPTH]
        scores, places = np.take_along_axis(scores, best, axis=1), np.take_along_axis(places, best, axis=1)
    return places


# -- reading ------------------------------------------------------------------------------------------------------


def open_rows(path: Path, dimension: int) -> Rows:
    """Float16 rows of a file, memory-mapped. Raises ValueError for a size that is no number of rows."""
    size = path.stat().st_size
    if size % (2 * dimension):
        raise ValueError(f"{path.name} has {size} bytes, no number of rows of {dimension}")
    if not size:
        return np.empty((0, dimension), dtype=np.float16)
    return np.asarray(np.memmap(path, dtype="<f2", mode="r")).reshape(
        -1, dimension
    )  # its own class costs 0.1 ms a look


def read_sealed(folder: Path, revision: int, dimension: int) -> SealedDense:
    """Open what a builder wrote, memory-mapped; the files' checksums have been verified before, faiss has none of its
    own.

    Raises ValueError when the files do not belong together or are of another dimension.
    """
    path = folder / f"{revision}.dense"
    try:
        index = faiss.read_index(str(path), faiss.IO_FLAG_MMAP_IFC)
    except RuntimeError as error:
        raise ValueError(f"{path.name} is not a faiss index") from error
    ids = np.frombuffer((folder / f"{revision}.ids").read_bytes(), dtype="<i8").astype(np.int64)
    if index.d != dimension or index.metric_type != faiss.METRIC_INNER_PRODUCT:
        raise ValueError(f"{path.name} has dimension {index.d}, not {dimension}, or another metric")
    if index.ntotal != len(ids) or (np.diff(ids) <= 0).any():
        raise ValueError(f"{path.name} has {index.ntotal} rows for {len(ids)} ids")
    if isinstance(index, faiss.IndexScalarQuantizer):
        return SealedDense(index=index, ids=ids)
    vectors = open_rows(folder / f"{revision}.vectors", dimension)
    if len(vectors) != len(ids):
        raise ValueError(f"{revision}.vectors has {len(vectors)} rows for {len(ids)} ids")
    return SealedDense(index=index, ids=ids, vectors=vectors)
