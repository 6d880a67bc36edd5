"""gzip as a stream of bounded pieces. `gzip.GzipFile` reads a header's file name byte by byte, however long it is."""

from __future__ import annotations

import zlib
from typing import IO

from api.archives.entries import PIECE, ArchiveLimits, refuse_broken, refuse_bytes

_GZIP = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 100_000  # gzip streams in a row, as parallel packers write them; an empty one costs time all the same


class InflatedStream:
    """The unpacked bytes of a gzip file from where it stands. Every byte that comes out counts, read or skipped.

    Methods raise BadRequest: `archive_broken` for damage and for an end before the end, `archive_too_large`.
    """

    def __init__(self, file: IO[bytes], limits: ArchiveLimits) -> None:
        self._file = file
        self._limits = limits
        self._inflater = zlib.decompressobj(_GZIP)
        self._packed = b""
        self._members = 1
        self.left = limits.bytes

    def read(self, size: int) -> bytes:
        """Up to `size` bytes, fewer only at the end."""
        pieces = bytearray()
        while len(pieces) < size and (piece := self._inflate(size - len(pieces))):
            pieces += piece
        return bytes(pieces)

    def skip(self, size: int) -> None:
        """Pass over `size` bytes that must be there."""
        if size > self.left:
            raise refuse_bytes(self._limits)
        while size:
            piece = self._inflate(min(size, PIECE))
            if not piece:
                raise refuse_broken("it ends in the middle of a file")
            size -= len(piece)

    def _inflate(self, most: int) -> bytes:
        """At least one byte, empty at the end."""
        while True:
            if not self._packed:
                self._packed = self._file.read(PIECE)
            if self._inflater.eof and not self._begin_member():
                return b""
            try:
                piece = self._inflater.decompress(self._packed, most)
            except zlib.error:
                raise refuse_broken("its compressed bytes are damaged") from None
            at_end = not self._packed
            self._packed = self._inflater.unconsumed_tail or self._inflater.unused_data
            if piece:
                self.left -= len(piece)
                if self.left < 0:
                    raise refuse_bytes(self._limits)
                return piece
            if at_end and not self._inflater.eof:
                raise refuse_broken("it was cut short")

    def _begin_member(self) -> bool:
        """Another gzip stream may follow, or zeros that fill a tape's block; False at the end."""
        self._packed = self._packed.lstrip(b"\0")
        while not self._packed:
            piece = self._file.read(PIECE)
            if not piece:
                return False
            self._packed = piece.lstrip(b"\0")
        self._members += 1
        if self._members > _MOST_MEMBERS:
            raise refuse_broken("it is made of too many pieces")
        self._inflater = zlib.decompressobj(_GZIP)
        return True
