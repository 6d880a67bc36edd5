"""The gate before fetching: which URLs may be asked for at all, before any name is resolved.

A URL is parsed once, by httpx, and what is connected to is made of the parts that were checked. So no second parser can
read another host out of it. What names resolve to is judged when they are connected to (`ingest.web.dialing`).
"""

from __future__ import annotations

import ipaddress
import re
import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ingest.web.addresses import PUBLIC, Reach, find_fault
from kb.errors import InvalidInput

if TYPE_CHECKING:  # a tenth of a second that a server without web sources need not spend
    import httpx

MOST_CHARACTERS = 2_048
PORT_OF_SCHEME = {"http": 80, "https": 443}
SCHEME = re.compile(r"(https?)://([^/?#]*)", re.IGNORECASE)
AUTHORITY = re.compile(r"(\[[^\[\]]*\]|[^:\[\]]+)(?::([0-9]{0,5}))?")
LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
NUMBER = re.compile(r"0[xX][0-9a-fA-F]*|[0-9]+")
LOOPBACK_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost", "ip6-loopback"})
METADATA_NAMES = frozenset(
    {"metadata", "metadata.google.internal", "metadata.goog", "instance-data", "instance-data.ec2.internal"}
)


@dataclass(frozen=True, kw_only=True, slots=True)
class CheckedUrl:
    """A URL that may be asked for. `url` is the whole of it without its fragment, `host` its name in ASCII or its
    address, `target` path and query as they are sent."""

    url: str
    scheme: str
    host: str
    port: int
    target: str

    @property
    def authority(self) -> str:
        """What the header `Host` says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == PORT_OF_SCHEME[self.scheme] else f"{host}:{self.port}"


def check_url(url: str, reach: Reach = PUBLIC) -> CheckedUrl:
    """Raises InvalidInput (`bad_url`: it is none or not of the kind that is fetched, `url_forbidden`: it leads where
    nothing is fetched)."""
    if len(url) > MOST_CHARACTERS:
        raise _refuse(url, f"is longer than {MOST_CHARACTERS:,} characters")
    _check_characters(url)
    begun = SCHEME.match(url)
    if begun is None:
        raise _refuse(url, "does not begin with http:// or https:// and a host")
    if "@" in begun[2]:
        raise _refuse(url, "has a user or a password in it, or an @ before its path")
    parts = AUTHORITY.fullmatch(begun[2])
    if parts is None:
        raise _refuse(url, "names no host, or no port that is one")
    default = PORT_OF_SCHEME[begun[1].lower()]
    port = int(parts[2] or default)
    _judge_host(url, parts[1], port, reach)
    if port not in reach.ports | reach.loopback_ports:
        raise _refuse(url, f"names port {port}, which is not one of KB_FETCH_PORTS")
    return _take_apart(url, port, reach)


def join_url(base: str, reference: str) -> str:
    """What a link on `base` leads to, not checked yet. Raises InvalidInput (`bad_url`)."""
    import httpx

    _check_characters(reference)
    if SCHEME.match(reference):
        return reference
    if reference.startswith("//"):
        return f"{base.partition(':')[0]}:{reference}"
    try:
        return str(httpx.URL(base).join(reference))
    except (httpx.InvalidURL, ValueError):
        raise _refuse(reference, "cannot be read") from None


def show_url(url: str) -> str:
    """As errors and logs tell it: cut, and without what may be a secret (user and password, the query)."""
    plain = re.split(r"[?#]", url, maxsplit=1)[0]
    shown = plain if len(plain) <= 200 else f"{plain[:200]}…"
    return "the address" if "@" in plain else shown if shown.isprintable() else ascii(shown)[1:-1]


def _take_apart(url: str, port: int, reach: Reach) -> CheckedUrl:
    parsed = _parse(url)
    host = parsed.raw_host.decode("ascii").rstrip(".").lower()
    _judge_host(url, f"[{host}]" if ":" in host else host, port, reach)  # what IDNA made of it
    if ":" in host:
        host = str(ipaddress.IPv6Address(host))
    else:
        _check_labels(url, host)
    target = parsed.raw_path.decode("ascii")
    whole = parsed.copy_with(host=host, raw_path=parsed.raw_path, fragment=None)
    return CheckedUrl(url=str(whole), scheme=whole.scheme, host=host, port=port, target=target)


def _parse(url: str) -> httpx.URL:
    import httpx

    try:
        return httpx.URL(url)
    except httpx.InvalidURL:
        raise _refuse(url, "cannot be read, or its host is no valid name") from None


def _check_characters(url: str) -> None:
    if "\\" in url or not url.isprintable() or any(character.isspace() for character in url):
        raise _refuse(url, "has white space, a backslash, or a character in it that does not show; percent-encode it")


def _judge_host(url: str, written: str, port: int, reach: Reach) -> None:
    """As every resolver may read it: full-width digits and dots, numbers in other bases, fewer than four of them."""
    host = unicodedata.normalize("NFKC", written).replace("。", ".").rstrip(".").lower()
    if host.startswith("["):
        address: str | None = _read_bracket(url, host[1:-1])
    else:
        address = _read_numbers(url, host)
    if address is not None:
        fault = find_fault(address, port, reach)
        if fault is None and address in reach.own_hosts:
            fault = "a host of this server's own"
        if fault is not None:
            raise _forbid(url, f"{address} is {fault}")
        if not host.startswith("[") and address != host:
            raise _refuse(url, "writes an IPv4 address in other than four plain numbers")
    else:
        _judge_name(url, host, port, reach)


def _judge_name(url: str, host: str, port: int, reach: Reach) -> None:
    if host in LOOPBACK_NAMES or host.endswith(".localhost"):
        if port not in reach.loopback_ports:
            raise _forbid(url, f"{host} is this machine")
    elif host in METADATA_NAMES:
        raise _forbid(url, f"{host} is the metadata server of a cloud")
    elif host.endswith(".internal") and not reach.networks:
        raise _forbid(url, f"{host} is internal; KB_FETCH_NETWORKS opens networks")
    elif host in reach.own_hosts:
        raise _forbid(url, f"{host} is a host of this server's own")


def _read_bracket(url: str, inner: str) -> str:
    if "%" in inner:
        raise _forbid(url, "its address has a scope")
    try:
        return str(ipaddress.IPv6Address(inner))
    except ValueError:
        raise _refuse(url, "has no IPv6 address between its brackets") from None


def _read_numbers(url: str, host: str) -> str | None:
    """The address that `inet_aton` makes of it; None for a name."""
    labels = host.split(".")
    if not NUMBER.fullmatch(labels[-1]):
        return None
    if len(labels) > 4 or not all(NUMBER.fullmatch(label) for label in labels):
        raise _refuse(url, "ends in a number and is no IPv4 address")
    try:
        *most, last = (_read_number(label) for label in labels)
    except ValueError:
        raise _refuse(url, "has a number in its host that is none") from None
    room = 256 ** (4 - len(most))
    if any(number > 255 for number in most) or last >= room:
        raise _refuse(url, "has a number in its host that is too large")
    return str(ipaddress.IPv4Address(sum(number << 24 - 8 * place for place, number in enumerate(most)) + last))


def _read_number(label: str) -> int:
    """Raises ValueError. More digits than an address can have are none; they would cost time, too."""
    if len(label) > 64:
        raise ValueError(label)
    if label[:2].lower() == "0x":
        return int(label[2:] or "0", 16)
    return int(label, 8 if label.startswith("0") else 10)


def _check_labels(url: str, host: str) -> None:
    """Letters, digits and hyphens; what IDNA encodes must be what IDNA would have made of it."""
    labels = host.split(".")
    if len(host) > 253 or not all(LABEL.fullmatch(label) for label in labels):
        raise _refuse(url, "names no host that can be one")
    if any(label.startswith("xn--") for label in labels):
        try:
            plain = ".".join(_decode_label(label) for label in labels)
            is_valid = not plain.isascii() and _parse(f"http://{plain}/").raw_host == host.encode("ascii")
        except (UnicodeError, InvalidInput):
            is_valid = False
        if not is_valid:
            raise _refuse(url, "has a host that is no valid IDNA")


def _decode_label(label: str) -> str:
    """Raises UnicodeError."""
    return label[4:].encode("ascii").decode("punycode") if label.startswith("xn--") else label


def _refuse(url: str, fault: str) -> InvalidInput:
    return InvalidInput("bad_url", f"{show_url(url)} {fault}")


def _forbid(url: str, fault: str) -> InvalidInput:
    return InvalidInput("url_forbidden", f"{show_url(url)} is not fetched: {fault}")
