"""`make bench-retrieval`: searches among 100,000 chunks beside other libraries over the same vectors and texts, and,
with --million, what a million costs: searches, memory, start, one document more, a thousand fewer.

Embedding a question is not counted: the vectors are given, and to all alike.
"""

from __future__ import annotations

import argparse
import gc
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bulk_store import DIMENSION, NAME, Bulk, Rows, fill_store, make_questions
from figures import Figure, find_median, find_percentile, print_group
from machine import describe_load, describe_machine, measure_memory_here
from million import measure_memory_a_chunk, measure_server
from recall import DEPTH, LEAST_RECALL, find_exact, measure_real
from searching import describe_steps
from vector_rivals import RIVALS, Rival

from api.bootstrap.store import Store, open_store
from kb.config import Settings
from kb.data_folder import DataFolder
from retrieval.sealing import seal_generation
from retrieval.search import Searcher, SearchRequest
from retrieval.state import IndexShelf

QUESTIONS = 300
WARM_UP = 20
LIMIT_MS = {100_000: 5.0, 1_000_000: 25.0}


@dataclass(frozen=True, kw_only=True, slots=True)
class GivenVectors:
    """An encoder that looks a question's vector up; of a model that knows meaning, so that both legs count."""

    vectors: dict[str, Rows]
    name: str = "builtin"
    fingerprint: str = "given"
    dimension: int = DIMENSION
    max_tokens: int = 512
    lexical_leads: bool = False

    def get_encoder(self, _name: str) -> GivenVectors:
        return self

    def embed_question(self, question: str) -> Rows:
        return self.vectors[question][None]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--chunks", type=int, default=100_000, help="beside other libraries (100000)")
    parser.add_argument(
        "--million", action="store_true", help="also 1,000,000 chunks, ours alone: 10 GB of disk, 20 min"
    )
    options = parser.parse_args()
    print(describe_machine() + "\n\n" + describe_load() + " before")
    with open_bulk(options.chunks) as (data_dir, store, bulk):
        print_group(f"{options.chunks:,} chunks × {DIMENSION}", measure_ours(store, bulk))
        print_group("Beside others, the same vectors and texts", measure_rivals(store, bulk))
    real = measure_real()
    if isinstance(real, str):
        print(f"\nReal vectors left out: {real}")
    else:
        print_group("Vectors of a real model (all-MiniLM-L6)", real)
    if options.million:
        with open_bulk(1_000_000) as (data_dir, store, bulk):
            print_group("1,000,000 chunks", measure_ours(store, bulk))
            print_group("Memory of the dense index", measure_memory_a_chunk(store, bulk))
            ids = bulk.document_ids
            del bulk
            gc.collect()
            print_group("Over HTTP", measure_server(data_dir, ids))
    print("\n" + describe_load() + " after")


@contextmanager
def open_bulk(count: int) -> Iterator[tuple[Path, Store, Bulk]]:
    with TemporaryDirectory() as name:
        data_dir = Path(name) / "store"
        settings = Settings(data_dir=data_dir)
        folder = DataFolder(data_dir)
        folder.hold()
        store = open_store(settings, folder, folder.open_database(settings))
        began = time.perf_counter()
        bulk = fill_store(store, NAME, count)
        filled = time.perf_counter()
        seal_generation(store.catalog.feed, bulk.kb_id, store.folder.indexes)
        sealed = time.perf_counter()
        print(f"\n{count:,} chunks written in {filled - began:.0f} s, sealed in {sealed - filled:.0f} s", flush=True)
        folder.release()
        try:
            yield data_dir, store, bulk
        finally:
            store.close()


# -- searches -----------------------------------------------------------------------------------------------------


def measure_ours(store: Store, bulk: Bulk) -> list[Figure]:
    texts, vectors = make_questions(bulk, QUESTIONS)
    shelf = IndexShelf(store.catalog.feed, store.folder.indexes)
    encoder = GivenVectors(vectors=dict(zip(texts, vectors, strict=True)))
    searcher = Searcher(shelf, store.catalog.feed, store.texts, encoder)  # type: ignore[arg-type]
    began = time.perf_counter()
    dense = shelf.get_state(bulk.kb_id).dense
    opened = time.perf_counter() - began
    times, steps = [], []
    for number, text in enumerate([*texts[:WARM_UP], *texts]):
        began = time.perf_counter()
        result = searcher.search(SearchRequest(query=text, kb_id=bulk.kb_id))
        if number >= WARM_UP:
            times.append(1000 * (time.perf_counter() - began))
            steps.append(result.timings_ms)
    truth = find_exact(vectors, bulk.vectors)
    found = [{match.chunk_id - 1 for match in dense.search(vector[None], 50)[:DEPTH]} for vector in vectors]
    recall = sum(len(one & set(other)) for one, other in zip(found, truth.tolist(), strict=True)) / truth.size
    shelf.close()
    return [
        Figure(name="search (hybrid, merged), p50", value=find_median(times), unit="ms",
               at_most=LIMIT_MS.get(len(bulk.texts)), note=f"{len(times)} questions; {describe_steps(steps)}"),
        Figure(name="… p95", value=find_percentile(times, 0.95), unit="ms"),
        Figure(name=f"recall@{DEPTH} of the dense leg", value=recall, unit="", at_least=LEAST_RECALL,
               note="against brute force"),
        Figure(name="opening the sealed generation", value=opened, unit="s", note="with its checksums"),
    ]  # fmt: skip


def measure_rivals(store: Store, bulk: Bulk) -> list[Figure]:
    """Ours, hybrid and dense alone, timed turn about with each rival, so that other work on the machine meets both."""
    texts, vectors = make_questions(bulk, QUESTIONS)
    truth = [set(row) for row in find_exact(vectors, bulk.vectors).tolist()]
    shelf = IndexShelf(store.catalog.feed, store.folder.indexes)
    encoder = GivenVectors(vectors=dict(zip(texts, vectors, strict=True)))
    searcher = Searcher(shelf, store.catalog.feed, store.texts, encoder)  # type: ignore[arg-type]
    figures = []
    for rival in RIVALS:
        if not rival.is_installed:
            print(f"{rival.name} is not installed; left out")
            continue
        figures.append(compare(rival, bulk, searcher, (texts, vectors, truth)))
        gc.collect()
    shelf.close()
    return figures


def compare(rival: Rival, bulk: Bulk, searcher: Searcher, asked: tuple[list[str], Rows, list[set[int]]]) -> Figure:
    """One rival on the first of the questions, each asked of ours (hybrid, then dense alone) and of it in turn."""
    before, began = measure_memory_here(), time.perf_counter()
    find = rival.make(bulk.texts, bulk.vectors.astype(np.float32))
    built, grown = time.perf_counter() - began, measure_memory_here() - before
    ours, alone, theirs, right = [], [], [], 0
    for text, vector, truth in list(zip(*asked, strict=True))[: rival.questions]:
        ours.append(time_search(searcher, SearchRequest(query=text, kb_id=bulk.kb_id)))
        alone.append(time_search(searcher, SearchRequest(query=text, kb_id=bulk.kb_id, mode="dense")))
        began = time.perf_counter()
        found = find(vector, DEPTH)
        theirs.append(1000 * (time.perf_counter() - began))
        right += len(truth & set(found))
    ratio = find_median([other / mine for other, mine in zip(theirs, ours, strict=True)])
    note = (
        f"{find_median(theirs):.1f} ms beside {find_median(ours):.2f} (dense alone {find_median(alone):.2f}); "
        f"recall@{DEPTH} {right / DEPTH / rival.questions:.3f}; built in {built:.0f} s, {grown:.0f} MB more"
    )
    return Figure(name=rival.name, value=ratio, unit="× our time", at_least=rival.at_least, note=note)


def time_search(searcher: Searcher, request: SearchRequest) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    searcher.search(request)
    return 1000 * (time.perf_counter() - began)


if __name__ == "__main__":
    main()
