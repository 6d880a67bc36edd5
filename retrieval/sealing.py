"""Writing a sealed generation of a knowledge base's indexes (`retrieval/generations.py` says what it consists of).

Every file is written under a temporary name, flushed, fsynced and renamed, the manifest last. What a sealer that died
left behind is swept by the next one.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path

from kb import crash
from kb.blobs import fsync_folder, raise_for_disk
from kb.errors import Conflict
from kb.ports import IndexFeed
from kb.types import Head, IndexRow
from retrieval.generations import (
    PARTS,
    find_space_folder,
    list_current,
    list_revisions,
    remove_generation,
    remove_path,
)
from retrieval.lexical import WorkingCopy, list_index_files
from retrieval.manifest import FileSeal, Manifest, seal_file
from retrieval.sealed import SIZES, DenseBuilder, Sizes, write_index
from retrieval.terms import name_form
from retrieval.unit_vectors import stack_vectors

KEPT = 2  # the newest generation, and one older for the case that the newest turns out bad


def seal_generation(
    feed: IndexFeed, kb_id: str, directory: Path, head: Head | None = None, sizes: Sizes = SIZES
) -> int:
    """Write a generation of the live space at its head, or of space and revision of `head`; answers with the revision.

    Runs in a worker process. A revision that is sealed already is left as it is. Raises NotFound
    (`knowledge_base_not_found`), Conflict (`seal_running`) while another process seals this space, Unavailable
    (`disk_full`).
    """
    head = head or feed.get_head(kb_id)
    folder = find_space_folder(directory, kb_id, head.space_id)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with _hold_folder(folder):
            _remove_outdated(folder)
            _sweep_leftovers(folder)
            if head.revision not in list_revisions(folder):
                _write_generation(feed, kb_id, head, folder, sizes)
            _remove_older(folder)
    except OSError as error:
        raise_for_disk(error)
        raise
    return head.revision


@contextmanager
def _hold_folder(folder: Path) -> Iterator[None]:
    """The folder's lock, freed by the kernel when the process dies."""
    with (folder / ".seal.lock").open("ab") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("seal_running", f"another process seals {folder.name}") from None
        yield


def _remove_outdated(folder: Path) -> None:
    for revision in set(list_revisions(folder)).difference(list_current(folder)):
        remove_generation(folder, revision)


def _sweep_leftovers(folder: Path) -> None:
    """Temporary files of a sealer that died, and parts whose manifest was never written. The lock is ours."""
    whole = {str(revision) for revision in list_revisions(folder)}
    for path in folder.iterdir():
        stem, _, kind = path.name.partition(".")
        if path.name.endswith(".tmp") or (kind in PARTS and stem not in whole):
            remove_path(path)


def _write_generation(feed: IndexFeed, kb_id: str, head: Head, folder: Path, sizes: Sizes) -> None:
    epoch = feed.get_epoch()
    with closing(DenseBuilder(head.dimension, folder / f"{head.revision}.vectors.tmp", sizes)) as builder:
        rows = _feed_dense(feed.iter_rows(head.space_id, head.revision), builder)
        files = _write_lexical(rows, folder, head.revision)
        sealed = builder.finish()
    if builder.keeps_vectors:
        name = f"{head.revision}.vectors"
        files[name] = _keep_file(builder.spool, folder / name)
    name = f"{head.revision}.dense"
    files[name] = _write_file(folder / name, lambda write: write_index(sealed, write))
    ids = builder.dump_ids()
    name = f"{head.revision}.ids"
    files[name] = _write_file(folder / name, lambda write: write(ids))
    manifest = Manifest(
        epoch=epoch,
        kb=kb_id,
        space=head.space_id,
        revision=head.revision,
        count=len(builder),
        dimension=head.dimension,
        files=files,
        form=name_form(),
    )
    text = json.dumps(asdict(manifest), indent=1).encode()
    target = folder / f"{head.revision}.manifest.json"
    _write_file(target, lambda write: write(text), crash_at=("man.pre_rename", "man.post_rename"))


def _feed_dense(batches: Iterator[list[IndexRow]], builder: DenseBuilder) -> Iterator[list[IndexRow]]:
    """The batches as they pass by, their vectors added to `builder`: rows are read once for both indexes."""
    for number, rows in enumerate(batches):
        builder.add([row.chunk_id for row in rows], stack_vectors([row.vector for row in rows], builder.dimension))
        if number == 0:
            crash.reach("snap.half")
        yield rows


def _write_lexical(batches: Iterator[list[IndexRow]], folder: Path, revision: int) -> dict[str, FileSeal]:
    temporary, target = folder / f"{revision}.lexical.tmp", folder / f"{revision}.lexical"
    copy = WorkingCopy(temporary)
    copy.apply(batches)
    copy.settle()
    for path in temporary.glob(".*"):
        path.unlink()
    files = {f"{target.name}/{path.name}": seal_file(path, sync=True) for path in list_index_files(temporary)}
    fsync_folder(temporary)
    temporary.rename(target)
    fsync_folder(folder)
    return files


def _write_file(
    target: Path,
    produce: Callable[[Callable[[bytes], int]], object],
    *,
    crash_at: tuple[str, str] = ("snap.pre_rename", "snap.post_rename"),
) -> FileSeal:
    """Let `produce` write into a temporary file, make it durable, give it its name; the hash is taken on the way."""
    temporary = target.with_name(target.name + ".tmp")
    digest, size = hashlib.sha256(), 0
    with temporary.open("wb") as file:

        def write(data: bytes) -> int:
            nonlocal size
            digest.update(data)
            size += len(data)
            return file.write(data)

        produce(write)
        file.flush()
        crash.reach("snap.pre_fsync")
        os.fsync(file.fileno())
    crash.reach(crash_at[0])
    temporary.rename(target)
    fsync_folder(target.parent)
    crash.reach(crash_at[1])
    return FileSeal(size=size, sha256=digest.hexdigest())


def _keep_file(temporary: Path, target: Path) -> FileSeal:
    """Make a file that was written already durable under its name."""
    seal = seal_file(temporary, sync=True)
    temporary.rename(target)
    fsync_folder(target.parent)
    return seal


def _remove_older(folder: Path) -> None:
    for revision in list_revisions(folder)[KEPT:]:
        remove_generation(folder, revision)
