"""Sealed generations: what a server loads at start instead of reading every row. Always disposable: SQL is the truth.

    <directory>/<kb>/<space>/<revision>.dense          faiss index
    <directory>/<kb>/<space>/<revision>.ids            its chunk ids, int64
    <directory>/<kb>/<space>/<revision>.lexical/…      tantivy segments
    <directory>/<kb>/<space>/<revision>.manifest.json  size and SHA-256 of all these; written last: what it does not
                                                       name does not exist

Every file is written under a temporary name, flushed, fsynced and renamed. Before use each file is read once and
compared with the manifest, for the formats carry no checksum. What does not agree is renamed to `*.corrupt`, said once
in the log, and the next older generation or the rows take its place. One of tokens of another form than this process
makes (`retrieval.terms.name_form`) is sound, but nobody can ask it: it is removed and replaced likewise.
"""

from __future__ import annotations

import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path

from kb import crash
from kb.blobs import fsync_folder, raise_for_disk
from kb.errors import Conflict
from kb.ports import IndexFeed
from kb.types import Head, IndexRow
from retrieval.dense import DenseBuilder, SealedDense, read_sealed, stack_vectors
from retrieval.lexical import WorkingCopy, list_index_files
from retrieval.manifest import FileSeal, Manifest, Unfit, read_manifest, seal_file
from retrieval.terms import name_form

logger = logging.getLogger(__name__)

KEPT = 2  # the newest generation, and one older for the case that the newest turns out bad
MANIFEST = re.compile(r"(\d{1,19})\.manifest\.json")
KB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """A verified generation: the dense index in memory and the folder of lexical segments."""

    revision: int
    count: int
    dense: SealedDense
    lexical: Path


def find_kb_folder(directory: Path, kb_id: str) -> Path:
    """Raises ValueError for an id that is none, so that no path is ever made of what a caller sent."""
    if not KB_ID.fullmatch(kb_id):
        raise ValueError(f"{kb_id!r} is no id of a knowledge base")
    return directory / kb_id


def find_space_folder(directory: Path, kb_id: str, space_id: int) -> Path:
    return find_kb_folder(directory, kb_id) / str(space_id)


def list_revisions(folder: Path) -> list[int]:
    """Revisions that have a manifest, newest first."""
    names = [path.name for path in folder.iterdir()] if folder.is_dir() else []
    return sorted((int(found[1]) for name in names if (found := MANIFEST.fullmatch(name))), reverse=True)


def list_current(folder: Path) -> list[int]:
    """Revisions that have a manifest and are not known to be of tokens of another form, newest first."""
    return [revision for revision in list_revisions(folder) if not _is_outdated(folder, revision)]


def _is_outdated(folder: Path, revision: int) -> bool:
    """False also where the manifest cannot be read: loading will see to that."""
    try:
        return read_manifest(folder / f"{revision}.manifest.json").form != name_form()
    except Unfit:
        return False


# -- writing ------------------------------------------------------------------------------------------------------


def seal_generation(feed: IndexFeed, kb_id: str, directory: Path, head: Head | None = None) -> int:
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
                _write_generation(feed, kb_id, head, folder)
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
        if path.name.endswith(".tmp") or (kind in ("dense", "ids", "lexical") and stem not in whole):
            _remove_path(path)


def _remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _write_generation(feed: IndexFeed, kb_id: str, head: Head, folder: Path) -> None:
    epoch = feed.get_epoch()
    builder = DenseBuilder(head.dimension)
    files = _write_lexical(_feed_dense(feed.iter_rows(head.space_id, head.revision), builder), folder, head.revision)
    name = f"{head.revision}.dense"
    files[name] = _write_file(folder / name, builder.write_index)
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


def _remove_older(folder: Path) -> None:
    for revision in list_revisions(folder)[KEPT:]:
        remove_generation(folder, revision)


def remove_generation(folder: Path, revision: int) -> None:
    """The manifest goes first, so that a kill in between leaves only nameless parts. Open files live on."""
    for kind in ("manifest.json", "dense", "ids", "lexical"):
        _remove_path(folder / f"{revision}.{kind}")


# -- reading ------------------------------------------------------------------------------------------------------


class Outdated(Exception):
    """This generation is of tokens of another form. Never leaves this module."""


def load_generation(directory: Path, kb_id: str, head: Head, epoch: str) -> Generation | None:
    """The newest usable generation up to the head's revision, or None. Unusable ones are set aside, outdated ones
    removed, and either is logged once."""
    folder = find_space_folder(directory, kb_id, head.space_id)
    for revision in list_revisions(folder):
        if revision > head.revision:
            continue  # sealed since the head was read: the next look will see it
        try:
            return _read_generation(folder, revision, kb_id, head, epoch)
        except Outdated:
            with suppress(FileNotFoundError, PermissionError):  # another process is at it, or it is not ours
                remove_generation(folder, revision)
            logger.info("index.generation_outdated", extra={"kb_id": kb_id, "revision": revision})
        except Unfit as unfit:
            if (folder / f"{revision}.manifest.json").exists():  # else it was removed while we read it
                _set_aside(folder, revision)
                found = {"kb_id": kb_id, "revision": revision, "reason": str(unfit)}
                logger.warning("index.generation_set_aside", extra=found)
    return None


def _read_generation(folder: Path, revision: int, kb_id: str, head: Head, epoch: str) -> Generation:
    manifest = read_manifest(folder / f"{revision}.manifest.json")
    found = (manifest.epoch, manifest.kb, manifest.space, manifest.revision, manifest.dimension)
    if found != (epoch, kb_id, head.space_id, revision, head.dimension):
        raise Unfit("manifest: foreign")
    if manifest.form != name_form():
        raise Outdated
    if not {f"{revision}.dense", f"{revision}.ids", f"{revision}.lexical/meta.json"} <= manifest.files.keys():
        raise Unfit("manifest: incomplete")
    for name, seal in manifest.files.items():
        try:
            same = seal_file(folder / name) == seal
        except OSError:
            same = False
        if not same:
            raise Unfit(f"{name}: lost or changed")
    try:
        dense = read_sealed(folder / f"{revision}.dense", folder / f"{revision}.ids", head.dimension)
    except (ValueError, OSError) as error:
        raise Unfit(f"{revision}.dense: unreadable") from error
    if len(dense.ids) != manifest.count:
        raise Unfit("manifest: another count")
    return Generation(revision=revision, count=manifest.count, dense=dense, lexical=folder / f"{revision}.lexical")


def _set_aside(folder: Path, revision: int) -> None:
    for kind in ("manifest.json", "dense", "ids", "lexical"):
        path = folder / f"{revision}.{kind}"
        target = path.with_name(path.name + ".corrupt")
        with suppress(FileNotFoundError, PermissionError):  # lost, or not ours to rename: it is not used either way
            _remove_path(target)
            path.rename(target)
