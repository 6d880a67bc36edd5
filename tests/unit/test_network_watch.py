"""The watch over connections sees what a test would rather not have seen."""

from __future__ import annotations

import socket
from types import SimpleNamespace

import pytest
from fakes.network import NOBODY, NetworkForbidden, NetworkWatch, is_address, is_local
from fakes.watch.ledger import MemoryLedger
from fakes.watch.programs import UNWATCHED, find_gap

V4, V6 = SimpleNamespace(family=socket.AF_INET), SimpleNamespace(family=socket.AF_INET6)


class Bound:
    """A socket whose port the system chose."""

    family = socket.AF_INET

    def __init__(self, port: int) -> None:
        self.port = port

    def getsockname(self) -> tuple[str, int]:
        return "127.0.0.1", self.port


def take(watch: NetworkWatch) -> list[str]:
    return [offence.what for offence in watch.ledger.take_offences()]


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
    assert take(watch) == [shown]
    assert (take(watch), watch.connects) == ([], 0)


def test_what_was_declared_passes() -> None:
    watch = NetworkWatch()
    watch.declare_port(4001)
    for asking, address in [(V4, ("127.0.0.1", 4001)), (V4, ("localhost", 4001)), (V6, ("::1", 4001, 0, 0))]:
        watch.see("socket.connect", (asking, address))
    watch.see("socket.connect", (V4, ("127.0.0.1", min(NOBODY))))
    watch.see("socket.connect", (SimpleNamespace(family=socket.AF_UNIX), "/run/x"))
    watch.see("socket.sendmsg", (V4, None))  # connected before
    assert (watch.connects, take(watch)) == (4, [])


def test_a_port_that_this_process_bound_passes() -> None:
    watch = NetworkWatch()
    watch.note_bound(Bound(4_002))
    watch.see("socket.connect", (V4, ("127.0.0.1", 4_002)))
    assert (take(watch), watch.ledger.has_port(4_002)) == ([], True)


def test_a_port_that_another_process_wrote_down_passes() -> None:
    ledger = MemoryLedger()
    ledger.add_port(4_003)
    watch = NetworkWatch(ledger)
    watch.see("socket.connect", (V4, ("127.0.0.1", 4_003)))
    assert take(watch) == []


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
    assert take(watch) == ["example.com"] * 3


def test_what_is_expected_is_no_offence() -> None:
    watch = NetworkWatch()
    with watch.expect() as found, pytest.raises(NetworkForbidden):
        watch.see("socket.connect", (V4, ("192.0.2.1", 80)))
    assert (found, take(watch)) == (["192.0.2.1:80"], [])
    with pytest.raises(NetworkForbidden):
        watch.see("socket.connect", (V4, ("192.0.2.1", 80)))
    assert len(take(watch)) == 1


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


@pytest.mark.parametrize(
    ("program", "words", "environment", "gap"),
    [
        ("/x/python3", ["python3", "-m", "api", "-I"], {"PYTHONPATH": "/a:/watch"}, None),
        ("/x/python3", ["python3", "-X", "utf8", "-I", "x.py"], {"PYTHONPATH": "/watch"}, "option"),
        ("/x/python3", ["python3", "-uE", "x.py"], {"PYTHONPATH": "/watch"}, "option"),
        ("/x/python3", ["python3", "-cimport ESI"], {"PYTHONPATH": "/watch"}, None),
        ("/x/python3", [b"python3", b"-S"], {b"PYTHONPATH": b"/watch"}, "option"),
        ("/x/python3", ["python3", "x.py"], {"PYTHONPATH": "/watches"}, "PYTHONPATH"),
        ("git", ["git", "-S"], {"PYTHONPATH": "/watch"}, None),
        ("git", ["git"], {}, "PYTHONPATH"),
        ("git", ["git"], {UNWATCHED: "is no Python"}, None),
    ],
)
def test_what_would_start_a_python_unwatched(program: str, words: list, environment: dict, gap: str | None) -> None:
    found = find_gap("/watch", "subprocess.Popen", (program, words, None, environment))
    assert (found is None) == (gap is None)
    assert (gap or "") in (found or "")
