"""The worker processes of `kb serve`: spawned, watched, started again when they die, ended with the server.

A worker's standard input is a pipe from here. When this process ends, even by kill -9, the pipe closes and the worker
stops; so no orphan keeps working on a directory that nobody holds.
"""

from __future__ import annotations

import logging
import subprocess
import sys
import time
from threading import Event, Thread

WORKER_COMMAND = (sys.executable, "-m", "api.cli.main", "worker", "--supervised")
CHECK_SECONDS = 0.2
LONGEST_PAUSE = 30.0
PATIENCE_SECONDS = 30.0  # for a worker to give its job back before it is killed

log = logging.getLogger(__name__)


class _Place:
    """One worker's place: who is in it, and when it may be filled again."""

    def __init__(self) -> None:
        self.process: subprocess.Popen[bytes] | None = None
        self.started = 0.0
        self.deaths = 0
        self.not_before = 0.0


class Supervisor:
    def __init__(self, count: int) -> None:
        self._places = [_Place() for _ in range(count)]
        self._stop = Event()
        self._thread = Thread(target=self._watch, name="supervisor", daemon=True)

    def start(self) -> None:
        for place in self._places:
            _fill(place)
        self._thread.start()

    def stop(self) -> None:
        """Let every worker give its job back and end; kill those that do not within PATIENCE_SECONDS."""
        self._stop.set()
        self._thread.join()
        deadline = time.monotonic() + PATIENCE_SECONDS
        for place in self._places:
            if place.process is not None and place.process.stdin is not None:
                place.process.stdin.close()
        for place in self._places:
            _end(place.process, max(0.1, deadline - time.monotonic()))

    def _watch(self) -> None:
        while not self._stop.wait(CHECK_SECONDS):
            for place in self._places:
                _look_after(place)


def _look_after(place: _Place) -> None:
    if place.process is None:
        if time.monotonic() >= place.not_before:
            _fill(place)
        return
    code = place.process.poll()
    if code is None:
        return
    lived = time.monotonic() - place.started
    place.deaths = 0 if lived > LONGEST_PAUSE else place.deaths + 1
    pause = min(LONGEST_PAUSE, 0.1 * 2.0**place.deaths)
    log.error("worker.died pid=%d code=%d lived_s=%.1f next_in_s=%.1f", place.process.pid, code, lived, pause)
    if place.process.stdin is not None:
        place.process.stdin.close()
    place.process = None
    place.not_before = time.monotonic() + pause


def _fill(place: _Place) -> None:
    place.process = subprocess.Popen(WORKER_COMMAND, stdin=subprocess.PIPE)  # noqa: S603  # a constant command of ours
    place.started = time.monotonic()


def _end(process: subprocess.Popen[bytes] | None, seconds: float) -> None:
    if process is None:
        return
    try:
        process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
