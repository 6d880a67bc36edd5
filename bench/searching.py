"""Searches at 10,000 chunks: over HTTP, one at a time and by eight clients, and in this process."""

from __future__ import annotations

import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from figures import Figure, find_median, find_percentile
from server import Client

from api.bootstrap.services import build_services
from api.bootstrap.store import open_store
from kb.config import Settings
from kb.data_folder import DataFolder
from retrieval.search import SearchRequest

QUESTIONS = 300
CLIENTS = 8
WARM_UP = 20
TARGET_MS = 10.0


def measure_http(port: int, kb: str, questions: Sequence[str]) -> list[Figure]:
    path = f"/api/v1/knowledge-bases/{kb}/search"

    def search_all(asked: Sequence[str]) -> tuple[list[float], list[dict[str, float]]]:
        times, steps = [], []
        with Client(port) as client:
            for question in asked:
                began = time.perf_counter()
                answer = client.call("POST", path, {"query": question})
                times.append(1000 * (time.perf_counter() - began))
                steps.append(answer["timings_ms"])
                if not answer["passages"] or answer["degraded"]:
                    raise SystemExit(f"a search found nothing or was degraded: {answer['degraded']}")
        return times, steps

    search_all(questions[:WARM_UP])
    alone, steps = search_all(questions)
    began = time.perf_counter()
    with ThreadPoolExecutor(CLIENTS) as pool:
        shares = [questions[number::CLIENTS] for number in range(CLIENTS)]
        together = [spent for times, _ in pool.map(search_all, shares) for spent in times]
    rate = len(questions) / (time.perf_counter() - began)
    return [
        *list_times("search over HTTP, one at a time", alone),
        Figure(name="… of it the server's own count", value=find_median([step["total"] for step in steps]), unit="ms",
               note=describe_steps(steps)),
        Figure(name=f"search over HTTP, {CLIENTS} clients", value=rate, unit="requests/s",
               note=f"p50 {find_median(together):.1f} ms, p95 {find_percentile(together, 0.95):.1f} ms"),
    ]  # fmt: skip


def measure_in_process(data_dir: Path, kb: str, questions: Sequence[str]) -> list[Figure]:
    settings = Settings(data_dir=data_dir)
    folder = DataFolder(settings.data_dir)
    folder.hold()
    services = build_services(open_store(settings, folder, folder.open_database(settings)))
    try:
        base = services.store.catalog.knowledge_bases.get(kb)
        times, steps = [], []
        for number, question in enumerate([*questions[:WARM_UP], *questions]):
            request = SearchRequest(query=question, kb_id=base.id)
            began = time.perf_counter()
            result = services.searcher.search(request)
            if number >= WARM_UP:
                times.append(1000 * (time.perf_counter() - began))
                steps.append(result.timings_ms)
    finally:
        services.close()
        folder.release()
    first, second = list_times("search in process", times)
    return [first, second, Figure(name="… of it behind getting the state",
                                  value=find_median([step["total"] for step in steps]), unit="ms",
                                  note=describe_steps(steps))]  # fmt: skip


def list_times(name: str, times: Sequence[float]) -> list[Figure]:
    return [
        Figure(name=f"{name}, p50", value=find_median(times), unit="ms", at_most=TARGET_MS,
               note=f"{len(times)} questions"),
        Figure(name=f"{name}, p95", value=find_percentile(times, 0.95), unit="ms"),
    ]  # fmt: skip


def describe_steps(steps: Sequence[dict[str, float]]) -> str:
    names = [name for name in steps[0] if name not in ("total", "rerank")]
    return "medians: " + ", ".join(f"{name} {find_median([step[name] for step in steps]):.2f}" for name in names)
