"""Sealed generations: what a server loads at start instead of reading every row. Always disposable: SQL is the truth.

    <directory>/<kb>/<space>/<revision>.dense          faiss index
    <directory>/<kb>/<space>/<revision>.vectors        its rows, float16, where the index holds only codes of them
    <directory>/<kb>/<space>/<revision>.ids            its chunk ids, int64
    <directory>/<kb>/<space>/<revision>.lexical/…      tantivy segments
    <directory>/<kb>/<space>/<revision>.manifest.json  size and SHA-256 of all these; written last: what it does not
                                                       name does not exist

`retrieval/sealing.py` writes them. Before use each file is read once and
compared with the manifest, for the formats carry no checksum. What does not agree is renamed to `*.corrupt`, said once
in the log, and the next older generation or the rows take its place. One of tokens of another form than this process
makes (`retrieval.terms.name_form`) is sound, but nobody can ask it: it is removed and replaced likewise.
"""

from __future__ import annotations

import logging
import re
import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from kb.types import Head
from retrieval.manifest import Unfit, find_changed, read_manifest
from retrieval.sealed import SealedDense, read_sealed
from retrieval.terms import name_form

logger = logging.getLogger(__name__)

MANIFEST = re.compile(r"(\d{1,19})\.manifest\.json")
KB_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")
PARTS = ("dense", "vectors", "ids", "lexical")  # `vectors` only where the dense index holds codes of them


@dataclass(frozen=True, kw_only=True, slots=True)
class Generation:
    """A verified generation: the dense index, memory-mapped, and the folder of lexical segments."""

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


@dataclass(frozen=True, kw_only=True, slots=True)
class Sealed:
    """The newest generation that counts. `sealed_at` is in seconds since the epoch."""

    revision: int
    count: int
    sealed_at: float


def find_newest(folder: Path) -> Sealed | None:
    """The newest whose manifest can be read and whose tokens have the form of this process."""
    for revision in list_revisions(folder):
        path = folder / f"{revision}.manifest.json"
        with suppress(Unfit, OSError):  # damaged or removed meanwhile: the one before it counts
            manifest = read_manifest(path)
            if manifest.form == name_form():
                return Sealed(revision=revision, count=manifest.count, sealed_at=path.stat().st_mtime)
    return None


def _is_outdated(folder: Path, revision: int) -> bool:
    """False also where the manifest cannot be read: loading will see to that."""
    try:
        return read_manifest(folder / f"{revision}.manifest.json").form != name_form()
    except Unfit:
        return False


def remove_path(path: Path) -> None:
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def remove_generation(folder: Path, revision: int) -> None:
    """The manifest goes first, so that a kill in between leaves only nameless parts. Open files live on."""
    for kind in ("manifest.json", *PARTS):
        remove_path(folder / f"{revision}.{kind}")


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
    if (damage := find_changed(folder, manifest.files)) is not None:
        raise Unfit(f"{damage.name}: lost or changed")
    try:
        dense = read_sealed(folder, revision, head.dimension)
    except (ValueError, OSError) as error:
        raise Unfit(f"{revision}.dense: unreadable") from error
    if len(dense.ids) != manifest.count:
        raise Unfit("manifest: another count")
    return Generation(revision=revision, count=manifest.count, dense=dense, lexical=folder / f"{revision}.lexical")


def _set_aside(folder: Path, revision: int) -> None:
    for kind in ("manifest.json", *PARTS):
        path = folder / f"{revision}.{kind}"
        target = path.with_name(path.name + ".corrupt")
        with suppress(FileNotFoundError, PermissionError):  # lost, or not ours to rename: it is not used either way
            remove_path(target)
            path.rename(target)
