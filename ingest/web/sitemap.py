"""One sitemap: the pages, or the further sitemaps, that it lists, as it writes them.

XML, plain lines, and either of them packed by gzip, told by content. Read piece by piece and only as far as is asked
for. XML that declares entities is refused, nothing outside of it is ever looked up.
"""

from __future__ import annotations

import codecs
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from typing import Any
from xml.parsers import expat

from kb.errors import FetchFailed

MOST_BYTES = 50 * 1024 * 1024  # unpacked; what the protocol allows
_PIECE = 64 * 1024
_LONGEST_TOKEN = 1024 * 1024  # one tag or comment; expat reads a torn one from its beginning with each piece
_LONGEST_TEXT = 8_192  # characters of an address; the rest cannot make it one that is taken
_DEEPEST = 16
_PROLOG = 400  # bytes within which an encoding is declared
_GZIP = b"\x1f\x8b"
_BOMS = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_DECLARED = re.compile(rb"""<\?xml[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]+)""")
_NOT_EXPATS = {"gb2312": "gb18030", "gbk": "gb18030", "gb18030": "gb18030", "big5": "big5"}
_LISTS = {"urlset": "url", "sitemapindex": "sitemap"}
_ADDRESS = re.compile(r"https?://", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Entry:
    """`lastmod` word for word; `is_sitemap`: not a page but a list of more."""

    url: str
    lastmod: str | None = None
    is_sitemap: bool = False


def iter_entries(body: bytes) -> Iterator[Entry]:
    """In the order of the file. Raises FetchFailed (`sitemap_malformed`, `sitemap_too_large`) behind what could be
    read."""
    pieces = _iter_pieces(body)
    first = b""
    while len(first) < _PROLOG and (piece := next(pieces, b"")):
        first += piece
    if first.startswith(_BOMS) or first.removeprefix(codecs.BOM_UTF8).lstrip().startswith(b"<"):
        yield from _iter_xml(first, pieces)
    else:
        yield from _iter_lines(first, pieces)


def _iter_pieces(body: bytes) -> Iterator[bytes]:
    """Unpacked."""
    stream: Any = gzip.GzipFile(fileobj=BytesIO(body)) if body.startswith(_GZIP) else BytesIO(body)
    size = 0
    try:
        while piece := stream.read1(_PIECE):  # what stands before a torn end, too
            size += len(piece)
            if size > MOST_BYTES:
                raise FetchFailed(
                    "sitemap_too_large",
                    f"unpacks to more than {MOST_BYTES:,} bytes; the rest was not read",
                    passing=False,
                )
            yield piece
    except (EOFError, OSError, zlib.error) as error:
        raise _refuse(f"is no whole gzip file ({error})") from None


def _iter_lines(first: bytes, pieces: Iterator[bytes]) -> Iterator[Entry]:
    decoder = codecs.getincrementaldecoder("utf-8-sig")("replace")
    held = decoder.decode(first)
    while True:
        piece = next(pieces, None)
        *lines, held = re.split("\r\n|[\r\n]", held) if piece is not None else [*re.split("\r\n|[\r\n]", held), ""]
        for line in filter(None, map(str.strip, lines)):
            if not _ADDRESS.match(line):
                raise _refuse("is neither XML nor one address a line")
            yield Entry(line)
        if piece is None:
            return
        if len(held) > _LONGEST_TOKEN:
            raise _refuse("has a line without end")
        held += decoder.decode(piece)


def _iter_xml(first: bytes, pieces: Iterator[bytes]) -> Iterator[Entry]:
    declared = _DECLARED.search(first[:_PROLOG])
    codec = _NOT_EXPATS.get(declared[1].decode("ascii").lower()) if declared else None
    reading = _Reading("utf-8" if codec else None)
    decoder = codecs.getincrementaldecoder(codec)("replace") if codec else None
    piece: bytes | None = first
    while piece is not None:
        failure = reading.feed(decoder.decode(piece).encode() if decoder else piece)
        yield from reading.take()
        if failure is not None:
            raise failure
        piece = next(pieces, None)
    failure = reading.feed(b"", is_last=True)
    yield from reading.take()
    if failure is not None:
        raise failure


class _Reading:
    """The state of one XML file. `encoding` overrides what the file declares."""

    def __init__(self, encoding: str | None) -> None:
        parser = expat.ParserCreate(encoding, namespace_separator=" ")
        parser.buffer_text = True
        parser.StartElementHandler = self._open
        parser.EndElementHandler = self._close
        parser.CharacterDataHandler = self._hear
        parser.EntityDeclHandler = self._refuse_entity
        self._parser = parser
        self._fed = 0
        self._names: list[str] = []
        self._texts: dict[str, str] = {}
        self._found: list[Entry] = []

    def feed(self, piece: bytes, *, is_last: bool = False) -> FetchFailed | None:
        """What is wrong with the file, if anything is; entries before it are there to be taken."""
        try:
            self._parser.Parse(piece, is_last)
        except (expat.ExpatError, LookupError, ValueError) as error:  # the latter of encodings that expat does not know
            return _refuse(f"is no whole XML ({error})")
        except FetchFailed as error:
            return error
        self._fed += len(piece)
        if self._fed - self._parser.CurrentByteIndex > _LONGEST_TOKEN:
            return _refuse("has a tag without end")
        return None

    def take(self) -> list[Entry]:
        found, self._found = self._found, []
        return found

    def _open(self, name: str, attributes: dict[str, str]) -> None:
        del attributes
        local = name.rpartition(" ")[2]
        if not self._names and local not in _LISTS:
            raise _refuse(f"is a <{local[:50]}>, no <urlset> or <sitemapindex>")
        self._names.append(local)
        if len(self._names) > _DEEPEST:
            raise _refuse(f"is nested more than {_DEEPEST} deep")
        if len(self._names) == 2:
            self._texts = {}

    def _hear(self, text: str) -> None:
        """`<image:loc>` and the like stand deeper and are not heard."""
        if len(self._names) == 3 and self._names[1] == _LISTS[self._names[0]]:
            held = self._texts.get(self._names[2], "")
            self._texts[self._names[2]] = held + text[: _LONGEST_TEXT - len(held)]

    def _close(self, name: str) -> None:
        del name
        root, place = self._names[0], len(self._names)
        self._names.pop()
        url = self._texts.get("loc", "").strip()
        if place == 2 and url:
            self._found.append(Entry(url, self._texts.get("lastmod", "").strip() or None, root == "sitemapindex"))

    def _refuse_entity(self, *declared: object) -> None:
        del declared
        raise _refuse("declares entities")


def _refuse(fault: str) -> FetchFailed:
    return FetchFailed("sitemap_malformed", f"the sitemap {fault}", passing=False)
