"""How far a command is: bars on a terminal, short lines elsewhere, always on stderr. Safe to advance from threads."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Protocol

import click

Format = Callable[[float], str]
STEPS = 10  # lines a stage at most, beside the last


class Stage(Protocol):
    """One thing that is counted from 0 to its total."""

    def advance(self, count: float) -> None:
        """Add to what is done; a negative count takes back what must be done again."""
        ...

    def resize(self, total: float) -> None:
        """There is more to do, or less, than it seemed."""
        ...


class Bar:
    """A stage as a bar of rich."""

    def __init__(self, move: Callable[[float, float | None], None]) -> None:
        self._move = move

    def advance(self, count: float) -> None:
        self._move(count, None)

    def resize(self, total: float) -> None:
        self._move(0, total)


class Lines:
    """A stage as lines, one for every tenth that is done."""

    def __init__(self, name: str, total: float, show: Format) -> None:
        self._name = name
        self._total = total
        self._show = show
        self._done = 0.0
        self._said = 0
        self._lock = threading.Lock()

    def advance(self, count: float) -> None:
        with self._lock:
            self._done += count
            step = int(STEPS * self._done / self._total) if self._total else 0
            if step > self._said:
                self._said = step
                click.echo(f"{self._name}: {self._show(self._done)} of {self._show(self._total)}", err=True)

    def resize(self, total: float) -> None:
        with self._lock:
            self._total = total


@contextmanager
def show_stage(name: str, total: float, show: Format = "{:.0f}".format) -> Iterator[Stage]:
    """Show one stage for as long as the block runs."""
    if not sys.stderr.isatty():
        yield Lines(name, total, show)
        return
    with _show_bar(name, total, show) as bar:
        yield bar


@contextmanager
def _show_bar(name: str, total: float, show: Format) -> Iterator[Stage]:
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[counted]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task = progress.add_task(name, total=total, counted="")
        lock = threading.Lock()
        done = 0.0

        def move(count: float, wanted: float | None) -> None:
            nonlocal done, total
            with lock:
                done, total = done + count, total if wanted is None else wanted
                progress.update(task, completed=done, total=total, counted=f"{show(done)} of {show(total)}")

        yield Bar(move)
