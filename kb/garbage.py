"""Removing files that nothing names any more, and versions whose retention is over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TypeVar

from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.purge import Purged

SPARED_SECONDS = 3600  # files younger than this may belong to a request that has not recorded them yet
BATCH = 500
T = TypeVar("T")


class KeptFiles:
    """Implements `kb.catalog.purge.StoredFiles`."""

    def __init__(self, blobs: BlobStore, texts: TextStore) -> None:
        self._blobs = blobs
        self._texts = texts

    def remove_blob(self, sha256: str) -> None:
        self._blobs.remove(sha256)

    def remove_text(self, text_sha: str) -> None:
        self._texts.forget(text_sha)
        self._texts.blobs.remove(text_sha)


class Garbage:
    def __init__(self, catalog: Catalog, blobs: BlobStore, texts: TextStore) -> None:
        self._catalog = catalog
        self._blobs = blobs
        self._texts = texts
        self._files = KeptFiles(blobs, texts)

    def collect(self, purged: Purged) -> None:
        """Remove the files of purged versions at once, unless another version names them."""
        for text_sha in purged.text_shas:
            self._texts.forget(text_sha)
        self._catalog.purges.remove_unnamed(sorted(purged.sha256s), sorted(purged.text_shas), self._files)

    def sweep(self, retention_days: float, retention_revisions: int = 0) -> int:
        """Take out what a crash or the retention left behind; the number of files removed."""
        limit = datetime.now(UTC) - timedelta(days=retention_days)
        while (purged := self._catalog.purges.purge_expired(limit, retention_revisions)).versions:
            self.collect(purged)
        self._catalog.purges.forget_answers(limit)
        removed = 0
        for batch in _in_batches(_old_names(self._blobs)):
            removed += self._catalog.purges.remove_unnamed(batch, [], self._files)
        for batch in _in_batches(_old_names(self._texts.blobs)):
            removed += self._catalog.purges.remove_unnamed([], batch, self._files)
        for store in (self._blobs, self._texts.blobs):
            for path, age in list(store.iter_temporary()):
                if age > SPARED_SECONDS:
                    path.unlink(missing_ok=True)
                    removed += 1
        return removed


def _old_names(store: BlobStore) -> Iterator[str]:
    return (name for name, age in store.iter_names() if age > SPARED_SECONDS)


def _in_batches(items: Iterable[T]) -> Iterator[list[T]]:
    iterator = iter(items)
    while batch := list(islice(iterator, BATCH)):
        yield batch
