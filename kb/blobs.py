"""Content-addressed files: `blobs/<aa>/<sha256>` for uploaded bytes, `texts/<aa>/<sha256>` for extracted texts.

A file is written to a temporary name, flushed, fsynced, renamed and its folder fsynced *before* any row names it, so
that a row never points at bytes that a power cut can take. Files are immutable; names never come from input.
"""

from __future__ import annotations

import errno
import hashlib
import os
import secrets
import tempfile
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from threading import Lock
from typing import IO, BinaryIO

from kb import crash
from kb.errors import Gone, InvalidInput, Unavailable
from kb.ports import TextSource


def fsync_folder(folder: Path) -> None:
    """Make renames inside `folder` durable."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def raise_for_disk(error: OSError) -> None:
    """Turn 'no space', 'quota' and 'read-only' into Unavailable (`disk_full`); other errors pass."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS):
        raise Unavailable(
            "disk_full", "the data directory cannot take more bytes; free some space and try again"
        ) from error


class BlobWriter:
    """One file on its way in. Use as a context manager; leaving it without `commit` removes the temporary file."""

    def __init__(self, store: BlobStore, limit: int | None) -> None:
        self._store = store
        self._limit = limit
        self._digest = hashlib.sha256()
        self.temporary = store.root / "tmp" / secrets.token_hex(16)
        self._file: BinaryIO | None = self.temporary.open("wb")
        self.size = 0
        self.head = b""  # the first 8 KiB, for sniffing

    def write(self, data: bytes) -> None:
        """Raises InvalidInput (`too_large`) past the limit, Unavailable (`disk_full`)."""
        assert_open(self._file)
        self.size += len(data)
        if self._limit is not None and self.size > self._limit:
            raise InvalidInput("too_large", f"the file is larger than {self._limit} bytes")
        if len(self.head) < 8192:
            self.head += data[: 8192 - len(self.head)]
        self._digest.update(data)
        try:
            self._file.write(data)  # type: ignore[union-attr]  # checked above
        except OSError as error:
            raise_for_disk(error)
            raise
        crash.reach("up.mid_write")

    def seal(self) -> str:
        """End writing: the bytes are on the disk, still under the temporary name. Their SHA-256 (hex).

        An upload of many files seals each as it ends, side by side with receiving the next, and has the store adopt
        all of them together once nothing can be refused any more. Raises Unavailable (`disk_full`).
        """
        assert_open(self._file)
        try:
            self._file.flush()  # type: ignore[union-attr]  # checked above
            crash.reach("up.pre_fsync")
            os.fsync(self._file.fileno())  # type: ignore[union-attr]
        except OSError as error:
            raise_for_disk(error)
            raise
        self._file.close()  # type: ignore[union-attr]
        self._file = None
        return self._digest.hexdigest()

    def commit(self) -> str:
        """Make the bytes durable under their SHA-256 (hex) and return it. Raises Unavailable (`disk_full`)."""
        sha256 = self.seal()
        self._store.adopt({sha256: self.temporary})
        return sha256

    def __enter__(self) -> BlobWriter:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            with suppress(OSError):  # on a full disk closing fails as writing did; the file goes all the same
                self._file.close()
            self._file = None
        self.temporary.unlink(missing_ok=True)


def assert_open(handle: BinaryIO | None) -> None:
    """Guard against use after commit: a programming error, hence no KbError."""
    if handle is None:
        raise ValueError("this file is already committed or closed")


class BlobStore:
    """Immutable files by SHA-256 below `root`. Thread- and process-safe: equal content meets in one name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "tmp").mkdir(parents=True, exist_ok=True)

    def open_writer(self, limit: int | None = None) -> BlobWriter:
        """`limit` in bytes."""
        return BlobWriter(self, limit)

    def open_scratch(self) -> IO[bytes]:
        """A file without a name, for bytes that are read again soon; it is gone once closed, whatever happens.

        Raises Unavailable (`disk_full`).
        """
        try:
            return tempfile.TemporaryFile(dir=self.root / "tmp")
        except OSError as error:
            raise_for_disk(error)
            raise

    def put(self, data: bytes) -> str:
        """Store `data`, return its SHA-256."""
        sha256 = hashlib.sha256(data).hexdigest()
        if not self.exists(sha256):
            with self.open_writer() as writer:
                writer.write(data)
                writer.commit()
        return sha256

    def adopt(self, sealed: Mapping[str, Path]) -> None:
        """Give sealed temporary files, by SHA-256, their final names, durably; each folder is fsynced once.

        Raises Unavailable (`disk_full`).
        """
        folders: set[Path] = set()
        try:
            for sha256, temporary in sealed.items():
                target = self.path(sha256)
                if not target.parent.exists():
                    target.parent.mkdir(exist_ok=True)
                    folders.add(self.root)
                crash.reach("up.pre_rename")
                temporary.replace(target)
                crash.reach("up.post_rename")
                folders.add(target.parent)
            for folder in folders:
                fsync_folder(folder)
        except OSError as error:
            raise_for_disk(error)
            raise

    def path(self, sha256: str) -> Path:
        return self.root / sha256[:2] / sha256

    def exists(self, sha256: str) -> bool:
        return self.path(sha256).exists()

    def open(self, sha256: str) -> BinaryIO:
        """Raises Gone (`content_gone`)."""
        try:
            return self.path(sha256).open("rb")
        except FileNotFoundError:
            raise Gone("content_gone", f"the bytes {sha256[:12]}… are no longer kept") from None

    def remove(self, sha256: str) -> None:
        """Unlink; absent is fine."""
        crash.reach("gc.unlink")
        self.path(sha256).unlink(missing_ok=True)

    def iter_names(self) -> Iterator[tuple[str, float]]:
        """Every stored SHA-256 with its age in seconds."""
        now = time.time()
        for folder in sorted(self.root.iterdir()):
            if folder.name == "tmp" or not folder.is_dir():
                continue
            for entry in os.scandir(folder):
                with suppress(FileNotFoundError):  # purged since it was listed
                    yield entry.name, now - entry.stat().st_mtime

    def iter_temporary(self) -> Iterator[tuple[Path, float]]:
        """Unfinished files with their age in seconds; a crash leaves them behind."""
        now = time.time()
        for entry in os.scandir(self.root / "tmp"):
            with suppress(FileNotFoundError):  # finished since it was listed
                yield Path(entry.path), now - entry.stat().st_mtime


class TextStore:
    """Extracted texts as UTF-8 files by the SHA-256 of their bytes, the last few kept decoded in memory.

    Implements `kb.ports.TextSource`. `cache_characters` bounds the memory: CPython keeps Chinese at 2 bytes each.
    """

    def __init__(self, root: Path, cache_characters: int = 8_000_000) -> None:
        self.blobs = BlobStore(root)
        self._cache: OrderedDict[str, str] = OrderedDict()
        self._room = cache_characters
        self._used = 0
        self._lock = Lock()

    def put_text(self, text: str) -> str:
        """Store `text` durably, return its `text_sha`."""
        return self.blobs.put(text.encode("utf-8"))

    def read_text(self, text_sha: str) -> str:
        """Raises Gone (`text_gone`) when it is no longer kept."""
        with self._lock:
            cached = self._cache.get(text_sha)
            if cached is not None:
                self._cache.move_to_end(text_sha)
                return cached
        try:
            text = self.blobs.path(text_sha).read_bytes().decode("utf-8")
        except FileNotFoundError:
            raise Gone("text_gone", f"the extracted text {text_sha[:12]}… is no longer kept") from None
        self._remember(text_sha, text)
        return text

    def forget(self, text_sha: str) -> None:
        """Drop a purged text from memory."""
        with self._lock:
            text = self._cache.pop(text_sha, None)
            self._used -= len(text) if text is not None else 0

    def _remember(self, text_sha: str, text: str) -> None:
        if len(text) > self._room:
            return
        with self._lock:
            if text_sha in self._cache:
                return
            self._cache[text_sha] = text
            self._used += len(text)
            while self._used > self._room:
                _, dropped = self._cache.popitem(last=False)
                self._used -= len(dropped)


class LastText:
    """The text that was read last, held for rows that come one document after another: what TextStore does not
    remember, because it is too long, is not read anew for each of a document's ten thousand chunks.

    Belongs to one thread; whoever is done with the rows lets go of it.
    """

    def __init__(self, source: TextSource) -> None:
        self._source = source
        self._text_sha = ""
        self._text = ""

    def read_text(self, text_sha: str) -> str:
        """Raises Gone (`text_gone`) when it is no longer kept."""
        if text_sha != self._text_sha:
            self._text = self._source.read_text(text_sha)
            self._text_sha = text_sha
        return self._text
