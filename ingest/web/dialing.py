"""Connections to checked addresses alone: a name is resolved once, and the address that was checked is connected to.

Nothing is resolved between the check and the connection, so that a name which answers differently the second time
(DNS rebinding) gains nothing. When one of several answers may not be fetched, none is: a name that points inside as
well as outside is not asked about which it meant.
"""

from __future__ import annotations

import ipaddress
import socket
import ssl
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from threading import Thread

from ingest.web.addresses import Reach, find_fault, is_loopback, is_public
from kb.errors import FetchFailed

Resolver = Callable[[str, int], Sequence[str]]  # addresses of a name; raises OSError

CONNECT_S = 5.0  # for one address
MOST_ADDRESSES = 4  # that are tried


def resolve(host: str, port: int) -> Sequence[str]:
    """As the system does. Raises OSError."""
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
    except UnicodeError as error:  # a label that the system's own IDNA does not take
        raise OSError(str(error)) from None
    return tuple(dict.fromkeys(str(address[0]) for *_, address in found))


class Allowance:
    """What one question may still cost: seconds until its answer is whole, and bytes on the wire."""

    def __init__(self, seconds: float, most_bytes: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._deadline = clock() + seconds
        self._bytes_left = most_bytes

    def find_rest(self) -> float:
        """Seconds, more than none. Raises FetchFailed (`fetch_timeout`)."""
        left = self._deadline - self._clock()
        if left <= 0:
            raise self.time_out()
        return left

    def spend(self, count: int) -> None:
        """Raises FetchFailed (`fetch_too_large`)."""
        self._bytes_left -= count
        if self._bytes_left < 0:
            fault = "the answer does not end: more bytes came than its headers and its largest body can have"
            raise FetchFailed("fetch_too_large", fault, passing=False)

    @staticmethod
    def time_out() -> FetchFailed:
        return FetchFailed("fetch_timeout", "the whole answer did not come in time (KB_FETCH_SECONDS)", passing=True)


class Line:
    """A connection, as httpcore's `NetworkStream`. Each read and write has what is left of the allowance."""

    def __init__(self, connection: socket.socket, allowance: Allowance) -> None:
        self._socket = connection
        self._allowance = allowance

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        del timeout
        try:
            self._socket.settimeout(self._allowance.find_rest())
            data = self._socket.recv(max_bytes)
        except TimeoutError:
            raise self._allowance.time_out() from None
        except OSError as error:
            raise _break(error) from None
        self._allowance.spend(len(data))
        return data

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        del timeout
        try:
            self._socket.settimeout(self._allowance.find_rest())
            self._socket.sendall(buffer)
        except TimeoutError:
            raise self._allowance.time_out() from None
        except OSError:
            pass  # a server that has answered already need not listen; if it has not, reading says so

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> Line:
        del timeout
        try:
            self._socket.settimeout(self._allowance.find_rest())
            self._socket = ssl_context.wrap_socket(self._socket, server_hostname=server_hostname)
        except TimeoutError:
            raise self._allowance.time_out() from None
        except ssl.SSLCertVerificationError as error:
            fault = f"its certificate is not accepted: {error.verify_message or 'it names another host'}"
            raise FetchFailed("fetch_tls", fault, passing=False) from None
        except ssl.SSLError as error:
            raise FetchFailed("fetch_tls", f"no TLS with it: {error.reason or 'it broke off'}", passing=False) from None
        except OSError as error:
            raise _break(error) from None
        return self

    def close(self) -> None:
        self._socket.close()

    def get_extra_info(self, info: str) -> None:
        """Nothing: httpcore asks for what HTTP/2 and connections that are kept would need."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Dialer:
    """Reaches hosts within a reach. Thread-safe."""

    reach: Reach
    resolver: Resolver = resolve

    def connect(self, host: str, port: int, allowance: Allowance) -> Line:
        """Raises FetchFailed (`fetch_dns`, `url_forbidden`, `fetch_unreachable`, `fetch_timeout`)."""
        addresses = self._find_addresses(host, port, allowance)
        for address in addresses:
            self._check_address(host, address, port)
        for address in addresses[:MOST_ADDRESSES]:
            connection = _connect(address, port, allowance)
            if connection is not None:
                return Line(connection, allowance)
        raise FetchFailed("fetch_unreachable", f"{host} does not take connections at port {port}", passing=True)

    def check(self, host: str, port: int, seconds: float = 5.0) -> None:
        """Whether what the name stands for now may be connected to, without connecting. Raises FetchFailed
        (`url_forbidden`, and where nothing is known now `fetch_dns`, `fetch_timeout`)."""
        for address in self._find_addresses(host, port, Allowance(seconds, 0)):
            self._check_address(host, address, port)

    def _find_addresses(self, host: str, port: int, allowance: Allowance) -> Sequence[str]:
        try:
            return (str(ipaddress.ip_address(host)),)
        except ValueError:
            found = _resolve_in_time(self.resolver, host, port, allowance)
        if not found:
            raise _lack_address(host)
        return found

    def _check_address(self, host: str, address: str, port: int) -> None:
        fault = find_fault(address, port, self.reach)
        if fault is None and not is_loopback(ipaddress.ip_address(address)):
            fault = self._find_own(address) if port in self.reach.ports else f"not asked at port {port}"
        if fault is not None:
            raise FetchFailed("url_forbidden", f"{host} is not fetched: {address} is {fault}", passing=False)

    def _find_own(self, address: str) -> str | None:
        """What of the server's own stands there. The names of its hosts are looked up only where the operator's
        networks open more than the internet: a public host is told by its name, for it may share its address."""
        if is_ours(address):
            return "this machine's own"
        if is_public(ipaddress.ip_address(address)):
            return None
        own = {found for name in self.reach.own_hosts for found in _resolve_quietly(self.resolver, name)}
        return "a host of this server's own" if address in own else None


def is_ours(address: str) -> bool:
    """Whether an interface of this machine has it: nothing can be bound to another one."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return False
    return True


def _connect(address: str, port: int, allowance: Allowance) -> socket.socket | None:
    """None when nobody answers there."""
    connection = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_STREAM)
    try:
        connection.settimeout(min(CONNECT_S, allowance.find_rest()))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        connection.connect((address, port))
    except OSError:
        connection.close()
        allowance.find_rest()
        return None
    except FetchFailed:
        connection.close()
        raise
    return connection


def _resolve_in_time(resolver: Resolver, host: str, port: int, allowance: Allowance) -> Sequence[str]:
    """The system's resolver knows no deadline: past ours it is left behind, in a thread that ends when it does."""
    found: list[Sequence[str] | OSError] = []

    def look_up() -> None:
        try:
            found.append(resolver(host, port))
        except OSError as error:
            found.append(error)

    thread = Thread(target=look_up, name="resolve", daemon=True)
    thread.start()
    thread.join(allowance.find_rest())
    if not found:
        raise allowance.time_out()
    if isinstance(found[0], OSError):
        raise _lack_address(host)
    return found[0]


def _resolve_quietly(resolver: Resolver, host: str) -> Iterable[str]:
    try:
        return (str(ipaddress.ip_address(host)),)
    except ValueError:
        pass
    try:
        return resolver(host, 0)
    except OSError:
        return ()


def _lack_address(host: str) -> FetchFailed:
    return FetchFailed("fetch_dns", f"the name {host} has no address, or cannot be looked up now", passing=True)


def _break(error: OSError) -> FetchFailed:
    return FetchFailed("fetch_broken", f"the connection broke off ({type(error).__name__})", passing=True)
