"""What a million chunks cost beside searches: memory, the start of a server, one document more, a thousand fewer."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from bulk_store import DIMENSION, NAME, Bulk
from figures import Figure, find_median
from machine import measure_memory_here
from server import Client, Server

from api.bootstrap.store import Store
from retrieval.generations import find_space_folder
from retrieval.sealed import read_sealed

MOST_BYTES_A_CHUNK = 1_300
MOST_READY_S = 3.0
UPLOADS = 11
DELETED = 1_000


def measure_memory_a_chunk(store: Store, bulk: Bulk) -> list[Figure]:
    head = store.catalog.feed.get_head(bulk.kb_id)
    folder = find_space_folder(store.folder.indexes, bulk.kb_id, head.space_id)
    command = [sys.executable, __file__, str(folder), str(head.revision)]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)
    note = "after 2,000 searches"
    return [
        Figure(name="resident a chunk, every page of it touched", value=told["touched"], unit="bytes",
               at_most=MOST_BYTES_A_CHUNK),
        Figure(name="resident a chunk", value=told["searched"], unit="bytes", note=note),
    ]  # fmt: skip


def measure_resident(folder: Path, revision: int) -> dict[str, float]:
    """Bytes a chunk that opening and searching the dense index adds to a process."""
    before = measure_memory_here()
    sealed = read_sealed(folder, revision, DIMENSION)
    source = np.random.default_rng(3)
    for _ in range(2_000):
        question = source.normal(size=(1, DIMENSION)).astype(np.float32)
        sealed.search(question / np.linalg.norm(question), 50)
    searched = measure_memory_here() - before
    if sealed.vectors is not None:
        for start in range(0, len(sealed.vectors), 10_000):
            sealed.vectors[start : start + 10_000].max()
    return {name: 1e6 * grown / len(sealed.ids)
            for name, grown in (("searched", searched), ("touched", measure_memory_here() - before))}  # fmt: skip


def measure_server(data_dir: Path, document_ids: Sequence[str]) -> list[Figure]:
    search = f"/api/v1/knowledge-bases/{NAME}/search"
    with Server(data_dir) as server, Client(server.port) as client:
        began = time.perf_counter()
        client.call("POST", search, {"query": "望远镜 telescope"})
        first = time.perf_counter() - began
        figures = [
            Figure(name="start of `kb serve` to the first answer", value=server.ready_s + first, unit="s",
                   at_most=MOST_READY_S, note=f"ready {server.ready_s:.2f} s, first search {first:.2f} s"),
        ]  # fmt: skip
        figures += measure_uploads(client, search)
        began = time.perf_counter()
        path = f"/api/v1/knowledge-bases/{NAME}/documents/delete"
        gone = client.call("POST", path, {"ids": list(document_ids[:DELETED])})["deleted"]
        spent = time.perf_counter() - began
        began = time.perf_counter()
        client.call("POST", search, {"query": "望远镜 telescope"})
        note = f"the next search {1000 * (time.perf_counter() - began):.0f} ms"
        figures.append(Figure(name=f"delete of {gone:,} documents", value=spent, unit="s", at_most=1.0, note=note))
    return figures


def measure_uploads(client: Client, search: str) -> list[Figure]:
    whole, after = [], []
    for number in range(UPLOADS):
        word = f"纳米{number:04}号 nanocode{number:04}"
        began = time.perf_counter()
        client.upload(NAME, [(f"new/{number}.txt", f"新文件，编号 {word}。".encode())])
        while True:
            asked = time.perf_counter()
            answer = client.call("POST", search, {"query": f"nanocode{number:04}", "top_k": 1, "mode": "lexical"})
            if any(f"nanocode{number:04}" in passage["text"] for passage in answer["passages"]):
                break
        whole.append(1000 * (time.perf_counter() - began))
        after.append(1000 * (time.perf_counter() - asked))
    return [
        Figure(name="upload of a document → it is found", value=find_median(whole), unit="ms",
               note=f"median of {UPLOADS}, the worker's part among it"),
        Figure(name="… of it the search that takes it into the index", value=find_median(after), unit="ms",
               at_most=100.0),
    ]  # fmt: skip


if __name__ == "__main__":
    print(json.dumps(measure_resident(Path(sys.argv[1]), int(sys.argv[2]))))
