"""How long a start takes, what it loads, and what the processes hold when idle."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, describe_spread, find_median
from server import Client, Server

STARTS = 5
SETTLE_SECONDS = 3.0  # until the worker has started too
HEAVY = ("torch", "transformers", "sentence_transformers", "faiss", "langchain_core", "llama_index")
PROBE = """
import json, sys, time
began = time.perf_counter()
import {module}
spent = time.perf_counter() - began
pages = int(open("/proc/self/statm").read().split()[1])
print(json.dumps({{"ms": 1000 * spent, "mb": pages * 4096 / 1e6, "heavy": [n for n in {heavy} if n in sys.modules]}}))
"""


def measure_starts() -> list[Figure]:
    first: list[Server] = []
    again: list[Server] = []
    for _ in range(STARTS):
        with TemporaryDirectory() as folder:
            for starts in (first, again):
                with Server(Path(folder)) as server:
                    starts.append(server)
    return [
        describe_starts("`kb serve` → ready, new directory", first),
        describe_starts("`kb serve` → ready, empty store", again),
    ]


def describe_starts(name: str, starts: Sequence[Server]) -> Figure:
    times = [server.ready_s for server in starts]
    processor = find_median([server.start_cpu_s for server in starts])
    note = f"{describe_spread(times, 's')}; {processor:.2f} s of processor time"
    return Figure(name=name, value=find_median(times), unit="s", at_most=2, note=note)


def measure_starts_with(data_dir: Path, kb: str, question: str) -> list[Figure]:
    """Starts on a store that holds documents, and the first search, which opens the index."""
    starts: list[Server] = []
    searches: list[float] = []
    for _ in range(STARTS):
        with Server(data_dir) as server, Client(server.port) as client:
            starts.append(server)
            began = time.perf_counter()
            client.call("POST", f"/api/v1/knowledge-bases/{kb}/search", {"query": question})
            searches.append(1000 * (time.perf_counter() - began))
    return [
        describe_starts("`kb serve` → ready, 10,000 chunks", starts),
        Figure(name="first search after it, which opens the index", value=find_median(searches), unit="ms",
               note=describe_spread(searches, "ms")),
    ]  # fmt: skip


def measure_idle_memory() -> list[Figure]:
    with TemporaryDirectory() as folder, Server(Path(folder)) as server:
        time.sleep(SETTLE_SECONDS)
        return list_memory(server, "idle after start")


def list_memory(server: Server, when: str) -> list[Figure]:
    targets = {"server": 200.0}
    return [
        Figure(name=f"{part} RSS, {when}", value=memory.rss, unit="MB", at_most=targets.get(part),
               note=f"PSS {memory.pss:.0f} MB")
        for part, memory in server.measure_parts().items()
    ]  # fmt: skip


def measure_imports() -> list[Figure]:
    figures = []
    for module in ("api.cli.main", "api.cli.push", "api.cli.worker", "api.app"):
        runs = [run_probe(module) for _ in range(3)]
        heavy = ", ".join(runs[0]["heavy"]) or "none"
        figures.append(
            Figure(name=f"`import {module}`", value=find_median([run["ms"] for run in runs]), unit="ms",
                   note=f"{runs[0]['mb']:.0f} MB resident; heavy libraries loaded: {heavy}")
        )  # fmt: skip
    return figures


def run_probe(module: str) -> dict:
    code = PROBE.format(module=module, heavy=HEAVY)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True).stdout
    probe: dict = json.loads(out)
    return probe
