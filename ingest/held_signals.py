"""Signals that are meant for a whole group of processes and must not reach a child in the middle of a file."""

from __future__ import annotations

import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

# What a terminal or a service manager sends to a whole group of processes at its end.
TO_THE_GROUP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


@contextmanager
def hold_back(signals: Sequence[signal.Signals]) -> Iterator[None]:
    """A process started within never sees these signals: it inherits the mask from its first instruction on.

    A parse child that Ctrl-C or a service manager ended would take an innocent document with it; it ends with its pipe.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signals)
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
