"""Zips that are documents: what may be opened at all, and what damage looks like.

The libraries unpack whole parts into memory and trust what they find, so a file is looked over before they see it.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from zipfile import ZipFile

from kb.errors import DocumentFailed

_OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1"
_ENCRYPTED_STREAM = "EncryptedPackage".encode("utf-16-le")
_ENCRYPTED = 1  # bit of an entry's flags
_MOST_BYTES = 500_000_000  # unpacked
_MOST_RATIO = 200  # unpacked to packed, from the next figure on
_FROM_BYTES = 100_000_000
_MOST_ENTRIES = 50_000
_MARKUP = (".xml", ".rels", ".vml")
_READ_AT_ONCE = 1 << 20
# A type declaration in UTF-8 and in UTF-16; Office must not write one, and entities are declared nowhere else.
_DECLARATION = re.compile(rb"<\0?!\0?D\0?O\0?C\0?T\0?Y\0?P\0?E")
_OVERLAP = 20


@contextmanager
def reading(kind: str) -> Iterator[None]:
    """Whatever breaks inside is the file's fault: zipfile, lxml and the readers of these formats let through what goes
    wrong in them, among it errors that derive from Exception alone (LZMAError, those of openpyxl) and StopIteration.

    Raises DocumentFailed (`file_malformed`, or what is raised inside), MemoryError, RecursionError.
    """
    try:
        yield
    except (DocumentFailed, MemoryError, RecursionError):
        raise
    except Exception as error:  # a stranger's code
        detail = f"this file is damaged or no {kind}: {type(error).__name__} while reading it"
        raise DocumentFailed("file_malformed", detail) from error


def check_office(path: Path, kind: str) -> None:
    """Let only a whole package pass whose parts declare no entities.

    Raises DocumentFailed: `file_encrypted`, `file_malformed`, `parse_limit`.
    """
    with path.open("rb") as file:
        if file.read(len(_OLE)) == _OLE:
            _refuse_ole(path, kind)
    with reading(kind), ZipFile(path) as archive:
        check_archive(archive)
        for entry in archive.infolist():
            if entry.filename.lower().endswith(_MARKUP) and _declares_type(archive, entry):
                raise DocumentFailed("file_malformed", "a part of this file declares entities, which Office never does")


def check_archive(archive: ZipFile) -> None:
    """Before anything is unpacked; zipfile itself never gives more bytes of an entry than are declared.

    Raises DocumentFailed: `file_encrypted`, `parse_limit`.
    """
    entries = archive.infolist()
    if len(entries) > _MOST_ENTRIES:
        raise DocumentFailed("parse_limit", f"{len(entries):,} parts; at most {_MOST_ENTRIES:,} are read")
    if any(entry.flag_bits & _ENCRYPTED for entry in entries):
        raise DocumentFailed("file_encrypted", "a password is needed to open this file")
    unpacked = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if unpacked > _MOST_BYTES or (unpacked > _FROM_BYTES and unpacked > _MOST_RATIO * packed):
        raise DocumentFailed(
            "parse_limit", f"it unpacks to {unpacked:,} bytes, {unpacked // max(1, packed):,} times its size"
        )


def _refuse_ole(path: Path, kind: str) -> None:
    if _ENCRYPTED_STREAM in path.read_bytes():
        raise DocumentFailed("file_encrypted", f"a password is needed to open this {kind}")
    raise DocumentFailed("file_malformed", f"this is a file of an old format, not a {kind}; save it as one")


def _declares_type(archive: ZipFile, entry: zipfile.ZipInfo) -> bool:
    """Reads the part whole, and so finds a damaged one as well."""
    tail = b""
    declares = False
    with archive.open(entry) as part:
        while block := part.read(_READ_AT_ONCE):
            declares = declares or _DECLARATION.search(tail + block) is not None
            tail = block[-_OVERLAP:]
    return declares
