"""Brings the bytes of a source's files into the store: sniffed, hashed and durable before a row names them."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from ingest.sources.folder import ListedFile
from ingest.sources.reading import copy_file
from kb.blobs import BlobStore, BlobWriter
from kb.errors import DocumentFailed, InvalidInput
from kb.media_type import sniff_media_type
from kb.types import SourceFile

SEALERS = 8  # threads that wait for the disk, not for the processor
# What a file that is as it was will be refused for again: it is no failure, and not looked at before it changes.
REFUSED_FOR_GOOD = {
    *("file_empty", "unsupported_type", "type_mismatch", "too_large"),
    *("bad_path", "duplicate_path", "link_outside", "link_broken", "special_file"),
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a file did not come in. `path` is relative to the source's root."""

    path: str
    code: str
    detail: str

    @property
    def is_skip(self) -> bool:
        return self.code in REFUSED_FOR_GOOD


@dataclass(frozen=True, kw_only=True, slots=True)
class Taken:
    """Files whose bytes are durable, and those that did not come in."""

    files: Sequence[SourceFile]
    faults: Sequence[Fault] = field(default=())


class FileIntake:
    """Takes files of one folder at a time. Thread-safe."""

    def __init__(self, blobs: BlobStore, max_file_bytes: int, *, readers: Collection[str] = ()) -> None:
        """`readers` are the extensions that the operator gave to readers."""
        self._blobs = blobs
        self._readers = readers
        self._max_file_bytes = max_file_bytes

    def take(self, root: Path, files: Sequence[ListedFile], name_document: Callable[[str], str]) -> Taken:
        """`name_document` makes a document's path of a relative one. A batch holds an open file each while it lasts.

        Raises Unavailable (`source_unavailable`, `disk_full`).
        """
        with ExitStack() as temporaries, ThreadPoolExecutor(SEALERS, thread_name_prefix="intake") as sealers:
            writers = [temporaries.enter_context(self._blobs.open_writer()) for _ in files]
            taken = list(sealers.map(lambda pair: self._take_one(root, *pair), zip(files, writers, strict=True)))
            good = {
                one.sha256: w.temporary for one, w in zip(taken, writers, strict=True) if isinstance(one, SourceFile)
            }
            self._blobs.adopt(good)
        return Taken(
            files=[_rename(one, name_document) for one in taken if isinstance(one, SourceFile)],
            faults=[one for one in taken if isinstance(one, Fault)],
        )

    def _take_one(self, root: Path, file: ListedFile, writer: BlobWriter) -> SourceFile | Fault:
        """The file under its relative path."""
        try:
            copied = copy_file(root, file, writer.write, max_bytes=self._max_file_bytes)
            if copied.size == 0:
                raise InvalidInput("file_empty", "the file is empty")
            media_type = sniff_media_type(file.path, copied.head, self._readers)
            sha256 = writer.seal()
        except (DocumentFailed, InvalidInput) as fault:
            return Fault(path=file.path, code=fault.code, detail=fault.detail)
        return SourceFile(path=file.path, sha256=sha256, size=copied.size, media_type=media_type, stat=copied.stat)


def _rename(file: SourceFile, name_document: Callable[[str], str]) -> SourceFile:
    return SourceFile(
        path=name_document(file.path),
        sha256=file.sha256,
        size=file.size,
        media_type=file.media_type,
        stat=file.stat,
    )
