"""What single settings hold, read and checked. Every fault is a ValueError, which names the value."""

from __future__ import annotations

import ipaddress
import re
from urllib.parse import urlsplit

from pydantic import SecretStr

Network = ipaddress.IPv4Network | ipaddress.IPv6Network

KEY = re.compile(r"[!-~]*")
NAMED = re.compile(r"(?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*:[A-Za-z_]\w*")
READER = re.compile(r"(\.[a-z0-9]{1,16})=((?:[A-Za-z_]\w*\.)*[A-Za-z_]\w*:[A-Za-z_]\w*)", re.IGNORECASE)
PORT = re.compile(r"[0-9]{1,5}")


def is_named(value: str) -> bool:
    """Whether it is of the form module:name."""
    return NAMED.fullmatch(value) is not None


def check_key(value: SecretStr | None) -> SecretStr | None:
    """Raises ValueError."""
    if value is not None and not KEY.fullmatch(value.get_secret_value()):
        raise ValueError("a key is printable ASCII without a space")
    return value


def check_address(url: str, key: str) -> None:
    """Raises ValueError. The address is told in errors and logs, so that it must not hold a secret."""
    parts = urlsplit(url)  # raises ValueError itself
    if not parts.hostname or parts.port == 0:
        raise ValueError("the address names no host, or port 0")
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the address holds a user or a password: put the key into {key}")
    if parts.query or parts.fragment or not url.isascii() or not url.isprintable() or " " in url:
        raise ValueError("the address must end with its path, /v1 as a rule, and have only ASCII characters")


def parse_readers(value: str | None) -> dict[str, str]:
    """Raises ValueError."""
    readers: dict[str, str] = {}
    for part in filter(None, map(str.strip, (value or "").split(","))):
        found = READER.fullmatch(part)
        if found is None:
            raise ValueError(f"{part[:255]!r} is not of the form .ext=module:Class")
        extension = found[1].lower()
        if extension in readers:
            raise ValueError(f"{extension} stands there twice")
        readers[extension] = found[2]
    return readers


def check_user_agent(value: str) -> str:
    """Raises ValueError."""
    if not (value.isascii() and value.isprintable() and value.strip() == value):
        raise ValueError("it goes into a header: printable ASCII, without white space around it")
    return value


def parse_ports(value: str | None) -> frozenset[int]:
    """Raises ValueError."""
    ports = set()
    for part in filter(None, map(str.strip, (value or "").split(","))):
        if not PORT.fullmatch(part) or not 0 < int(part) < 65_536:
            raise ValueError(f"{part[:255]!r} is no port from 1 to 65,535")
        ports.add(int(part))
    return frozenset(ports)


def parse_networks(value: str | None) -> tuple[Network, ...]:
    """Raises ValueError."""
    return tuple(ipaddress.ip_network(part) for part in filter(None, map(str.strip, (value or "").split(","))))
