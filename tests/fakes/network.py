"""No test speaks to anybody it did not bring along.

An audit hook sees every connection and every look-up of this process, whichever library makes it, and lets through:
sockets of the file system, loopback ports that a process of the session bound itself, and those that a fake declared
(`declare_port`, `take_port`). Everything else is refused before a packet leaves, and the test that it happened in fails
with the address. `tests/conftest.py` installs it for the whole session.

Every Python that a test starts installs the same hook, and so does every Python that this one starts: `kb serve`, its
workers, their parse children. They find it in PYTHONPATH, in a folder of the session that also holds what the processes
tell each other. What a child is refused fails the test at whose end it is found. A program that is started without that
folder in its environment, or a Python with -E, -I or -S, is refused like an address.

Not seen: programs that are no Python (git, LibreOffice), and libraries that open sockets in C or Rust by themselves
(libpq, gloo and ZeroMQ in a vLLM). uvloop, which does so as well, is made to tell (`watch/untold.py`).
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fakes.watch.connections import NOBODY, NetworkForbidden, NetworkWatch, is_address, is_local
from fakes.watch.ledger import FolderLedger, Offence
from fakes.watch.programs import UNWATCHED

__all__ = [
    "NOBODY", "UNWATCHED", "WATCH", "NetworkForbidden", "NetworkWatch",
    "declare_port", "is_address", "is_local", "take_port",
]  # fmt: skip

OUTSIDE = "outside of any test"
PARTS = Path(__file__).with_name("watch")


class SessionWatch(NetworkWatch):
    """Of the process that runs the tests. Until `install` it is of no session, and sees nothing."""

    def __init__(self) -> None:
        super().__init__()
        self._kept: list[Offence] = []

    def install(self) -> None:
        self.folder = tempfile.mkdtemp(prefix="kb-network-watch-")
        self.ledger = FolderLedger(self.folder)
        self.ledger.create()
        Path(self.folder, "sitecustomize.py").symlink_to(PARTS / "sitecustomize.py")
        Path(self.folder, "network_watch").symlink_to(PARTS)
        sys.path.insert(0, self.folder)  # what is started with this process's import path
        os.environ["PYTHONPATH"] = self.add_to_path(os.environ.get("PYTHONPATH"))
        os.environ.pop(UNWATCHED, None)
        super().install()

    def uninstall(self) -> None:
        """The hook stays; children that are still there have nobody to tell."""
        shutil.rmtree(self.folder or "", ignore_errors=True)

    def add_to_path(self, *paths: str | Path | None) -> str:
        """A PYTHONPATH with these for a child that is to be watched."""
        return os.pathsep.join(str(path) for path in (self.folder, *paths) if path)

    def take_offences(self, test: str = OUTSIDE) -> list[str]:
        """Those since the last call, which was before this test."""
        taken, self._kept = [*self._kept, *self.ledger.take_offences()], []
        return [f"{one.what} ({one.where}{f', found after {test}' if one.in_child else ''})" for one in taken]

    @contextmanager
    def expect(self) -> Iterator[list[str]]:
        """What children are refused inside stands in the list when it is left."""
        self._kept += self.ledger.take_offences()
        with super().expect() as found:
            try:
                yield found
            finally:
                found += [one.what for one in self.ledger.take_offences()]

    def tell_where(self) -> tuple[str, bool]:
        if os.getpid() != self._pid:  # a fork
            return super().tell_where()
        return os.environ.get("PYTEST_CURRENT_TEST", OUTSIDE).partition(" (")[0], False


WATCH = SessionWatch()


def declare_port(port: int) -> int:
    WATCH.declare_port(port)
    return port


def take_port() -> int:
    """A free port for a child process, declared."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return declare_port(free.getsockname()[1])
