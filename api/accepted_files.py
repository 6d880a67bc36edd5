"""The files of one upload: what of them is accepted, each under a temporary name until all of them are kept.

One bad file never refuses the others: it stands in `rejected` with its code. Each file is fsynced by a pool while the
next one still comes in.
"""

from __future__ import annotations

from collections.abc import Collection
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass

from kb.blobs import BlobStore, BlobWriter
from kb.catalog.uploads import UploadedFile
from kb.document_path import check_path
from kb.errors import InvalidInput
from kb.media_type import sniff_media_type

MOST_SEALING = 64  # files whose fsync is still under way; more would be open files and memory without a gain


@dataclass(kw_only=True, slots=True)
class IncomingFile:
    """A file on its way in; whoever closes `held` drops it."""

    path: str
    writer: BlobWriter
    held: ExitStack
    readers: Collection[str] = ()

    def find_media_type(self) -> str:
        """Raises InvalidInput (`file_empty`, `type_mismatch`, `unsupported_type`)."""
        if self.writer.size == 0:
            raise InvalidInput("file_empty", "the file is empty")
        return sniff_media_type(self.path, self.writer.head, self.readers)


@dataclass(frozen=True, kw_only=True, slots=True)
class _SealedFile:
    path: str
    media_type: str
    writer: BlobWriter
    sha256: Future[str]


class AcceptedFiles:
    """`file_bytes` is the most that one file may have; `readers` are extensions that the operator gave to readers."""

    def __init__(self, blobs: BlobStore, file_bytes: int, sealers: Executor, *, readers: Collection[str] = ()) -> None:
        self.rejected: list[dict[str, str]] = []
        self.file_bytes = file_bytes
        self._blobs = blobs
        self._sealers = sealers
        self._readers = readers
        self._seen: set[str] = set()
        self._sealed: list[_SealedFile] = []
        self._temporaries = ExitStack()

    def __bool__(self) -> bool:
        return bool(self._sealed)

    def open_file(self, name: str) -> IncomingFile:
        """Raises InvalidInput (`bad_path`, `duplicate_path`)."""
        path = check_path(name)
        if path in self._seen:
            raise InvalidInput("duplicate_path", "the request holds this path already; the first one is taken")
        self._seen.add(path)
        held = ExitStack()
        writer = held.enter_context(self._blobs.open_writer(self.file_bytes))
        return IncomingFile(path=path, writer=writer, held=held, readers=self._readers)

    def accept(self, file: IncomingFile) -> None:
        """Raises InvalidInput (`file_empty`, `type_mismatch`, `unsupported_type`); the file is the caller's then."""
        media_type = file.find_media_type()
        file.writer.head = b""  # thousands of them are memory
        self._temporaries.push(file.held.pop_all())
        waiting = len(self._sealed) - MOST_SEALING
        if waiting >= 0:
            self._sealed[waiting].sha256.result()
        sha256 = self._sealers.submit(file.writer.seal)
        self._sealed.append(_SealedFile(path=file.path, media_type=media_type, writer=file.writer, sha256=sha256))

    def reject(self, path: str, fault: InvalidInput) -> None:
        self.rejected.append({"path": path[:1024], "code": fault.code, "detail": fault.detail})

    def keep(self) -> list[UploadedFile]:
        """Make the accepted files durable under their final names. Raises Unavailable (`disk_full`)."""
        by_sha = {sealed.sha256.result(): sealed.writer.temporary for sealed in self._sealed}
        self._blobs.adopt(by_sha)
        return [_describe(sealed) for sealed in self._sealed]

    def close(self) -> None:
        """Remove what is left under temporary names."""
        for sealed in self._sealed:
            if not sealed.sha256.cancel():
                sealed.sha256.exception()  # waits: its file must not be closed under it
        self._temporaries.close()


def _describe(sealed: _SealedFile) -> UploadedFile:
    return UploadedFile(
        path=sealed.path, sha256=sealed.sha256.result(), size=sealed.writer.size, media_type=sealed.media_type
    )
