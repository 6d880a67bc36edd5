"""A body without its content coding, never held larger than it may be.

The decoders of HTTP clients inflate whatever has arrived at once: 64 KB of a gzip bomb are 66 MB. Here each step has a
bound.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Iterator

from kb.errors import FetchFailed

STEP = 1 << 16
GZIP = 16 + zlib.MAX_WBITS
MOST_RATIO = 200  # a page of nothing but table rows comes to 50; a bomb to 1,030
RATIO_FROM = 1_000_000  # bytes; what is smaller cannot hurt
CODINGS = frozenset({"gzip", "x-gzip", "deflate"})


def read_body(parts: Iterable[bytes], coding: str, most: int) -> bytes:
    """All of `parts`, which are coded so (`""` for not at all). Raises FetchFailed (`fetch_too_large`,
    `fetch_broken`)."""
    if coding in {"", "identity"}:
        return _collect(parts, most)
    if coding not in CODINGS:
        raise FetchFailed(
            "fetch_broken", f"the answer is coded as {coding[:40]!a}, which was not asked for", passing=False
        )
    try:
        return _Inflater(coding, most).read(parts)
    except zlib.error:
        raise FetchFailed("fetch_broken", f"the answer is not the {coding} that it says it is", passing=False) from None


def refuse_size(most: int) -> FetchFailed:
    return FetchFailed(
        "fetch_too_large", f"the answer is larger than {most:,} bytes (KB_FETCH_MAX_BYTES)", passing=False
    )


def _collect(parts: Iterable[bytes], most: int) -> bytes:
    body = bytearray()
    for part in parts:
        body += part
        if len(body) > most:
            raise refuse_size(most)
    return bytes(body)


class _Inflater:
    """gzip, with as many members as there are, and deflate with or without its zlib header."""

    def __init__(self, coding: str, most: int) -> None:
        self._is_gzip = coding != "deflate"
        self._most = most
        self._body = bytearray()
        self._received = 0
        self._engine = zlib.decompressobj(GZIP if self._is_gzip else zlib.MAX_WBITS)

    def read(self, parts: Iterable[bytes]) -> bytes:
        for part in self._join_head(parts):
            self._received += len(part)
            self._take(part)
        while self._received and not self._engine.eof and self._step(b""):
            pass  # what the last step had no room for
        if self._received and not self._engine.eof:
            raise FetchFailed("fetch_broken", "the answer ends in the middle of what it compressed", passing=True)
        return bytes(self._body)

    def _join_head(self, parts: Iterable[bytes]) -> Iterator[bytes]:
        """The same bytes, the first two together: they say which kind of deflate it is."""
        head = b""
        for part in parts:
            head += part
            if len(head) < 2:
                continue
            if not self._received and not self._is_gzip and not _has_zlib_header(head):
                self._engine = zlib.decompressobj(-zlib.MAX_WBITS)
            yield head
            head = b""
        if head:
            yield head

    def _take(self, part: bytes) -> None:
        while part:
            if self._engine.eof:
                if not self._is_gzip or not part.strip(b"\0"):
                    return  # what stands after the end is padding, or nobody's
                self._engine = zlib.decompressobj(GZIP)
            self._step(part)
            part = self._engine.unused_data or self._engine.unconsumed_tail

    def _step(self, part: bytes) -> int:
        """Bytes that came of it."""
        made = self._engine.decompress(part, STEP)
        self._body += made
        size = len(self._body)
        if size > self._most:
            raise refuse_size(self._most)
        if size > RATIO_FROM and size > MOST_RATIO * self._received:
            fault = f"the answer unpacks to more than {MOST_RATIO} times its size"
            raise FetchFailed("fetch_too_large", fault, passing=False)
        return len(made)


def _has_zlib_header(begun: bytes) -> bool:
    return begun[0] & 0x0F == 8 and int.from_bytes(begun[:2], "big") % 31 == 0
