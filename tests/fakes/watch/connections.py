"""The judge over connections and look-ups of one process: tests/fakes/network.py says who is judged, and for what."""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from .ledger import FolderLedger, MemoryLedger, Offence
from .programs import STARTS, find_gap
from .untold import hear_of_ports, hear_of_uvloop

NOBODY = {1, 9}  # loopback ports at which tests look for nobody, and find nobody
LOCAL_NAMES = {"", "localhost", "0.0.0.0", "::", None}
ASKING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOKING_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}
INTERNET = {socket.AF_INET, socket.AF_INET6}
MOST_SHOWN = 120  # characters of a child's command


class NetworkForbidden(PermissionError):
    """A test asked for an address that it did not declare."""


class NetworkWatch:
    """`connects` counts what was let through beside sockets of the file system."""

    def __init__(self, ledger: MemoryLedger | FolderLedger | None = None, folder: str | None = None) -> None:
        """`folder` is what the children of this process must have in their PYTHONPATH; without it nobody minds."""
        self.connects = 0
        self.ledger = MemoryLedger() if ledger is None else ledger
        self.folder = folder
        self._pid = os.getpid()
        self._ports = set(NOBODY)
        self._expected: list[list[str]] = []
        self._has_uvloop = False

    def install(self) -> None:
        """For the rest of the process: an audit hook cannot be taken away."""
        hear_of_ports(self)
        sys.addaudithook(self.see)

    def see(self, event: str, args: tuple) -> None:
        if event in STARTS:
            gap = find_gap(self.folder, event, args) if self.folder else None
            if gap:
                self._refuse(gap)
        if not event.startswith("socket."):
            return
        if not self._has_uvloop:
            self._look_for_uvloop()
        if event in ASKING:
            self._judge_address(*args)
        elif event in LOOKING_UP:
            self._judge_name(args[0][0] if event == "socket.getnameinfo" else args[0])

    def declare_port(self, port: int) -> None:
        """A child process listens there, or nobody does and that is what is tested."""
        if port not in self._ports:
            self._ports.add(port)
            self.ledger.add_port(port)

    def judge(self, host: str, port: int) -> None:
        """Raises NetworkForbidden."""
        if not (is_local(host) and self._is_declared(port)):
            self._refuse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self.connects += 1

    def note_bound(self, bound: socket.socket) -> None:
        if bound.family in INTERNET:
            self.declare_port(bound.getsockname()[1])

    @contextmanager
    def expect(self) -> Iterator[list[str]]:
        """What is refused inside is no offence but stands in the list: `192.0.2.1:80` of a connection, a name of a
        look-up."""
        found: list[str] = []
        self._expected.append(found)
        try:
            yield found
        finally:
            self._expected.remove(found)

    def tell_where(self) -> tuple[str, bool]:
        """For an offence: the command, and that this is a child."""
        return " ".join(sys.orig_argv)[:MOST_SHOWN], True

    def _is_declared(self, port: int) -> bool:
        return port in self._ports or self.ledger.has_port(port)

    def _look_for_uvloop(self) -> None:
        loops = getattr(sys.modules.get("uvloop"), "Loop", None)
        if loops is not None:
            self._has_uvloop = True
            hear_of_uvloop(self, loops)

    def _judge_address(self, asking: socket.socket, address: object) -> None:
        if asking.family in INTERNET and address is not None:
            self.judge(*address[:2])  # type: ignore[index]

    def _judge_name(self, host: str | bytes | None) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name in LOCAL_NAMES:
            return
        if not is_address(str(name)):  # nobody is asked about what is an address already
            self._refuse(str(name))

    def _refuse(self, what: str) -> None:
        if self._expected and os.getpid() == self._pid:  # a fork's list is read by nobody
            self._expected[-1].append(what)
        else:
            where, in_child = self.tell_where()
            self.ledger.add_offence(Offence(what=what, where=where, in_child=in_child))
        raise NetworkForbidden(f"no test declared {what}: tests/fakes/network.py")


def is_address(name: str) -> bool:
    try:
        return bool(socket.inet_pton(socket.AF_INET6, name) if ":" in name else socket.inet_aton(name))
    except OSError:
        return False


def is_local(host: str) -> bool:
    if host in LOCAL_NAMES:
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
