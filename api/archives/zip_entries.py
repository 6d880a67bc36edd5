"""ZIP archives, by the standard library, which is kept from believing too much.

A directory is read whole by `zipfile`, one object an entry: its size and its entries are bounded before that. Entries
that share bytes make a small file unpack to petabytes, or a long one be inflated ten thousand times: no honest archive
has more packed bytes than it is long. Of an entry never more is unpacked than it declares, so the sum is known.
"""

from __future__ import annotations

import os
import stat
import struct
import zlib
from collections.abc import Iterator, Sequence
from typing import IO
from zipfile import ZIP_DEFLATED, ZIP_STORED, BadZipFile, ZipFile, ZipInfo

from api.archives.entries import (
    PIECE,
    ArchiveEntry,
    ArchiveLimits,
    refuse_broken,
    refuse_bytes,
    refuse_entries,
    refuse_link,
    refuse_name,
    refuse_special,
    trim_path,
)
from api.archives.names import choose_codecs, decode_name, show_name
from kb.errors import InvalidInput

# What `zipfile` raises on archives that lie; EOFError and zlib.error come out of the packed bytes.
_BROKEN = (BadZipFile, EOFError, NotImplementedError, OverflowError, ValueError, struct.error, zlib.error)
_DIRECTORY_MARK = b"PK\x01\x02"  # before every entry of the directory
_DIRECTORY_BYTES = 4_096  # an entry's share: two names of 1,024 bytes, times and owners
_HEADER_BYTES = 30 + 46
_UTF8, _ENCRYPTED = 0x800, 0x1 | 0x40
_UNICODE_PATH = 0x7075


class _BoundedFile:
    """The archive as `zipfile` sees it: no read is larger than a directory may be, none gives more entries."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self.seek, self.tell, self.seekable = file.seek, file.tell, file.seekable

    def read(self, size: int = -1) -> bytes:
        """Raises BadRequest (`archive_too_large`)."""
        if size > self._limits.entries * _DIRECTORY_BYTES + PIECE:
            raise refuse_entries(self._limits)
        data = self._file.read(size)
        if data.startswith(_DIRECTORY_MARK) and data.count(_DIRECTORY_MARK) > self._limits.entries:
            raise refuse_entries(self._limits)
        return data

    def close(self) -> None:
        """The caller's file stays open."""


def read_zip(file: IO[bytes], limits: ArchiveLimits) -> Iterator[ArchiveEntry]:
    """Every file of the archive. Raises BadRequest (`archive_broken`, `archive_too_large`) before the first one."""
    size = file.seek(0, os.SEEK_END)
    try:
        archive = ZipFile(_BoundedFile(file, limits))
    except _BROKEN as error:
        raise refuse_broken(f"its directory is damaged ({type(error).__name__})") from None
    with archive:
        found = archive.infolist()
        if sum(info.file_size for info in found) > limits.bytes:
            raise refuse_bytes(limits)
        if sum(_count_bytes(info) for info in found) > size:
            raise refuse_broken("its entries overlap")
        codecs = choose_codecs([_get_raw_name(info) for info in found if _needs_guess(info)])
        for info in found:
            if not _is_folder(info):
                yield _describe(archive, info, codecs)


def _count_bytes(info: ZipInfo) -> int:
    """The least that an entry takes up: its bytes, and two headers with its name."""
    return info.compress_size + _HEADER_BYTES + 2 * len(_get_raw_name(info))


def _describe(archive: ZipFile, info: ZipInfo, codecs: Sequence[str]) -> ArchiveEntry:
    name = _read_name(info, codecs)
    fault = _find_fault(info)
    if name is None:
        name, fault = show_name(_get_raw_name(info), codecs), refuse_name()
    return ArchiveEntry(path=trim_path(name), size=info.file_size, pieces=_iter_pieces(archive, info), fault=fault)


def _find_fault(info: ZipInfo) -> InvalidInput | None:
    kind = _read_kind(info)
    if kind == stat.S_IFLNK:
        return refuse_link()
    if kind not in (0, stat.S_IFREG):
        return refuse_special()
    if info.flag_bits & _ENCRYPTED:
        return InvalidInput("archive_encrypted", "it is encrypted; pack it without a password")
    if info.compress_type not in (ZIP_STORED, ZIP_DEFLATED):
        return InvalidInput("archive_method", "it is packed by another method than deflate; pack it with the usual one")
    return None


def _is_folder(info: ZipInfo) -> bool:
    return info.orig_filename.endswith("/") or _read_kind(info) == stat.S_IFDIR


def _read_kind(info: ZipInfo) -> int:
    """The kind of a file in the upper half of its attributes, as Unix programs write it; 0 from others."""
    return stat.S_IFMT(info.external_attr >> 16)


def _iter_pieces(archive: ZipFile, info: ZipInfo) -> Iterator[bytes]:
    left = info.file_size
    try:
        with archive.open(info) as content:
            while piece := content.read(PIECE):
                left -= len(piece)
                yield piece
    except _BROKEN as error:
        raise _refuse_entry(type(error).__name__) from None
    if left:
        raise _refuse_entry("it is shorter than it says")


def _refuse_entry(reason: str) -> InvalidInput:
    return InvalidInput("archive_broken", f"its bytes in the archive are damaged ({reason})")


def _read_name(info: ZipInfo, codecs: Sequence[str]) -> str | None:
    """None when its bytes are no text."""
    if info.flag_bits & _UTF8:
        return info.orig_filename
    return _find_unicode_path(info) or decode_name(_get_raw_name(info), codecs)


def _needs_guess(info: ZipInfo) -> bool:
    return not info.flag_bits & _UTF8 and not info.orig_filename.isascii() and _find_unicode_path(info) is None


def _get_raw_name(info: ZipInfo) -> bytes:
    """`zipfile` reads every name without the UTF-8 flag as code page 437, which loses nothing."""
    return info.orig_filename.encode("utf-8" if info.flag_bits & _UTF8 else "cp437", "replace")


def _find_unicode_path(info: ZipInfo) -> str | None:
    """Info-ZIP's second name in UTF-8, believed while its checksum fits the first one."""
    for data in _iter_fields(info.extra, _UNICODE_PATH):
        if data[:1] == b"\x01" and data[1:5] == struct.pack("<I", zlib.crc32(_get_raw_name(info))):
            return decode_name(data[5:], ["utf-8"])
    return None


def _iter_fields(extra: bytes, wanted: int) -> Sequence[bytes]:
    """The data of the extra fields of one kind."""
    found = []
    while len(extra) >= 4:
        kind, length = struct.unpack_from("<HH", extra)
        if kind == wanted:
            found.append(extra[4 : 4 + length])
        extra = extra[4 + length :]
    return found
