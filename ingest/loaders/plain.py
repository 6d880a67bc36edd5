"""Plain text in any encoding."""

from __future__ import annotations

import re
from pathlib import Path

from ingest.loaders.decoding import DecodedText, decode_as
from ingest.loaders.limits import LoadLimits
from kb.errors import DocumentFailed
from kb.text import clean_text, detect_language
from kb.types import Page, PageVerdict, ParsedDocument

# Controls a text may hold: tab, line ends, form feed, escape (terminal colours).
_NOISE = re.compile("[\x00-\x08\x0e-\x1a\x1c-\x1f\x7f-\x9f\ufffd\ufffe\uffff]")
_VISIBLE = re.compile("[^\\s\x00-\x1f\x7f-\x9f\u200b-\u200f\u2060\ufeff]")
_MOST_NOISE = 0.10
_MOST_BYTES = 4  # a character takes at most so many bytes


def load_plain(path: Path, limits: LoadLimits, charset: str | None = None) -> ParsedDocument:
    """One page with the whole text. `charset` is what its server said of it.

    Raises DocumentFailed: `not_text` when more than a tenth is control characters or undecodable, `no_text`,
    `text_too_large`.
    """
    decoded = read_text(path, limits, charset)
    text = clean_text(decoded.text)
    return ParsedDocument(text=text, pages=whole_page(text), language=detect_language(text), encoding=decoded.encoding)


def read_text(path: Path, limits: LoadLimits, charset: str | None = None) -> DecodedText:
    """The decoded file, checked to be text, to hold some, and to be within limits."""
    if path.stat().st_size > limits.max_characters * _MOST_BYTES:
        limits.check_characters(path.stat().st_size // _MOST_BYTES)
    decoded = decode_as(path.read_bytes(), charset)
    limits.check_characters(len(decoded.text))
    noise = len(_NOISE.findall(decoded.text))
    if noise > _MOST_NOISE * len(decoded.text):
        share = round(100 * noise / len(decoded.text))
        raise DocumentFailed("not_text", f"{share} % of the file is control characters or cannot be decoded")
    check_has_text(decoded.text)
    return decoded


def check_has_text(text: str) -> None:
    """Raises DocumentFailed (`no_text`) when `text` is only white space and invisible characters."""
    if not has_text(text):
        raise DocumentFailed("no_text", "the file holds no text")


def has_text(text: str) -> bool:
    return _VISIBLE.search(text) is not None


def whole_page(text: str) -> tuple[Page, ...]:
    return (Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED),)
