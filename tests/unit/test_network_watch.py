"""The watch over connections sees what a test would rather not have seen."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from fakes.network import NOBODY, NetworkForbidden, NetworkWatch, is_address, is_local

V4, V6 = SimpleNamespace(family=socket.AF_INET), SimpleNamespace(family=socket.AF_INET6)


class Bound:
    """A socket whose port the system chose."""

    family = socket.AF_INET

    def __init__(self, port: int) -> None:
        self.port = port
        self.number = 3

    def fileno(self) -> int:
        return self.number

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


@pytest.mark.parametrize("event", ["socket.connect", "socket.sendto", "socket.sendmsg"])
@pytest.mark.parametrize(
    ("asking", "address", "shown"),
    [
        (V4, ("192.0.2.1", 80), "192.0.2.1:80"),
        (V4, ("127.0.0.1", 5432), "127.0.0.1:5432"),
        (V4, ("0.0.0.0", 5432), "0.0.0.0:5432"),
        (V4, ("example.com", 80), "example.com:80"),
        (V6, ("2001:db8::1", 443, 0, 0), "[2001:db8::1]:443"),
        (V6, ("::ffff:192.0.2.1", 443), "[::ffff:192.0.2.1]:443"),
    ],
)
def test_what_nobody_declared_is_refused_and_kept(event: str, asking, address: tuple, shown: str) -> None:
    watch = NetworkWatch()
    with pytest.raises(NetworkForbidden, match="no test declared"):
        watch.see(event, (asking, address))
    assert [offence.partition(" ")[0] for offence in watch.take_offences()] == [shown]
    assert (watch.take_offences(), watch.connects) == ([], 0)


def test_what_was_declared_passes() -> None:
    watch = NetworkWatch()
    watch.declare_port(4001)
    for asking, address in [(V4, ("127.0.0.1", 4001)), (V4, ("localhost", 4001)), (V6, ("::1", 4001, 0, 0))]:
        watch.see("socket.connect", (asking, address))
    watch.see("socket.connect", (V4, ("127.0.0.1", min(NOBODY))))
    watch.see("socket.connect", (SimpleNamespace(family=socket.AF_UNIX), "/run/x"))
    watch.see("socket.sendmsg", (V4, None))  # connected before
    assert (watch.connects, watch.offences) == (4, [])


def test_a_port_that_this_process_bound_passes() -> None:
    watch = NetworkWatch()
    watch.see("socket.bind", (V4, ("127.0.0.1", 4002)))
    watch.see("socket.connect", (V4, ("127.0.0.1", 4002)))
    bound = Bound(0)
    watch.see("socket.bind", (bound, ("127.0.0.1", 0)))
    watch.see("open", ("file",))
    bound.port = 4003  # which no event tells
    watch.see("socket.connect", (V4, ("127.0.0.1", 4003)))
    bound.number = -1
    watch.see("socket.connect", (V4, ("127.0.0.1", 4003)))  # closed since, and still ours
    assert watch.offences == []


def test_a_name_is_looked_up_only_when_it_leads_nowhere_else() -> None:
    watch = NetworkWatch()
    for host in (None, "localhost", b"localhost", "127.0.0.1", "192.0.2.1", "::1", "127.1", ""):
        watch.see("socket.getaddrinfo", (host, 80, 0, 0, 0))
    watch.see("socket.gethostbyaddr", ("127.0.0.1",))
    watch.see("socket.getnameinfo", (("127.0.0.1", 80),))
    for event, args in [
        ("socket.getaddrinfo", ("example.com", 80, 0, 0, 0)),
        ("socket.gethostbyname", ("example.com",)),
        ("socket.getaddrinfo", (b"example.com", None, 0, 0, 0)),
    ]:
        with pytest.raises(NetworkForbidden):
            watch.see(event, args)
    assert [offence.partition(" ")[0] for offence in watch.offences] == ["example.com"] * 3


def test_what_is_expected_is_no_offence() -> None:
    watch = NetworkWatch()
    with watch.expect() as found, pytest.raises(NetworkForbidden):
        watch.see("socket.connect", (V4, ("192.0.2.1", 80)))
    assert (found, watch.offences) == (["192.0.2.1:80"], [])
    with pytest.raises(NetworkForbidden):
        watch.see("socket.connect", (V4, ("192.0.2.1", 80)))
    assert len(watch.offences) == 1


def test_what_is_local_and_what_is_an_address() -> None:
    assert [is_local(host) for host in ("127.0.0.1", "127.9.9.9", "::1", "localhost", "10.0.0.1", "example.com")] == [
        True,
        True,
        True,
        True,
        False,
        False,
    ]
    assert [is_address(name) for name in ("1.2.3.4", "0x7f.1", "::", "fe80::1", "example.com", "1.example", "")] == [
        True,
        True,
        True,
        True,
        False,
        False,
        False,
    ]
