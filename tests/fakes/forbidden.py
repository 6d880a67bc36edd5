"""What must never be fetched: the list that the fetcher's tests go through in each of the ways an address can come."""

from __future__ import annotations

import ipaddress

NETWORKS = [
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/4",
    "240.0.0.0/4",
    "255.255.255.255/32",
    "168.63.129.16/32",
    "100.100.100.200/32",
    "::/128",
    "::1/128",
    "::ffff:0:0/96",
    "64:ff9b::/96",
    "64:ff9b:1::/48",
    "100::/64",
    "2001::/32",
    "2001:db8::/32",
    "2002::/16",
    "fc00::/7",
    "fd00:ec2::254/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
]


def list_addresses() -> list[str]:
    """The first, the last and one in the middle of each, and what Python thinks to be global."""
    found = ["64:ff9b::a9fe:a9fe", "2002:7f00:1::", "fec0::1", "224.0.0.1", "ff02::1", "192.0.0.8", "192.0.0.192"]
    found += ["::127.0.0.1", "::ffff:0:127.0.0.1", "fd20:ce::254", "4000::1", "2001:2::1", "3fff::1"]
    found += ["2606:4700::5efe:127.0.0.1", "2606:4700::200:5efe:10.0.0.1"]
    for network in map(ipaddress.ip_network, NETWORKS):
        found += [str(network[0]), str(network[-1]), str(network[network.num_addresses // 2])]
    return list(dict.fromkeys(found))


ADDRESSES = list_addresses()

# Each is 127.0.0.1 or this machine to somebody, or a name that leads inside.
HOSTS = [
    "127.1",
    "127.0.1",
    "0x7f.1",
    "0x7f.0.0.1",
    "0X7F000001",
    "2130706433",
    "0177.0.0.1",
    "017700000001",
    "00000177.1",
    "①②⑦.⓪.⓪.①",
    "１２７.０.０.１",
    "127。0。0。1",
    "127．0．0．1",
    "127｡0｡0｡1",
    "127.0.0.1.",
    "[::ffff:7f00:1]",
    "[::ffff:127.0.0.1]",
    "[0:0:0:0:0:ffff:7f00:1]",
    "[::1]",
    "[::]",
    "[fe80::1%25eth0]",
    "[::1%25lo]",
    "localhost",
    "LOCALHOST",
    "localhost.",
    "a.localhost",
    "localhost.localdomain",
    "ip6-localhost",
    "ｌｏｃａｌｈｏｓｔ",
    "metadata.google.internal",
    "metadata",
    "anything.internal",
    "0",
    "0.0",
    "0x0",
]


def write_host(address: str) -> str:
    return f"[{address}]" if ":" in address else address
