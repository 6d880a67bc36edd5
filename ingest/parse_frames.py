"""What a parse child and its owner say to each other: frames of plain bytes, never pickle, for the child reads hostile
files and must not be able to make its owner run anything.

    frame    = 8 bytes of length, big endian, then so many bytes
    request  = one frame of JSON: path, media_type, reader, and for an encrypted PDF its password; or, for the links of
               a web page, its url and content_type, and one frame of the page itself
    begins   = one frame of JSON before each page that OCR reads, so that its time is not the file's
    reply    = one frame of JSON (everything but the text), one frame of UTF-8 (the text; of links none); of what cannot
               be read: code, detail and the verdict on each page that was looked at, and no text
"""

from __future__ import annotations

import json
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ingest.web.page import LONGEST_URL, MOST_LINKS, PageLinks
from kb.errors import DocumentFailed
from kb.types import Heading, Page, PageVerdict, ParsedDocument

LENGTH = struct.Struct(">Q")
MOST_HEAD_BYTES = 32 * 1024 * 1024
LONGEST_CODE = 64  # characters
LONGEST_DETAIL = 500
_NAMED = ("title", "language", "encoding", "date")


class BadFrame(ValueError):
    """The other side does not keep to the format."""


def pack_frame(payload: bytes) -> bytes:
    return LENGTH.pack(len(payload)) + payload


def pack_json(value: Mapping[str, Any]) -> bytes:
    return pack_frame(json.dumps(value, ensure_ascii=True, separators=(",", ":")).encode())


def unpack_json(payload: bytes) -> dict[str, Any]:
    """Raises BadFrame."""
    try:
        value = json.loads(payload)
    except (ValueError, RecursionError) as error:
        raise BadFrame("not JSON") from error
    if not isinstance(value, dict):
        raise BadFrame("not an object")
    return value


@dataclass(frozen=True, kw_only=True, slots=True)
class ParseRequest:
    """Which file a child is to read, and how; `reader` is the `module:Class` of a LlamaIndex reader where one is,
    `password` that of an encrypted PDF."""

    path: Path
    media_type: str
    reader: str | None = None
    password: str | None = field(default=None, repr=False)

    def pack(self) -> bytes:
        told = {"media_type": self.media_type, "reader": self.reader, "password": self.password}
        return pack_json({"path": str(self.path.absolute()), **told})

    @classmethod
    def unpack(cls, payload: bytes) -> ParseRequest:
        """Raises BadFrame for what is no JSON object."""
        told = unpack_json(payload)
        rest = {name: told[name] for name in ("media_type", "reader", "password")}
        return cls(path=Path(told["path"]), **rest)


@dataclass(frozen=True, kw_only=True, slots=True)
class LinksRequest:
    """The page whose links a child is to read. It is given its bytes: nothing of it need be on disk yet."""

    body: bytes
    content_type: str | None
    url: str

    def pack(self) -> bytes:
        return pack_json({"url": self.url, "content_type": self.content_type}) + pack_frame(self.body)

    @classmethod
    def unpack(cls, payload: bytes, read_next: Callable[[], bytes]) -> LinksRequest | None:
        """None when something else is asked for. Raises BadFrame."""
        told = unpack_json(payload)
        if "url" not in told:
            return None
        return cls(body=read_next(), content_type=told["content_type"], url=told["url"])


def describe_document(document: ParsedDocument) -> dict[str, Any]:
    """Everything but the text."""
    return {
        "pages": [[page.number, page.start, page.end, page.verdict.value] for page in document.pages],
        "headings": [[item.start, item.end, item.level, item.title] for item in document.headings],
        "title": document.title,
        "language": document.language,
        "encoding": document.encoding,
        "date": document.date,
    }


def read_document(head: Mapping[str, Any], payload: bytes) -> ParsedDocument:
    """The document a child described, every offset checked. Raises BadFrame."""
    try:
        text = payload.decode()
        pages = tuple(
            Page(number=_whole(number), start=_whole(start), end=_whole(end), verdict=PageVerdict(verdict))
            for number, start, end, verdict in head["pages"]
        )
        headings = tuple(
            Heading(start=_whole(start), end=_whole(end), level=_whole(level), title=_words(title))
            for start, end, level, title in head["headings"]
        )
        named = {key: None if head[key] is None else _words(head[key]) for key in _NAMED}
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame("not a document") from error
    spans = [(page.start, page.end) for page in pages] + [(heading.start, heading.end) for heading in headings]
    if "\x00" in text or not all(0 <= start <= end <= len(text) for start, end in spans):
        raise BadFrame("offsets outside the text, or NUL in it")
    return ParsedDocument(text=text, pages=pages, headings=headings, **named)


def describe_links(links: PageLinks) -> dict[str, Any]:
    flags = {"nofollow": links.nofollow, "noindex": links.noindex}
    return {"links": list(links.links), "canonical": links.canonical, **flags}


def read_page_links(head: Mapping[str, Any], _: bytes) -> PageLinks:
    """The links a child tells, each checked to be an address that may be asked for. Raises BadFrame."""
    links, canonical = head.get("links"), head.get("canonical")
    if not isinstance(links, list) or len(links) > MOST_LINKS:
        raise BadFrame("no list of links")
    nofollow, noindex = head.get("nofollow"), head.get("noindex")
    if not isinstance(nofollow, bool) or not isinstance(noindex, bool):
        raise BadFrame("flags that are none")
    told = None if canonical is None else _address(canonical)
    return PageLinks(links=tuple(map(_address, links)), canonical=told, nofollow=nofollow, noindex=noindex)


def describe_failure(failure: DocumentFailed) -> dict[str, Any]:
    return {"code": failure.code, "detail": failure.detail, "verdicts": [one.value for one in failure.verdicts]}


def read_failure(head: Mapping[str, Any], most_pages: int) -> DocumentFailed | None:
    """Why there is no document, where a child says so. Pages are told by their place: no number of it is believed.

    Raises BadFrame.
    """
    code, detail, verdicts = head.get("code"), head.get("detail"), head.get("verdicts", [])
    if not isinstance(code, str) or not isinstance(detail, str):
        return None
    if not isinstance(verdicts, list) or len(verdicts) > most_pages:
        raise BadFrame("no list of verdicts")
    try:
        told = [PageVerdict(one) for one in verdicts]
    except ValueError as error:
        raise BadFrame("not a verdict") from error
    return DocumentFailed(_words(code)[:LONGEST_CODE], _words(detail)[:LONGEST_DETAIL], verdicts=told)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise BadFrame("not a whole number")
    return value


def _address(value: object) -> str:
    if not isinstance(value, str) or len(value) > LONGEST_URL or not value.startswith(("http://", "https://")):
        raise BadFrame("not an address")
    return _words(value)


def _words(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise BadFrame("not text")
    return value.encode("utf-8", errors="replace").decode()
