"""The bytes of a listed file, read once they hold still and never through a link.

Between listing and reading anything may be put in a file's place. So its path is opened a folder at a time, following
no link, and what stands at the end must be a regular file: then it lies under the root. It need not be the one that was
listed: editors save by putting a new file in the old one's place.
"""

from __future__ import annotations

import errno
import hashlib
import os
import stat as modes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from ingest.sources.folder import OPEN_FILE, OPEN_FOLDER, ListedFile, describe_stat, refuse_root
from kb.errors import DocumentFailed

TRIES = 3
PIECE = 1_048_576  # bytes read at a time
HEAD = 8_192
_GONE = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ESTALE}  # ELOOP: a link stands there now


@dataclass(frozen=True, kw_only=True, slots=True)
class CopiedFile:
    """What was read: SHA-256 in hex, bytes, the file's `stat` while it was read, and its first 8 KiB."""

    sha256: str
    size: int
    stat: str
    head: bytes


def hash_file(root: Path, file: ListedFile) -> str:
    """SHA-256 in hex. Raises as `copy_file`."""
    with _open_file(root, file) as descriptor:
        return _read_still(descriptor, file, None).sha256


def copy_file(
    root: Path, file: ListedFile, write: Callable[[bytes], object], *, max_bytes: int | None = None
) -> CopiedFile:
    """`write` gets the file's bytes in pieces, once: they are read and summed before, until that finds nothing changed
    meanwhile, so that a file somebody is writing to costs the receiver nothing.

    Raises DocumentFailed: `file_changing` three times over, `file_gone`, `file_unreadable`, `too_large`. Raises
    Unavailable (`source_unavailable`) when the root itself cannot be opened, and what `write` raises.
    """
    with _open_file(root, file) as descriptor:
        copied = _read_still(descriptor, file, max_bytes)
        digest = hashlib.sha256()
        for piece in _iter_pieces(descriptor, file):
            digest.update(piece)
            write(piece)
        if digest.hexdigest() != copied.sha256:
            raise _refuse_changing(file)
        return copied


@contextmanager
def _open_file(root: Path, file: ListedFile) -> Iterator[int]:
    try:
        folder = os.open(root, OPEN_FOLDER)
    except OSError as error:
        raise refuse_root(root, error.strerror) from error
    try:
        descriptor = _open_below(folder, file)
    finally:
        os.close(folder)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def _open_below(root: int, file: ListedFile) -> int:
    *folders, name = file.raw.split("/")
    place = os.dup(root)
    try:
        for folder in folders:
            inner = os.open(folder, OPEN_FOLDER, dir_fd=place)
            os.close(place)
            place = inner
        descriptor = os.open(name, OPEN_FILE, dir_fd=place)
    except OSError as error:
        raise _refuse(file, error) from error
    finally:
        os.close(place)
    if not modes.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise DocumentFailed("file_gone", f"{file.path} is no file any more")
    return descriptor


def _read_still(descriptor: int, file: ListedFile, max_bytes: int | None) -> CopiedFile:
    """Read until nothing changed meanwhile."""
    for _ in range(TRIES):
        before = os.fstat(descriptor)
        _check_size(before.st_size, file, max_bytes)
        digest, size, head = hashlib.sha256(), 0, b""
        for piece in _iter_pieces(descriptor, file):
            size += len(piece)
            _check_size(size, file, max_bytes)
            digest.update(piece)
            head = head or piece[:HEAD]
        stat = describe_stat(before)
        if size == before.st_size and describe_stat(os.fstat(descriptor)) == stat:
            return CopiedFile(sha256=digest.hexdigest(), size=size, stat=stat, head=head)
    raise _refuse_changing(file)


def _iter_pieces(descriptor: int, file: ListedFile) -> Iterator[bytes]:
    """From the beginning."""
    place = 0
    try:
        while piece := os.pread(descriptor, PIECE, place):
            place += len(piece)
            yield piece
    except OSError as error:
        raise _refuse(file, error) from error


def _check_size(size: int, file: ListedFile, max_bytes: int | None) -> None:
    if max_bytes is not None and size > max_bytes:
        raise DocumentFailed("too_large", f"{file.path} is larger than {max_bytes:,} bytes")


def _refuse_changing(file: ListedFile) -> DocumentFailed:
    return DocumentFailed("file_changing", f"{file.path} was written to each time it was read; it is tried again later")


def _refuse(file: ListedFile, error: OSError) -> DocumentFailed:
    if error.errno in _GONE:
        return DocumentFailed("file_gone", f"{file.path} is not where it was listed ({error.strerror})")
    return DocumentFailed("file_unreadable", f"{file.path} cannot be read ({error.strerror})")
