"""Searches that go on and on beside what a test does."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Event
from time import monotonic
from typing import Generic, TypeVar

from fakes.http_client import Client

SEARCHERS = 2
PAUSE_S = 0.01  # between two searches of a thread, so that the worker gets its share of a small machine

Found = TypeVar("Found")


@dataclass(frozen=True, kw_only=True)
class Look(Generic[Found]):
    """One search: when it was sent, when its answer was there, and what was found."""

    sent: float
    answered: float
    found: frozenset[Found]


@contextmanager
def searching(
    open_client: Callable[[], Client], read: Callable[[Client], frozenset[Found]]
) -> Iterator[list[Look[Found]]]:
    """Threads that search on and on, each with a client of its own; their looks, whole once the block is left."""
    looks: list[Look[Found]] = []
    stop = Event()

    def search_on() -> None:
        client = open_client()
        while not stop.wait(PAUSE_S):
            sent = monotonic()
            found = read(client)
            looks.append(Look(sent=sent, answered=monotonic(), found=found))

    with ThreadPoolExecutor(SEARCHERS) as threads:
        running = [threads.submit(search_on) for _ in range(SEARCHERS)]
        try:
            yield looks
        finally:
            stop.set()
    for thread in running:
        thread.result()
