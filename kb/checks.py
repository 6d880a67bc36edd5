"""`kb check`: every invariant of a store, rows and files together. Reads only, and may run beside a server.

A file can come or go between the look at the rows and the look at the disk. What seems wrong is therefore asked for a
second time before it is reported.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from itertools import islice

from kb.blobs import BlobStore, TextStore
from kb.catalog.checks import check_catalog
from kb.catalog.database import Database
from kb.catalog.named_files import (
    A_PAGE,
    NamedFiles,
    count_versions,
    has_version,
    iter_named_files,
    list_unnamed_blobs,
    list_unnamed_texts,
)
from kb.findings import Finding, FindingLog, OnProgress

SPARED_SECONDS = 3600  # a younger file may belong to a request that has not recorded it yet

ListUnnamed = Callable[[Database, Sequence[str]], list[str]]


def show_nothing(step: str, done: int, total: int) -> None:
    """The `on_progress` of callers that do not show any."""


def check_store(
    database: Database,
    blobs: BlobStore,
    texts: TextStore,
    deep: bool,  # noqa: FBT001 - the one choice there is
    on_progress: OnProgress = show_nothing,
) -> list[Finding]:
    """What does not hold; empty for a healthy store. `deep` also reads every vector, every blob and every text.

    Raises Unavailable (`database_unavailable`).
    """
    found = FindingLog()
    check_catalog(database, found, deep, on_progress)
    findings = found.list_findings()
    if any(finding.code == "database_damaged" for finding in findings):
        return findings  # nothing that it says about files can be believed
    files = _FileChecks(database, blobs, texts, found)
    files.check_named(deep, on_progress)
    files.check_stored(on_progress)
    if deep:
        files.check_hashes(on_progress)
    return found.list_findings()


class _FileChecks:
    """The checks that look at the disk."""

    def __init__(self, database: Database, blobs: BlobStore, texts: TextStore, found: FindingLog) -> None:
        self._database = database
        self._blobs = blobs
        self._texts = texts.blobs
        self._found = found

    def check_named(self, deep: bool, on_progress: OnProgress) -> None:  # noqa: FBT001
        """Every file that a version names is there."""
        done, total = 0, count_versions(self._database)
        for page in iter_named_files(self._database):
            on_progress("files", done, total)
            for files in page:
                self._check_blob(files)
                self._check_text(files, deep)
            done += len(page)

    def check_stored(self, on_progress: OnProgress) -> None:
        """Every file that is there is named by a version, or young."""
        on_progress("unnamed files", 0, 1)
        self._check_unnamed(self._blobs, list_unnamed_blobs, "blob_unreferenced")
        self._check_unnamed(self._texts, list_unnamed_texts, "text_unreferenced")
        for store in (self._blobs, self._texts):
            for path, age in store.iter_temporary():
                if age > SPARED_SECONDS:
                    self._found.add(
                        "temporary_left",
                        f"{store.root.name}: the unfinished file {path.name} is {age / 3600:.1f} h old",
                    )
        on_progress("unnamed files", 1, 1)

    def check_hashes(self, on_progress: OnProgress) -> None:
        """Every blob holds the bytes it is named after."""
        total = sum(1 for _ in self._blobs.iter_names())
        for number, (name, _) in enumerate(self._blobs.iter_names()):
            on_progress("contents", number, total)
            digest = _hash_file(self._blobs, name)
            if digest not in (None, name):
                self._found.add("blob_hash_wrong", f"blob {name} holds other bytes")

    def _check_blob(self, files: NamedFiles) -> None:
        size = _read_size(self._blobs, files.sha256)
        if size == files.size or not has_version(self._database, files.version_id):
            return
        if size is None:
            self._found.add("blob_missing", f"version {files.version_id}: blob {files.sha256} is not there")
        else:
            fault = f"blob {files.sha256} has {size} bytes instead of {files.size}"
            self._found.add("blob_size_wrong", f"version {files.version_id}: {fault}")

    def _check_text(self, files: NamedFiles, deep: bool) -> None:  # noqa: FBT001
        if files.text_sha is None:
            return
        fault = self._find_text_fault(files.text_sha, files.text_end, deep)
        if fault is not None and has_version(self._database, files.version_id):
            code, detail = fault
            self._found.add(code, f"version {files.version_id}: text {files.text_sha} {detail}")

    def _find_text_fault(self, text_sha: str, text_end: int, deep: bool) -> tuple[str, str] | None:  # noqa: FBT001
        if not deep:
            return None if self._texts.exists(text_sha) else ("text_missing", "is not there")
        try:
            data = self._texts.path(text_sha).read_bytes()
        except FileNotFoundError:
            return "text_missing", "is not there"
        if hashlib.sha256(data).hexdigest() != text_sha:
            return "text_hash_wrong", "holds other characters"
        length = len(data.decode("utf-8"))
        if text_end > length:
            return "text_too_short", f"has {length} characters, its pages or chunks reach to {text_end}"
        return None

    def _check_unnamed(self, store: BlobStore, list_unnamed: ListUnnamed, code: str) -> None:
        old = (name for name, age in store.iter_names() if age > SPARED_SECONDS)
        while batch := list(islice(old, A_PAGE)):
            for name in list_unnamed(self._database, batch):
                if store.exists(name):
                    self._found.add(code, f"no version names {store.root.name}/{name[:2]}/{name}")


def _read_size(store: BlobStore, sha256: str) -> int | None:
    try:
        return store.path(sha256).stat().st_size
    except FileNotFoundError:
        return None


def _hash_file(store: BlobStore, sha256: str) -> str | None:
    try:
        with store.path(sha256).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except FileNotFoundError:
        return None
