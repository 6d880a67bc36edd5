"""Second look at a PDF that pdfium cannot open: what mends it, and what it is encrypted with.

Measured on 25 sound files damaged in seven ways: pdfium itself rebuilds a lost or lying cross-reference table; what it
gives up on is a file cut short, whose trailer, and with it the name of the root object, is gone. pypdf alone reads
none of those either. So the trailer is written anew behind what is left; where pdfium still refuses, pypdf collects
the pages into a new file. Either way it is pdfium that reads the text, for pypdf reads Han without ToUnicode badly.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.loaders.limits import LoadLimits
from ingest.loaders.parsers import ask_parser
from kb.tokens import HAN

if TYPE_CHECKING:
    from pypdf import PageObject, PdfReader, PdfWriter

_MOST_BYTES = 64 * 1024 * 1024  # it is held in memory three times over
_MOST_CATALOGS = 20
_HEAD_BYTES = 1024  # a PDF says what it is within these
_OBJECT = re.compile(rb"(?<!\d)(\d{1,8})\s{1,3}(\d{1,5})\s{1,3}obj\b")
_PAGE_TREE = re.compile(rb"/Type\s{0,3}/Pages\b")
_PAGE_COUNT = re.compile(rb"/Count\s{1,3}(\d{1,8})\b")
_OBJECT_BYTES = 1024  # from the head of a catalog to its type
_BLANK = (612.0, 792.0)  # points: a page that could not be carried over keeps its place

# What is left of a text when the character maps of its fonts are lost: letters of scripts that nobody mixes, accented
# ones among Han, or hardly any letters at all. Sound pages of the same files stay under 0.005.
_IMPLAUSIBLE = re.compile(
    "[^!-~\u00a0-\u024f\u0370-\u03ff\u0400-\u04ff\u0590-\u06ff\u0900-\u097f\u0e00-\u0e7f\u2000-\u22ff\u2460-\u25ff"
    "\u3000-\u30ff\u4e00-\u9fff\uac00-\ud7af\uff00-\uffef]"
)
_ACCENTED = re.compile("[\u00aa\u00ba\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u024f]")
_FEWEST = 8  # characters that can be judged by
_MOST_IMPLAUSIBLE = 0.02
_LEAST_HAN = 0.2
_LEAST_LETTERS = 0.5


def iter_mended(path: Path, limits: LoadLimits) -> Iterator[bytes]:
    """Files that stand for this one, the likeliest first, made when asked for; none when nothing is to be had.

    Raises DocumentFailed (`too_many_pages`).
    """
    if path.stat().st_size > _MOST_BYTES:
        return
    data = path.read_bytes()
    if b"%PDF-" not in data[:_HEAD_BYTES]:
        return
    root = _find_root(data)
    if root is not None:
        data += b"\nendstream\nendobj\ntrailer\n<</Root %s>>\nstartxref\n0\n%%%%EOF\n" % root
        yield data
    rewritten = _rewrite_pages(data, limits)
    if rewritten is not None:
        yield rewritten


def is_misread(text: str) -> bool:
    """Whether the text of a page of a mended file is what fonts without their character maps give."""
    characters = re.sub(r"[\s.…]", "", text)  # a table of contents is full of leaders
    if len(characters) < _FEWEST:
        return False
    implausible = len(_IMPLAUSIBLE.findall(characters))
    if len(HAN.findall(characters)) > _LEAST_HAN * len(characters):
        implausible += len(_ACCENTED.findall(characters))
    letters = sum(map(str.isalnum, characters))
    return implausible > _MOST_IMPLAUSIBLE * len(characters) or letters < _LEAST_LETTERS * len(characters)


def describe_encryption(path: Path) -> str:
    """What it is encrypted with, as far as can be told: `AES-256`, `RC4, 128 bits`, …; empty when it cannot."""
    from pypdf import PdfReader
    from pypdf.errors import DependencyError

    def ask() -> str:
        try:
            return _name_cipher(PdfReader(path, strict=False))
        except DependencyError:  # it knows the cipher and lacks the library to try the empty password
            return "AES"

    return ask_parser(ask) or ""


def count_locked_pages(path: Path, limits: LoadLimits) -> int:
    """Pages of a file that only a password opens, where its page tree can be read: numbers are not encrypted, unless
    they lie in a packed object. 0 when it cannot be told, or is more than any file may have."""
    if path.stat().st_size > _MOST_BYTES:
        return 0
    trees = [one for one in path.read_bytes().split(b"endobj") if _PAGE_TREE.search(one)]
    counts = [int(count) for tree in trees for count in _PAGE_COUNT.findall(tree)]
    most = max(counts, default=0)
    return most if most <= limits.max_pages else 0


def _find_root(data: bytes) -> bytes | None:
    """The last catalog, as `number generation R`: a file that was added to has its newest one last."""
    end = len(data)
    for _ in range(_MOST_CATALOGS):
        end = data.rfind(b"/Catalog", 0, end)
        if end < 0:
            return None
        before = data[max(0, end - _OBJECT_BYTES) : end]
        found = list(_OBJECT.finditer(before))
        if found and b"endobj" not in before[found[-1].end() :]:
            return b"%s %s R" % found[-1].groups()
    return None


def _rewrite_pages(data: bytes, limits: LoadLimits) -> bytes | None:
    from pypdf import PdfReader, PdfWriter

    reader = ask_parser(lambda: PdfReader(BytesIO(data), strict=False))
    count = ask_parser(lambda: len(reader.pages)) if reader is not None else None
    if reader is None or count is None:
        return None
    limits.check_pages(count)
    pages = (ask_parser(partial(reader.pages.__getitem__, number)) for number in range(count))
    return ask_parser(lambda: _write_pages(PdfWriter(), pages))


def _write_pages(writer: PdfWriter, pages: Iterable[PageObject | None]) -> bytes:
    """Raises whatever pypdf raises."""
    for page in pages:
        if page is None or ask_parser(partial(writer.add_page, page)) is None:
            writer.add_blank_page(*_BLANK)
    target = BytesIO()
    writer.write(target)
    return target.getvalue()


def _name_cipher(reader: PdfReader) -> str:
    entry: Any = reader.trailer["/Encrypt"].get_object()
    if entry.get("/Filter") != "/Standard":
        return f"{str(entry.get('/Filter')).lstrip('/')[:40]}, made for named readers"
    stream_filter = entry.get("/CF", {}).get(entry.get("/StmF"), {}).get("/CFM")
    if stream_filter in {"/AESV2", "/AESV3"}:
        return "AES-128" if stream_filter == "/AESV2" else "AES-256"
    return f"RC4, {int(entry.get('/Length', 40))} bits"
