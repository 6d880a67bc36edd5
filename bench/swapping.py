"""Searches while everything is split and embedded anew beside them and swapped in: how long does anyone wait?"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from threading import Event, Thread

from figures import Figure, find_median, find_percentile
from server import Client, Server

CHUNK_TOKENS = 64  # another size than the store was made with, so that there is work to do
ASKED = 300  # questions before and after
LOOK_SECONDS = 0.2
AROUND_SECONDS = 2.0  # before and after the moment of the swap
TARGET_MS = 50.0


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One search: when it was sent and answered (seconds), and by which revision."""

    sent: float
    answered: float
    revision: int

    @property
    def ms(self) -> float:
        return 1000 * (self.answered - self.sent)


def measure_swap(data_dir: Path, kb: str, questions: Sequence[str]) -> list[Figure]:
    """A server over a store that is there; its knowledge base is re-indexed meanwhile."""
    with Server(data_dir) as server, Client(server.port) as client:
        ask(client, kb, questions, lambda count: count < ASKED)  # opens the index
        before = ask(client, kb, questions, lambda count: count < ASKED)
        job, during = reindex_meanwhile(server, client, kb, questions)
        after = ask(client, kb, questions, lambda count: count < ASKED)
    swapped = find_swap(during + after, job["result"]["revision"])
    around = [one for one in during + after if abs(one.answered - swapped) < AROUND_SECONDS]
    return [
        *list_times("before", before),
        *list_times("while it is re-indexed", during),
        *list_times("after", after),
        Figure(name=f"longest time without an answer within {AROUND_SECONDS:.0f} s of the swap", value=find_gap(around),
               unit="ms", at_most=TARGET_MS, note=f"{len(around)} searches; before it all {find_gap(before):.1f} ms"),
        Figure(name="the re-index itself", value=during[-1].answered - during[0].sent, unit="s",
               note=describe_job(job)),
    ]  # fmt: skip


def reindex_meanwhile(server: Server, client: Client, kb: str, questions: Sequence[str]) -> tuple[dict, list[Asked]]:
    """The job as it ended, and every search from its request until the new space has answered."""
    client.call("PATCH", f"/api/v1/knowledge-bases/{kb}", {"chunk_tokens": CHUNK_TOKENS})
    job_id = client.call("POST", f"/api/v1/knowledge-bases/{kb}/reindex", {"mode": "full"})["job_id"]
    ended: list[dict] = []
    done = Event()

    def follow() -> None:
        with Client(server.port) as other:
            while not ended:
                job = other.call("GET", f"/api/v1/jobs/{job_id}")
                if job["finished_at"]:
                    ended.append(job)
                time.sleep(LOOK_SECONDS)
            time.sleep(AROUND_SECONDS)
            done.set()

    follower = Thread(target=follow)
    follower.start()
    asked = ask(client, kb, questions, lambda _: not done.is_set())
    follower.join()
    if ended[0]["state"] != "succeeded":
        raise SystemExit(f"the re-index did not succeed: {ended[0]}")
    return ended[0], asked


def ask(client: Client, kb: str, questions: Sequence[str], goes_on: Callable[[int], bool]) -> list[Asked]:
    """One question after the other, each answered whole."""
    asked: list[Asked] = []
    while goes_on(len(asked)):
        sent = time.perf_counter()
        body = {"query": questions[len(asked) % len(questions)]}
        answer = client.call("POST", f"/api/v1/knowledge-bases/{kb}/search", body)
        if not answer["passages"] or answer["degraded"]:
            raise SystemExit(f"a search found nothing or was degraded: {answer['degraded']}")
        asked.append(Asked(sent=sent, answered=time.perf_counter(), revision=answer["revision"]))
    return asked


def find_swap(asked: Sequence[Asked], revision: int) -> float:
    """When the new space first answered."""
    return next(one.answered for one in asked if one.revision >= revision)


def find_gap(asked: Sequence[Asked]) -> float:
    """Milliseconds of the longest stretch from one answer to the next."""
    return max(1000 * (second.answered - first.answered) for first, second in pairwise(asked))


def list_times(when: str, asked: Sequence[Asked]) -> list[Figure]:
    times = [one.ms for one in asked]
    note = f"{len(times)} searches, p99 {find_percentile(times, 0.99):.1f} ms, longest {max(times):.1f} ms"
    return [Figure(name=f"search {when}, p50", value=find_median(times), unit="ms", note=note)]


def describe_job(job: dict) -> str:
    result = job["result"]
    return f"{result['chunks']:,} chunks: {result['embedded']:,} strings embedded, {result['reused']:,} reused"
