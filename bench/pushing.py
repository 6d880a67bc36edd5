"""A folder of a thousand documents, from the command line to searchable."""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path

from figures import Figure
from server import Client, Server

DOCUMENTS = 1000
CHARACTERS = 600


def write_folder(folder: Path, documents: Sequence[str]) -> None:
    folder.mkdir()
    for number, text in enumerate(documents):
        (folder / f"{number:05}.txt").write_text(text, encoding="utf-8")


def measure_push(server: Server, kb: str, folder: Path) -> list[Figure]:
    """`kb push` until its last document is ready. Uploading and indexing overlap, so their times do not add up."""
    began, clock = time.time(), time.perf_counter()
    report = server.run_command("push", str(folder), "--kb", kb)
    total = time.perf_counter() - clock
    with Client(server.port) as client:
        jobs = [client.call("GET", f"/api/v1/jobs/{job}") for job in report["jobs"]]
    taken = max(read_time(job["created_at"]) for job in jobs) - began
    busy = sum(read_time(job["finished_at"]) - read_time(job["started_at"]) for job in jobs)
    ended = max(read_time(job["finished_at"]) for job in jobs) - began
    count = report["added"]
    return [
        Figure(name=f"`kb push` of {count:,} documents of {CHARACTERS} characters", value=total, unit="s", at_most=30,
               note=f"{count / total:.0f} documents/s"),
        Figure(name="… until the last upload was accepted", value=taken, unit="s",
               note=f"{len(jobs)} requests, the command's own start included"),
        Figure(name="… until the last was searchable", value=ended, unit="s", note="the rest is the command noticing"),
        Figure(name="… the worker's time on it", value=busy, unit="s", note=f"{1000 * busy / count:.1f} ms a document"),
    ]  # fmt: skip


def read_time(stamp: str) -> float:
    return datetime.fromisoformat(stamp).timestamp()
