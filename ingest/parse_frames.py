"""What a parse child and its owner say to each other: frames of plain bytes, never pickle, for the child reads hostile
files and must not be able to make its owner run anything.

    frame    = 8 bytes of length, big endian, then so many bytes
    request  = one frame of JSON: path, media_type
    begins   = one frame of JSON before each page that OCR reads, so that its time is not the file's
    reply    = one frame of JSON (everything but the text), one frame of UTF-8 (the text)
"""

from __future__ import annotations

import json
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kb.types import Heading, Page, PageVerdict, ParsedDocument

LENGTH = struct.Struct(">Q")
MOST_HEAD_BYTES = 32 * 1024 * 1024


class BadFrame(ValueError):
    """The other side does not keep to the format."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Failure:
    """Why there is no document. `code` is a DocumentFailed code."""

    code: str
    detail: str


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


def describe_document(document: ParsedDocument) -> dict[str, Any]:
    """Everything but the text."""
    return {
        "pages": [[page.number, page.start, page.end, page.verdict.value] for page in document.pages],
        "headings": [[item.start, item.end, item.level, item.title] for item in document.headings],
        "title": document.title,
        "language": document.language,
        "encoding": document.encoding,
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
        named = {key: None if head[key] is None else _words(head[key]) for key in ("title", "language", "encoding")}
    except (KeyError, TypeError, ValueError) as error:
        raise BadFrame("not a document") from error
    spans = [(page.start, page.end) for page in pages] + [(heading.start, heading.end) for heading in headings]
    if "\x00" in text or not all(0 <= start <= end <= len(text) for start, end in spans):
        raise BadFrame("offsets outside the text, or NUL in it")
    return ParsedDocument(text=text, pages=pages, headings=headings, **named)


def _whole(value: object) -> int:
    if type(value) is not int or value < 0:
        raise BadFrame("not a whole number")
    return value


def _words(value: object) -> str:
    if not isinstance(value, str) or "\x00" in value:
        raise BadFrame("not text")
    return value.encode("utf-8", errors="replace").decode()
