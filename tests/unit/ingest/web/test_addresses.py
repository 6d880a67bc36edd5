"""Which addresses may be fetched, and what hides in which."""

from __future__ import annotations

import ipaddress

import pytest
from fakes.forbidden import ADDRESSES, NETWORKS
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest.web.addresses import PUBLIC, Reach, find_fault, find_never, is_public, unwrap

ALL_V4 = [network for network in map(ipaddress.ip_network, NETWORKS) if network.version == 4]
PUBLIC_ONES = ["1.1.1.1", "8.8.8.8", "93.184.216.34", "172.15.255.255", "172.32.0.0", "100.63.255.255", "100.128.0.0"]
PUBLIC_ONES += ["11.0.0.0", "169.253.255.255", "192.0.1.0", "223.255.255.255", "168.63.129.15", "2606:4700::1111"]
PUBLIC_ONES += ["2a00:1450:4001:80b::200e", "240e::1", "2400:3200::1"]


@pytest.mark.parametrize("address", ADDRESSES)
def test_a_denied_address_has_a_fault(address: str) -> None:
    assert find_fault(address, 80, PUBLIC)
    assert not is_public(ipaddress.ip_address(address)) or "5efe" in address


@pytest.mark.parametrize("address", PUBLIC_ONES)
def test_a_public_address_has_none(address: str) -> None:
    assert find_fault(address, 443, PUBLIC) is None
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "written", ["", "example.com", "127.1", "0x7f000001", "::1%lo", "fe80::1%eth0", "2606:4700::1%1"]
)
def test_what_is_no_plain_address_has_a_fault(written: str) -> None:
    assert find_fault(written, 80, Reach(loopback_ports=frozenset({80})))


WRAPPERS = {
    "mapped": lambda four: 0xFFFF << 32 | four,
    "compatible": lambda four: four,
    "translated": lambda four: 0xFFFF << 48 | four,
    "NAT64": lambda four: 0x64FF9B << 96 | four,
    "local NAT64": lambda four: 0x64FF9B0001 << 80 | four,
    "local NAT64, inside": lambda four: 0x64FF9B0001 << 80 | four >> 16 << 64 | (four & 0xFFFF) << 40,
    "6to4": lambda four: 0x2002 << 112 | four << 80 | 1,
    "Teredo's server": lambda four: 0x20010000 << 96 | four << 64 | 0xF7F7F7F7,
    "Teredo's client": lambda four: 0x20010000 << 96 | 0x08080808 << 64 | (four ^ 0xFFFFFFFF),
    "ISATAP": lambda four: 0x26064700 << 96 | 0x5EFE << 32 | four,
    "ISATAP, of a public address": lambda four: 0x26064700 << 96 | 0x02005EFE << 32 | four,
}
DENIED_V4 = st.one_of([st.integers(int(network[0]), int(network[-1])) for network in ALL_V4])


@pytest.mark.parametrize("wrapper", WRAPPERS)
@settings(deadline=None)
@given(four=st.integers(0, 2**32 - 1))
def test_what_was_wrapped_is_found(wrapper: str, four: int) -> None:
    wrapped = ipaddress.IPv6Address(WRAPPERS[wrapper](four))
    assert ipaddress.IPv4Address(four) in unwrap(wrapped)


@pytest.mark.parametrize("wrapper", WRAPPERS)
@settings(deadline=None)
@given(four=DENIED_V4)
def test_a_denied_address_is_denied_in_every_wrapper(wrapper: str, four: int) -> None:
    """Even where an operator has opened the wrapper: with everything of IPv6 opened, what is inside decides."""
    wrapped = str(ipaddress.IPv6Address(WRAPPERS[wrapper](four)))
    assert find_fault(wrapped, 80, PUBLIC)
    assert find_fault(wrapped, 80, Reach(networks=(ipaddress.ip_network("::/0"),)))


@settings(deadline=None)
@given(st.ip_addresses())
def test_nothing_denied_is_public(address: ipaddress.IPv4Address | ipaddress.IPv6Address) -> None:
    denied = any(address in network for network in map(ipaddress.ip_network, NETWORKS))
    fault = find_fault(str(address), 80, PUBLIC)
    assert not (denied and fault is None)
    assert (fault is None) <= address.is_global


@settings(deadline=None)
@given(st.ip_addresses(v=4))
def test_an_ipv4_address_holds_no_other(address: ipaddress.IPv4Address) -> None:
    assert list(unwrap(address)) == []


def test_an_operator_opens_a_network_and_no_more() -> None:
    reach = Reach(networks=(ipaddress.ip_network("10.1.0.0/16"), ipaddress.ip_network("fd12:3456::/32")))
    assert find_fault("10.1.2.3", 80, reach) is None
    assert find_fault("fd12:3456::7", 80, reach) is None
    assert find_fault("10.2.0.0", 80, reach) == "private"
    assert find_fault("fd00:ec2::254", 80, reach) == "the metadata server of a cloud"
    assert find_fault("::ffff:10.1.2.3", 80, reach) == "an IPv4 address in IPv6 form"


def test_nat64_may_be_opened_and_its_inside_is_judged() -> None:
    reach = Reach(networks=(ipaddress.ip_network("64:ff9b::/96"),))
    assert find_fault("64:ff9b::808:808", 80, reach) is None
    assert find_fault("64:ff9b::a9fe:a9fe", 80, reach) == (
        "the metadata server of a cloud (169.254.169.254) inside NAT64"
    )
    assert find_fault("64:ff9b::a00:1", 80, reach) == "private (10.0.0.1) inside NAT64"


@pytest.mark.parametrize("address", ["127.0.0.1", "127.9.9.9", "::1"])
def test_loopback_is_open_at_declared_ports_alone(address: str) -> None:
    reach = Reach(loopback_ports=frozenset({8123}))
    assert find_fault(address, 8123, reach) is None
    assert find_fault(address, 80, reach) == "loopback"
    assert find_fault(address, 8123, PUBLIC) == "loopback"
    assert find_fault(f"::ffff:{address}" if "." in address else "::7f00:1", 8123, reach)


@pytest.mark.parametrize(
    ("network", "kind"),
    [
        ("127.0.0.0/8", "loopback"),
        ("0.0.0.0/0", "metadata"),
        ("::/0", "metadata"),
        ("169.254.0.0/16", "169.254.169.254"),
        ("100.64.0.0/10", "100.100.100.200"),
        ("fd00::/8", "fd00:ec2::254"),
        ("224.0.0.0/24", "multicast"),
        ("ff02::/16", "multicast"),
        ("0.0.0.0/32", "unspecified"),
        ("::1/128", "loopback"),
        ("::ffff:10.0.0.0/104", "IPv6 form"),
        ("2002:a00::/24", "6to4"),
        ("10.0.0.0/8", None),
        ("100.64.0.0/24", None),
        ("64:ff9b::/96", None),
        ("fd12:3456::/32", None),
    ],
)
def test_what_no_setting_opens(network: str, kind: str | None) -> None:
    found = find_never(ipaddress.ip_network(network))
    assert found is None if kind is None else kind in str(found)
