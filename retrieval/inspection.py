"""Looking at sealed generations without touching them: for `kb check`. Loading one sets aside what it finds damaged."""

from __future__ import annotations

from pathlib import Path

from kb.types import Head
from retrieval.generations import find_space_folder, list_revisions
from retrieval.manifest import Unfit, find_changed, read_manifest


def find_damage(directory: Path, kb_id: str, head: Head, epoch: str) -> dict[int, str]:
    """Revisions of the live space whose generation cannot be used, each with the reason. Reads every file once."""
    folder = find_space_folder(directory, kb_id, head.space_id)
    damage: dict[int, str] = {}
    for revision in list_revisions(folder):
        try:
            _verify_generation(folder, revision, (epoch, kb_id, head.space_id, revision, head.dimension))
        except Unfit as unfit:
            if (folder / f"{revision}.manifest.json").exists():  # else a newer one has replaced it meanwhile
                damage[revision] = str(unfit)
    return damage


def _verify_generation(folder: Path, revision: int, expected: tuple[str, str, int, int, int]) -> None:
    manifest = read_manifest(folder / f"{revision}.manifest.json")
    if (manifest.epoch, manifest.kb, manifest.space, manifest.revision, manifest.dimension) != expected:
        raise Unfit("manifest: foreign")
    if (damage := find_changed(folder, manifest.files)) is not None:
        raise Unfit(f"{damage.name}: {damage.fault}")
