"""What the processes of one test session tell each other: the ports they bound or declared, and what was refused."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Offence:
    """`what` was asked for: `192.0.2.1:80`, or the name of a look-up. `where` is a test, or the command of a child."""

    what: str
    where: str
    in_child: bool


class MemoryLedger:
    """Of one process alone."""

    def __init__(self) -> None:
        self._ports: set[int] = set()
        self._offences: list[Offence] = []

    def add_port(self, port: int) -> None:
        self._ports.add(port)

    def has_port(self, port: int) -> bool:
        return port in self._ports

    def add_offence(self, offence: Offence) -> None:
        self._offences.append(offence)

    def take_offences(self) -> list[Offence]:
        """Those since the last call, of all processes."""
        taken, self._offences = self._offences, []
        return taken


class FolderLedger:
    """Of all processes that were given the folder. Once it is gone, so is the session: nobody reads any more.

    A port is an empty file with that name, an offence a symbolic link whose target is its text: each is there whole or
    not at all, and a process that may write no file, as the parse child, can make them.
    """

    def __init__(self, folder: str) -> None:
        self._ports = f"{folder}/ports"
        self._offences = f"{folder}/offences"

    def create(self) -> None:
        for folder in (self._ports, self._offences):
            os.mkdir(folder)  # noqa: PTH102 - pathlib is more than each start of a Python should pay for

    def add_port(self, port: int) -> None:
        with suppress(OSError):
            os.close(os.open(f"{self._ports}/{port}", os.O_CREAT | os.O_CLOEXEC, 0o600))

    def has_port(self, port: int) -> bool:
        return os.access(f"{self._ports}/{port}", os.F_OK)

    def add_offence(self, offence: Offence) -> None:
        parts = (offence.what, "child" if offence.in_child else "", offence.where)
        with suppress(OSError):
            text = "\t".join(" ".join(part.split()) for part in parts)
            os.symlink(text, f"{self._offences}/{time.time_ns():020d}-{os.getpid()}")  # noqa: PTH211

    def take_offences(self) -> list[Offence]:
        """Those since the last call, of all processes."""
        with suppress(FileNotFoundError):
            return [self._take_offence(f"{self._offences}/{name}") for name in sorted(os.listdir(self._offences))]  # noqa: PTH208
        return []

    def _take_offence(self, path: str) -> Offence:
        what, in_child, where = os.readlink(path).split("\t")  # noqa: PTH115
        os.unlink(path)  # noqa: PTH108
        return Offence(what=what, where=where, in_child=bool(in_child))
