"""Which addresses may be fetched. The rule for one address, whatever way it came: written, resolved, redirected to.

`ipaddress.is_global` is not enough: it is true for NAT64 and 6to4 addresses that hold 169.254.169.254 or 127.0.0.1, for
multicast, and for the metadata server of Azure. So there are lists: what nobody may fetch (`NEVER`), and what is not
public but may be opened by an operator (`CLOSED`, and everything of IPv6 outside 2000::/3). An address that holds
another one in itself is judged by both.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Kinds = tuple[tuple[Network, str], ...]

LOW_32 = (1 << 32) - 1
METADATA = "the metadata server of a cloud"


def _list_kinds(*rows: tuple[str, str]) -> Kinds:
    return tuple((ipaddress.ip_network(part), kind) for networks, kind in rows for part in networks.split())


NEVER = _list_kinds(
    ("168.63.129.16/32 100.100.100.200/32 169.254.169.254/32 192.0.0.192/32 fd00:ec2::254/128", METADATA),
    ("fd20:ce::254/128", METADATA),
    ("0.0.0.0/8 ::/128", "unspecified"),
    ("127.0.0.0/8 ::1/128", "loopback"),
    ("169.254.0.0/16 fe80::/10", "link-local"),
    ("224.0.0.0/4 ff00::/8", "multicast"),
    ("255.255.255.255/32", "broadcast"),
    ("::ffff:0:0/96", "an IPv4 address in IPv6 form"),
    ("::ffff:0:0:0/96", "an IPv4 address in translated form"),
    ("::/96", "an IPv4 address in compatible form"),
    ("64:ff9b:1::/48", "local NAT64"),
    ("2001::/32", "Teredo"),
    ("2002::/16", "6to4"),
)
CLOSED = _list_kinds(
    ("10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 fc00::/7 fec0::/10", "private"),
    ("100.64.0.0/10", "shared by a provider's customers"),
    ("192.0.0.0/24 2001::/23", "assigned to protocols"),
    ("192.0.2.0/24 198.51.100.0/24 203.0.113.0/24 2001:db8::/32 3fff::/20", "for documentation"),
    ("192.88.99.0/24", "6to4 relays"),
    ("198.18.0.0/15", "for benchmarks"),
    ("240.0.0.0/4", "reserved"),
    ("64:ff9b::/96", "NAT64"),
    ("100::/64", "discarded"),
)
LOOPBACK = tuple(network for network, kind in NEVER if kind == "loopback")
GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
WELL_KNOWN_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


@dataclass(frozen=True, kw_only=True, slots=True)
class Reach:
    """How far fetching reaches.

    `networks` are fetched beside public addresses. `loopback_ports` are fetched on loopback, for tests. `own_hosts` are
    names and addresses of what the server itself runs on (its database, its model servers): never fetched, and no
    address of this machine is, even if `networks` has it."""

    ports: frozenset[int] = frozenset({80, 443})
    networks: tuple[Network, ...] = ()
    loopback_ports: frozenset[int] = frozenset()
    own_hosts: frozenset[str] = frozenset()


PUBLIC = Reach()


def find_fault(written: str, port: int, reach: Reach) -> str | None:
    """Why nothing is fetched from this address, or None. `written` is a plain address, never a name. `port` counts on
    loopback alone; which ones are asked elsewhere is not said here."""
    try:
        address = ipaddress.ip_address(written)
    except ValueError:
        return "no address"
    if isinstance(address, ipaddress.IPv6Address) and address.scope_id is not None:
        return "an address with a scope"
    if is_loopback(address):
        return None if port in reach.loopback_ports else "loopback"
    inner = tuple(unwrap(address))
    for each in (address, *inner):
        kind = _find_kind(each, NEVER) or (None if _is_open(each, reach) else _name_closed(each))
        if kind is not None:
            return kind if each == address else f"{kind} ({each}) inside {_find_kind(address, NEVER + CLOSED)}"
    return None


def is_loopback(address: Address) -> bool:
    return any(address in network for network in LOOPBACK)


def is_public(address: Address) -> bool:
    """Whether anybody on the internet can reach it, by our lists as well as by Python's."""
    if _find_kind(address, NEVER + CLOSED) is not None or not address.is_global:
        return False
    return address.version == 4 or address in GLOBAL_UNICAST


def unwrap(address: Address) -> Iterator[ipaddress.IPv4Address]:
    """The IPv4 addresses that a packet to this address may end at."""
    if isinstance(address, ipaddress.IPv4Address):
        return
    number = int(address)
    low, teredo, six_to_four = number & LOW_32, number >> 96 == 0x20010000, number >> 112 == 0x2002
    if number >> 32 in {0, 0xFFFF, 0xFFFF0000, int(WELL_KNOWN_NAT64.network_address) >> 32}:
        yield ipaddress.IPv4Address(low)  # compatible, mapped, translated, NAT64
    if number >> 80 == 0x0064FF9B0001:  # RFC 6052 writes it in one of two places there
        yield ipaddress.IPv4Address(low)
        yield ipaddress.IPv4Address((number >> 64 & 0xFFFF) << 16 | (number >> 40 & 0xFFFF))
    if six_to_four:
        yield ipaddress.IPv4Address(number >> 80 & LOW_32)
    if teredo:  # the server, and the client with every bit turned
        yield ipaddress.IPv4Address(number >> 64 & LOW_32)
        yield ipaddress.IPv4Address(low ^ LOW_32)
    if number >> 32 & 0xFDFFFFFF == 0x00005EFE:  # ISATAP, below any prefix
        yield ipaddress.IPv4Address(low)


def find_never(network: Network) -> str | None:
    """What of a network no setting can open, or None."""
    return next((f"{other} ({kind})" for other, kind in NEVER if _overlaps(network, other)), None)


def _is_open(address: Address, reach: Reach) -> bool:
    return is_public(address) or any(address in network for network in reach.networks)


def _name_closed(address: Address) -> str:
    return _find_kind(address, CLOSED) or "not public"


def _find_kind(address: Address, kinds: Iterable[tuple[Network, str]]) -> str | None:
    return next((kind for network, kind in kinds if address in network), None)


def _overlaps(one: Network, other: Network) -> bool:
    return one.version == other.version and (
        one.network_address in other or other.network_address in one  # no `overlaps` over both kinds in one type
    )
