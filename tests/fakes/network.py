"""No test speaks to anybody it did not bring along.

An audit hook sees every connection and every look-up of this process, whichever library makes it, and lets through:
sockets of the file system, loopback ports that the process bound itself, and those that a fake declared because a child
process listens there (`declare_port`, `take_port`). Everything else is refused before a packet leaves, and the test
that it happened in fails with the address. `tests/conftest.py` installs it for the whole session.

Child processes are not seen.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import sys
import weakref
from collections.abc import Iterator
from contextlib import contextmanager

NOBODY = {1, 9}  # loopback ports at which tests look for nobody, and find nobody
LOCAL_NAMES = {"", "localhost", "0.0.0.0", "::", None}
ASKING = {"socket.connect", "socket.sendto", "socket.sendmsg"}
LOOKING_UP = {"socket.getaddrinfo", "socket.gethostbyname", "socket.gethostbyaddr", "socket.getnameinfo"}


class NetworkForbidden(PermissionError):
    """A test asked for an address that it did not declare."""


class NetworkWatch:
    """`connects` counts what was let through beside sockets of the file system, `offences` lists what was not."""

    def __init__(self) -> None:
        self.connects = 0
        self.offences: list[str] = []
        self._ports = set(NOBODY)
        self._bound: list[weakref.ref[socket.socket]] = []  # to a port that the system chose, not known yet
        self._expected: list[list[str]] = []

    def install(self) -> None:
        """For the rest of the process: an audit hook cannot be taken away."""
        sys.addaudithook(self.see)

    def see(self, event: str, args: tuple) -> None:
        if self._bound:
            self._note_chosen_ports()
        if not event.startswith("socket."):
            return
        if event == "socket.bind":
            self._note_bind(*args)
        elif event in ASKING:
            self._judge_address(*args)
        elif event in LOOKING_UP:
            self._judge_name(args[0][0] if event == "socket.getnameinfo" else args[0])

    def declare_port(self, port: int) -> None:
        """A child process listens there, or nobody does and that is what is tested."""
        self._ports.add(port)

    def take_offences(self) -> list[str]:
        """Those since the last call."""
        taken, self.offences = self.offences, []
        return taken

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

    def _note_bind(self, bound: socket.socket, address: object) -> None:
        if bound.family in {socket.AF_INET, socket.AF_INET6}:
            port = address[1]  # type: ignore[index]
            if port:
                self._ports.add(port)
            else:
                self._bound.append(weakref.ref(bound))

    def _note_chosen_ports(self) -> None:
        """A port is told by no event, so that it is looked for at the next one of whatever kind."""
        for reference in list(self._bound):
            bound = reference()
            port = None
            if bound is not None and bound.fileno() >= 0:
                try:
                    port = bound.getsockname()[1]
                except OSError:
                    port = None
                if not port:
                    continue
                self._ports.add(port)
            if reference in self._bound:
                self._bound.remove(reference)

    def _judge_address(self, asking: socket.socket, address: object) -> None:
        if asking.family not in {socket.AF_INET, socket.AF_INET6} or address is None:
            return
        host, port = address[:2]  # type: ignore[index]
        if not (is_local(host) and port in self._ports):
            self._refuse(f"[{host}]:{port}" if ":" in host else f"{host}:{port}")
        self.connects += 1

    def _judge_name(self, host: str | bytes | None) -> None:
        name = host.decode() if isinstance(host, bytes) else host
        if name in LOCAL_NAMES:
            return
        if not is_address(str(name)):  # nobody is asked about what is an address already
            self._refuse(str(name))

    def _refuse(self, what: str) -> None:
        if self._expected:
            self._expected[-1].append(what)
        else:
            test = os.environ.get("PYTEST_CURRENT_TEST", "outside of any test").partition(" ")[0]
            self.offences.append(f"{what} ({test})")
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


WATCH = NetworkWatch()


def declare_port(port: int) -> int:
    WATCH.declare_port(port)
    return port


def take_port() -> int:
    """A free port for a child process, declared."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return declare_port(free.getsockname()[1])
