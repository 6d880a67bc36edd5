"""The files of a folder, as documents to be: relative paths, sorted, packed into requests. Reads names and sizes."""

from __future__ import annotations

import errno
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

BATCH_FILES = 200
BATCH_BYTES = 32_000_000
CONTROL = re.compile(r"[\x00-\x1f\x7f]")  # a multipart header cannot carry them


@dataclass(frozen=True, kw_only=True, slots=True)
class LocalFile:
    """A regular file; `path` is the document's path, NFC with `/`; `place` is where its bytes are.

    `part` of the form takes it: `files`, or `archive` for one that the server is to unpack.
    """

    path: str
    place: str
    size: int
    part: str = "files"


@dataclass(frozen=True, kw_only=True, slots=True)
class Fault:
    """Why a file did not become a document. `code` is the server's, or one of `docs/command-line.md`."""

    path: str
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderListing:
    files: Sequence[LocalFile]
    faults: Sequence[Fault]


def list_folder(folder: Path, prefix: str = "") -> FolderListing:
    """Every regular file below `folder` in the order of its path. Hidden ones and links are left out.

    Faults are names that are not Unicode or that no form can carry (`bad_path`), files and folders that cannot be read
    (`file_unreadable`), and a second file whose path is the same after NFC (`duplicate_path`).
    """
    found: dict[str, LocalFile] = {}
    faults: list[Fault] = []
    start = unicodedata.normalize("NFC", prefix).strip("/")
    for item in _walk(str(folder), start):
        if isinstance(item, Fault):
            faults.append(item)
        elif item.path in found:
            faults.append(
                Fault(path=item.path, code="duplicate_path", detail="another file's name differs in its encoding only")
            )
        else:
            found[item.path] = item
    return FolderListing(files=[found[path] for path in sorted(found)], faults=faults)


def list_archive(archive: Path) -> FolderListing:
    """The archive alone: what is in it the server tells."""
    name = unicodedata.normalize("NFC", show_name(archive.name))
    if fault := _check_name(name, name):
        return FolderListing(files=[], faults=[fault])
    try:
        size = archive.stat().st_size
    except OSError as error:
        fault = Fault(path=name, code="file_unreadable", detail=describe_os_error(error))
        return FolderListing(files=[], faults=[fault])
    return FolderListing(files=[LocalFile(path=name, place=str(archive), size=size, part="archive")], faults=[])


def _walk(folder: str, prefix: str) -> Iterator[LocalFile | Fault]:
    stack = [(folder, prefix)]
    while stack:
        place, prefix = stack.pop()
        try:
            with os.scandir(place) as entries:
                listed = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            yield Fault(path=show_name(prefix) or ".", code="file_unreadable", detail=describe_os_error(error))
            continue
        for entry in listed:
            if entry.name.startswith(".") or entry.is_symlink():
                continue
            path = f"{prefix}/{entry.name}" if prefix else entry.name
            if fault := _check_name(path, entry.name):
                yield fault
                continue
            path = unicodedata.normalize("NFC", path)
            if entry.is_dir(follow_symlinks=False):
                stack.append((entry.path, path))
            elif entry.is_file(follow_symlinks=False):
                yield _measure(entry, path)


def _check_name(path: str, name: str) -> Fault | None:
    shown = show_name(path)
    if shown != path:
        return Fault(path=shown, code="bad_path", detail="the name is not UTF-8")
    if CONTROL.search(name):
        return Fault(path=path, code="bad_path", detail="the name holds control characters")
    return None


def _measure(entry: os.DirEntry[str], path: str) -> LocalFile | Fault:
    try:
        if not os.access(entry.path, os.R_OK):
            return Fault(path=path, code="file_unreadable", detail=os.strerror(errno.EACCES))
        return LocalFile(path=path, place=entry.path, size=entry.stat(follow_symlinks=False).st_size)
    except OSError as error:
        return Fault(path=path, code="file_unreadable", detail=describe_os_error(error))


def describe_os_error(error: OSError) -> str:
    return error.strerror or type(error).__name__


def show_name(name: str) -> str:
    """The name with bytes that are not UTF-8 as `\\xNN`."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def pack_batches(
    files: Sequence[LocalFile], *, most_files: int = BATCH_FILES, most_bytes: int = BATCH_BYTES
) -> list[list[LocalFile]]:
    """The files in order, cut into requests by count and bytes; a file larger than a request goes alone."""
    batches: list[list[LocalFile]] = []
    size = 0
    for file in files:
        if not batches or len(batches[-1]) == most_files or size + file.size > most_bytes:
            batches.append([])
            size = 0
        batches[-1].append(file)
        size += file.size
    return batches
