"""One small document in a store of 10,000 chunks: how soon it is found, replaced, gone."""

from __future__ import annotations

import time
import uuid

from figures import Figure, find_median, find_percentile
from server import Client

ROUNDS = 15
LOOK_SECONDS = 0.003
PATIENCE_SECONDS = 30.0


def measure_changes(port: int, kb: str) -> list[Figure]:
    with Client(port) as client:
        rounds = [change_one(client, kb, number) for number in range(ROUNDS)]
    names = (
        "upload of a small document → it is found",
        "upload of its new version → that is found",
        "deleting it (gone when the call returns)",
    )
    return [
        Figure(name=name, value=find_median(times), unit="ms",
               note=f"median of {len(times)}, p95 {find_percentile(times, 0.95):.0f} ms")
        for name, times in zip(names, zip(*rounds, strict=True), strict=True)
    ]  # fmt: skip


def change_one(client: Client, kb: str, number: int) -> tuple[float, float, float]:
    """Milliseconds to add, to replace and to delete one document."""
    path, times = f"bench/note-{number}.txt", []
    for _ in range(2):
        word = uuid.uuid4().hex
        began = time.perf_counter()
        answer = client.upload(kb, [(path, f"今日备忘：代号 {word} 的设备已经验收。".encode())])
        wait_until_found(client, kb, word)
        times.append(1000 * (time.perf_counter() - began))
    began = time.perf_counter()
    client.call("DELETE", f"/api/v1/knowledge-bases/{kb}/documents/{answer['documents'][0]['id']}")
    spent = 1000 * (time.perf_counter() - began)
    if is_found(client, kb, word):
        raise SystemExit("a deleted document was found")
    return times[0], times[1], spent


def is_found(client: Client, kb: str, word: str) -> bool:
    answer = client.call("POST", f"/api/v1/knowledge-bases/{kb}/search", {"query": word, "top_k": 3})
    return any(word in passage["text"] for passage in answer["passages"])


def wait_until_found(client: Client, kb: str, word: str) -> None:
    deadline = time.perf_counter() + PATIENCE_SECONDS
    while not is_found(client, kb, word):
        if time.perf_counter() > deadline:
            raise SystemExit(f"an uploaded document was not found within {PATIENCE_SECONDS:.0f} s")
        time.sleep(LOOK_SECONDS)
