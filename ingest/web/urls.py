"""Addresses of pages in one form, which is a document's path; and which addresses belong to a site.

One page has many addresses. What cannot change the page is taken out: the fragment, the default port, `..`, needless
percent-encoding, campaign parameters, session ids. What may change it stays: `/` at the end, the order of the query.
`find_key` goes one step further than may be asked for: two addresses of one key are not both fetched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from urllib.parse import quote, urlsplit

import idna

from kb.document_path import LONGEST_PATH
from kb.errors import FetchFailed

LONGEST_URL = LONGEST_PATH  # bytes, of the form below
_LONGEST_RAW = 16_384  # characters; what is longer is not looked at
_PORTS = {"http": 80, "https": 443}

_BLANKS = re.compile("[\t\r\n]")
_EDGES = "".join(map(chr, range(0x21)))
_SURROGATES = re.compile("[\ud800-\udfff]")
_HOST = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?(?:\.[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?)*")
_ADDRESS = re.compile(r"\[[0-9a-f:.]+\]")
_LONE_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"%([0-9A-Fa-f]{2})")
_UNRESERVED = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_PATH_PLAIN = "!$&'()*+,;=:@/%"  # beside what never needs an escape
_QUERY_PLAIN = _PATH_PLAIN + "?"

_CAMPAIGN = re.compile(
    r"utm_\w+|gclid|gclsrc|dclid|gbraid|wbraid|fbclid|msclkid|yclid|twclid|igshid|mc_[ce]id|_gl|_hsenc|_hsmi"
    r"|spm|spm_id_from|scm|bd_vid|vd_source|isappinstalled",
    re.IGNORECASE,
)
_SHARED_FROM = frozenset({"timeline", "singlemessage", "groupmessage", "qrcode"})  # `from` is a word of many meanings
_SESSION = re.compile(
    r"phpsessid|jsessionid|aspsessionid\w*|session_?id|sessid|oscsid|zenid|cfid|cftoken", re.IGNORECASE
)
_SESSION_VALUE = re.compile(r"[0-9A-Za-z_-]{16,}")  # `sid=5` may be a station's
_SESSION_IN_PATH = re.compile(r";jsessionid=[^/;]*|/\([ASF]\([0-9a-z]{24}\)\)", re.IGNORECASE)


def normalise_url(url: str) -> str:
    """The form of an absolute address that its page's document has as its path: ASCII, at most `LONGEST_URL` long.

    Raises FetchFailed (`bad_url`, `url_too_long`).
    """
    if len(url) > _LONGEST_RAW:
        raise _refuse("url_too_long", url, f"has {len(url):,} characters")
    cleaned = _SURROGATES.sub("\ufffd", _BLANKS.sub("", url.strip(_EDGES)))
    before, mark, query = cleaned.partition("#")[0].partition("?")
    try:
        parts = urlsplit(before.replace("\\", "/") + mark + query)
        scheme, host, port = parts.scheme.lower(), parts.hostname, parts.port
    except ValueError as error:
        raise _refuse("bad_url", url, f"cannot be read ({error})") from None
    if scheme not in _PORTS or not host:
        raise _refuse("bad_url", url, "is no http:// or https:// address")
    if "@" in parts.netloc:
        raise FetchFailed("bad_url", "an address must not hold a user name or password", passing=False)
    place = _normalise_host(host, url) + ("" if port in (None, _PORTS[scheme]) else f":{port}")
    path = _normalise_path(_encode(parts.path, _PATH_PLAIN))
    query = "&".join(_iter_lasting(_encode(parts.query, _QUERY_PLAIN)))
    found = f"{scheme}://{place}{path}{'?' if query else ''}{query}"
    if len(found) > LONGEST_URL:
        raise _refuse("url_too_long", url, f"has {len(found):,} bytes, more than the {LONGEST_URL:,} of a path")
    return found


def find_key(url: str) -> str:
    """Equal for normalised addresses that are taken for the same page: `http` and `https`, with `www.` and without, the
    same parameters in another order."""
    place, _, query = url.partition("://")[2].partition("?")
    ordered = "&".join(sorted(query.split("&")))
    return f"{place.removeprefix('www.')}?{ordered}" if ordered else place.removeprefix("www.")


class Scope:
    """The site of some normalised addresses: their hosts and ports, `http` and `https` alike, `www.` or not."""

    def __init__(self, urls: Iterable[str]) -> None:
        self._places = frozenset(map(find_place, urls))

    def holds(self, url: str) -> bool:
        """Of a normalised address."""
        return find_place(url) in self._places


def find_place(url: str) -> str:
    """The host and port of a normalised address, the same with `www.` and without."""
    return url.partition("://")[2].partition("/")[0].removeprefix("www.")


def _normalise_host(host: str, url: str) -> str:
    found = host.rstrip(".").lower()
    if not found.isascii():
        try:
            found = idna.encode(found, uts46=True).decode("ascii").rstrip(".")
        except (idna.IDNAError, UnicodeError):
            raise _refuse("bad_url", url, "has a host that cannot be") from None
    if ":" in found:
        found = f"[{found}]"
    if len(found) > 253 or not (_HOST.fullmatch(found) or _ADDRESS.fullmatch(found)):
        raise _refuse("bad_url", url, "has a host that cannot be")
    return found


def _encode(text: str, plain: str) -> str:
    """What is not plain as %XX, needless escapes undone, the others in capitals; a lone % is one of itself."""
    found = quote(_LONE_PERCENT.sub("%25", text), safe=plain)
    return _ESCAPE.sub(_normalise_escape, found) if "%" in found else found


def _normalise_escape(escape: re.Match[str]) -> str:
    byte = int(escape[1], 16)
    return chr(byte) if byte in _UNRESERVED else f"%{byte:02X}"


def _normalise_path(path: str) -> str:
    """Until nothing changes: what stood around a session id may make one, and hide a `..`."""
    before = None
    while path != before:
        before, path = path, _resolve_dots(_SESSION_IN_PATH.sub("", path))
    return path


def _resolve_dots(path: str) -> str:
    """As browsers do: `..` never leads above the top, and one at the end leaves a `/`."""
    segments = path.removeprefix("/").split("/")
    found: list[str] = []
    for place, segment in enumerate(segments):
        if segment == "..":
            del found[-1:]
        elif segment != ".":
            found.append(segment)
            continue
        if place == len(segments) - 1:
            found.append("")
    return "/" + "/".join(found)


def _iter_lasting(query: str) -> Iterator[str]:
    for parameter in query.split("&"):
        name, _, value = parameter.partition("=")
        is_passing = (
            not parameter
            or _CAMPAIGN.fullmatch(name)
            or _SESSION.fullmatch(name)
            or (name.lower() == "sid" and _SESSION_VALUE.fullmatch(value))
            or (name.lower() == "from" and value.lower() in _SHARED_FROM)
        )
        if not is_passing:
            yield parameter


def _refuse(code: str, url: str, fault: str) -> FetchFailed:
    shown = re.split(r"[?#]", url[:200], maxsplit=1)[0]  # what is behind may be a secret
    return FetchFailed(code, f"the address {shown!r} {fault}", passing=False)
