"""The markup of a page of HTML: its characters, and whether it can be read in reasonable time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ingest.loaders.decoding import DecodedText, decode_as
from kb.errors import DocumentFailed
from kb.text import clean_text

if TYPE_CHECKING:
    from resiliparse.parse.html import HTMLTree

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,30})", re.IGNORECASE)
_META_WITHIN = 4096
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})(?=[\s/>])[^>]{0,2000}?(/?)>")
_NEVER_CLOSED = frozenset(
    {"area", "base", "br", "col", "embed", "hr", "img", "input", "link", "meta", "param", "source", "track", "wbr"}
    | {"p", "li", "td", "tr", "th", "dt", "dd", "option"}
)
# Parsers look for each attribute among those before it: a tag of a million takes them minutes.
_LONG_TAG = re.compile(r"<[a-zA-Z][^<>]{100000,}")
_MOST_ATTRIBUTES = 50_000
_DEPTH_FOR_TRAFILATURA = 200
_DEEPEST = 10_000


def read_markup(data: bytes, charset: str | None = None) -> DecodedText:
    """`decode_markup`, cleaned as every text is."""
    decoded = decode_markup(data, charset)
    return DecodedText(text=clean_text(decoded.text), encoding=decoded.encoding)


def decode_markup(data: bytes, charset: str | None = None) -> DecodedText:
    """Markup as it stands. `charset` is what the page's server said; `<meta>` and the bytes themselves follow.

    None of them is believed where the bytes speak against it: a byte order mark, UTF-8 throughout, everyday Chinese in
    another code page.
    """
    found = _META_CHARSET.search(data[:_META_WITHIN])
    meta = found[1].decode("ascii", errors="replace") if found else None
    return decode_as(data, charset, meta)


def parse_page(markup: str) -> HTMLTree:
    """lexbor's tree, which any text gives.

    Raises MemoryError where memory runs out, and it fails by nothing else: some thousands of `<b>`, each with another
    attribute, in turn with `<p>` are millions of elements, for every paragraph opens all of them before it once more.
    """
    from resiliparse.parse.html import HTMLParserException, HTMLTree

    try:
        return HTMLTree.parse(markup)
    except HTMLParserException as error:
        raise MemoryError(str(error)) from error


def is_deep(markup: str) -> bool:
    """Whether libxml2 would drop text of it. Raises DocumentFailed (`parse_limit`) when nothing reads it in time."""
    depth = _measure_depth(markup)
    if depth > _DEEPEST:
        raise DocumentFailed("parse_limit", f"elements are nested {depth:,} deep; at most {_DEEPEST:,} are read")
    check_attributes(markup)
    return depth > _DEPTH_FOR_TRAFILATURA


def check_attributes(markup: str) -> None:
    """Raises DocumentFailed (`parse_limit`)."""
    if any(len(found[0].split()) > _MOST_ATTRIBUTES for found in _LONG_TAG.finditer(markup)):
        raise DocumentFailed("parse_limit", f"a tag has more than {_MOST_ATTRIBUTES:,} attributes")


def _measure_depth(markup: str) -> int:
    """Deepest nesting of elements that must be closed; an upper bound that costs one pass over the tags."""
    depth = deepest = 0
    for closing, name, empty in _TAG.findall(markup):
        if empty or name.lower() in _NEVER_CLOSED:
            continue
        if closing:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest
