"""tar.gz archives as a stream. The standard library reads the headers; what lies between them is read here.

`tarfile` itself takes a long name of two gigabytes into memory, and searches it with patterns whose time grows with the
square. So names are bounded, links and devices are never followed, and nothing is unpacked by name.
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO

from api.archives.entries import (
    PIECE,
    ArchiveEntry,
    ArchiveLimits,
    refuse_broken,
    refuse_entries,
    refuse_link,
    refuse_name,
    refuse_special,
    trim_path,
)
from api.archives.inflating import InflatedStream
from api.archives.names import choose_codecs, decode_name, show_name
from api.errors import BadRequest
from kb.errors import InvalidInput

_LONGEST_EXTENSION = 1_048_576  # bytes of a long name or of extended attributes
_MOST_EXTENSIONS = 8  # before one entry
_LONGEST_REST = 1_048_576  # what a tape's blocks leave after the end mark
_FILES = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_LINKS = (tarfile.SYMTYPE, tarfile.LNKTYPE)
_WITHOUT_BYTES = (*_LINKS, tarfile.DIRTYPE, tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE)
_PAX = (tarfile.XHDTYPE, tarfile.SOLARIS_XHDTYPE)
_EXTENSIONS = (*_PAX, tarfile.XGLTYPE, tarfile.GNUTYPE_LONGNAME, tarfile.GNUTYPE_LONGLINK)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Header:
    """What is said of an entry; `size` in bytes, `kind` as `tarfile` names them."""

    name: bytes
    kind: bytes
    size: int
    is_sparse: bool = False


def read_tar(file: IO[bytes], limits: ArchiveLimits) -> Iterator[ArchiveEntry]:
    """Every file of the archive.

    It is gone through once before the first one is given, so that a bomb, or damage at the end, is found before
    anything is stored. Raises BadRequest (`archive_broken`, `archive_too_large`, `unsupported_archive`).
    """
    file.seek(0)
    codecs = choose_codecs([header.name for header in _Tar(file, limits).iter_files()])
    file.seek(0)
    tar = _Tar(file, limits)
    for header in tar.iter_files():
        path = decode_name(header.name, codecs)
        fault = _find_fault(header)
        if path is None:
            path, fault = show_name(header.name, codecs), refuse_name()
        yield ArchiveEntry(path=trim_path(path), size=header.size, pieces=tar.iter_pieces(), fault=fault)


def _find_fault(header: _Header) -> InvalidInput | None:
    if header.kind in _LINKS:
        return refuse_link()
    return refuse_special() if header.kind not in _FILES or header.is_sparse else None


class _Tar:
    """One pass over the archive."""

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._stream = InflatedStream(file, limits)
        self._limits = limits
        self._content = 0  # bytes of the file at hand that are still to come

    def iter_files(self) -> Iterator[_Header]:
        """Everything but folders."""
        entries = 0
        while (header := self._read_entry(is_first=not entries)) is not None:
            entries += 1
            if entries > self._limits.entries:
                raise refuse_entries(self._limits)
            self._content = 0 if header.kind in _WITHOUT_BYTES else header.size
            padding = -self._content % tarfile.BLOCKSIZE
            if header.kind != tarfile.DIRTYPE and not header.name.endswith(b"/"):
                yield header
            self._stream.skip(self._content)
            self._stream.skip(padding)
        if len(self._stream.read(_LONGEST_REST)) == _LONGEST_REST:
            raise refuse_broken("there is more after its end")

    def iter_pieces(self) -> Iterator[bytes]:
        """The bytes of the file at hand."""
        while self._content:
            piece = self._stream.read(min(PIECE, self._content))
            if not piece:
                raise refuse_broken("it ends in the middle of a file")
            self._content -= len(piece)
            yield piece

    def _read_entry(self, *, is_first: bool) -> _Header | None:
        """The next header together with those that only complete it; None at the end."""
        extensions: list[tuple[bytes, bytes]] = []
        while (info := self._read_header(is_first=is_first and not extensions)) is not None:
            if info.type not in _EXTENSIONS:
                return _complete(info, extensions)
            if len(extensions) == _MOST_EXTENSIONS:
                break
            extensions.append((info.type, self._read_extension(info.size)))
        if extensions:
            raise refuse_broken("it has headers without a file")
        return None

    def _read_header(self, *, is_first: bool) -> tarfile.TarInfo | None:
        """None at the end, which some writers do not mark."""
        block = self._stream.read(tarfile.BLOCKSIZE)
        if not block.strip(b"\0") and len(block) in (0, tarfile.BLOCKSIZE):
            return None
        try:
            info = tarfile.TarInfo.frombuf(block, "utf-8", "surrogateescape")
        except tarfile.HeaderError:
            if is_first:
                raise BadRequest("unsupported_archive", "the content is compressed, but no tar archive") from None
            raise refuse_broken("a header is damaged") from None
        if info.size < 0:
            raise refuse_broken("a file has less than no bytes")
        return info

    def _read_extension(self, size: int) -> bytes:
        if size > _LONGEST_EXTENSION:
            raise refuse_broken("a name or attribute is longer than a megabyte")
        data = self._stream.read(size)
        self._stream.skip(-size % tarfile.BLOCKSIZE)
        return data


def _complete(info: tarfile.TarInfo, extensions: Sequence[tuple[bytes, bytes]]) -> _Header:
    """Raises BadRequest (`archive_broken`)."""
    name = info.name.encode("utf-8", "surrogateescape")
    header = _Header(name=name, kind=info.type, size=info.size)
    for kind, data in extensions:
        if kind == tarfile.GNUTYPE_LONGNAME:
            header = replace(header, name=data.partition(b"\0")[0])
        elif kind in _PAX:
            header = _apply_records(header, _read_records(data))
    return header


def _apply_records(header: _Header, records: Mapping[bytes, bytes]) -> _Header:
    size = records.get(b"size", b"")
    return _Header(
        name=records.get(b"path", header.name),
        kind=header.kind,
        size=int(size) if size.isdigit() and len(size) < 20 else header.size,
        is_sparse=header.is_sparse or any(key.startswith(b"GNU.sparse.") for key in records),
    )


def _read_records(data: bytes) -> Mapping[bytes, bytes]:
    """`length key=value` and a line end, one after the other. Raises BadRequest (`archive_broken`)."""
    records: dict[bytes, bytes] = {}
    place = 0
    while place < len(data) and data[place]:
        digits, space, _ = data[place : place + 20].partition(b" ")
        end = place + int(digits) if space and digits.isdigit() else 0
        key, found, value = data[place + len(digits) + 1 : end - 1].partition(b"=")
        if not found or data[end - 1 : end] != b"\n":
            raise refuse_broken("an attribute is damaged")
        records[key] = value
        place = end
    return records
