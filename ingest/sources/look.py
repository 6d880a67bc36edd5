"""A look at a source: its folder beside what the catalog knows of it. Writes nothing; a dry run is just this."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from functools import partial
from typing import Any

from ingest.sources.compare import Change, Plan, compare
from ingest.sources.folder import Listing, list_folder
from ingest.sources.reading import hash_file
from ingest.sources.registry import Roots
from ingest.sources.rules import FolderRules
from kb.catalog.catalog import Catalog
from kb.types import KnownFile, Source

MOST_TOLD = 1_000  # paths of each kind that a plan names


@dataclass(frozen=True, kw_only=True, slots=True)
class Look:
    """`kept_out` counts listed files that a user deleted as documents: they stay away."""

    source: Source
    listing: Listing
    known: Mapping[str, KnownFile]
    plan: Plan
    kept_out: int

    def name_document(self, path: str) -> str:
        """A document's path of one that is relative to the root."""
        return f"{self.source.name}/{path}"

    def list_wanted(self) -> list[str]:
        """Relative paths of the files to bring in."""
        moved = [move.added for move in self.plan.moved]
        return sorted(change.path for change in (*self.plan.added, *self.plan.changed, *moved))

    def list_gone(self) -> list[str]:
        """Ids of the documents that go, the old places of moved files among them."""
        gone = [*self.plan.removed, *(move.removed for move in self.plan.moved)]
        return [change.document_id for change in gone if change.document_id is not None]

    def measure_loss(self) -> tuple[int, int]:
        """How many documents that answer would vanish (a move is no loss), and how many answer."""
        gone = sum(change.sha256 is not None for change in self.plan.removed)
        return gone, sum(file.live_sha256 is not None for file in self.known.values())

    def list_changes(self) -> dict[str, list[Change]]:
        """By what happens to the document. One that failed so far and never answered is added, not changed."""
        fresh = [one for one in self.plan.changed if self.known[one.path].live_sha256 is None]
        return {
            "added": sorted([*self.plan.added, *fresh], key=lambda one: one.path),
            "changed": [one for one in self.plan.changed if self.known[one.path].live_sha256 is not None],
            "removed": list(self.plan.removed),
            "touched": list(self.plan.touched),
        }

    def count(self) -> dict[str, int]:
        counts = {name: len(changes) for name, changes in self.list_changes().items()}
        moved, unchanged = len(self.plan.moved), self.plan.unchanged
        return {**counts, "moved": moved, "unchanged": unchanged, "kept_out": self.kept_out}


def list_source(source: Source, roots: Roots) -> Listing:
    """What the source's folder holds now. Raises InvalidInput (`root_…`), Unavailable (`source_unavailable`)."""
    root = roots.check(source.uri)
    rules = FolderRules(include=source.include, exclude=source.exclude)
    return list_folder(root, rules, prefix=source.name)


def look_at(source: Source, listing: Listing, known: Mapping[str, KnownFile], now: datetime) -> Look:
    """Compare; files that may have changed are read. What a user deleted is left out on both sides."""
    deleted = {path for path, file in known.items() if file.deleted}
    if deleted:
        known = {path: file for path, file in known.items() if path not in deleted}
        files = {path: file for path, file in listing.files.items() if path not in deleted}
        kept_out = len(listing.files) - len(files)
        listing = replace(listing, files=files)
    else:
        kept_out = 0
    plan = compare(listing, known, partial(hash_file, listing.root), now)
    return Look(source=source, listing=listing, known=known, plan=plan, kept_out=kept_out)


class Planner:
    """Implements `kb.ports.SyncPlanner`."""

    def __init__(self, catalog: Catalog, roots: Roots, clock: Callable[[], datetime]) -> None:
        self._catalog = catalog
        self._roots = roots
        self._clock = clock

    def plan(self, source: Source) -> Mapping[str, Any]:
        listing = list_source(source, self._roots)
        look = look_at(source, listing, self._catalog.source_files.list_known(source.id), self._clock())
        plan = look.plan
        faults = [{"path": one.path, "code": one.code, "detail": one.detail} for one in plan.refused]
        detail = "these bytes failed and will be tried again later"
        faults += [{"path": one.path, "code": "retry_later", "detail": detail} for one in plan.failing]
        paths: dict[str, Any] = {name: _name(look, changes) for name, changes in look.list_changes().items()}
        paths["moved"] = [
            {"from": look.name_document(move.removed.path), "to": look.name_document(move.added.path)}
            for move in plan.moved[:MOST_TOLD]
        ]
        paths["failed"] = [{**one, "path": look.name_document(one["path"])} for one in faults[:MOST_TOLD]]
        return {**look.count(), "failed": len(faults), "paths": paths}


def _name(look: Look, changes: Sequence[Change]) -> list[str]:
    return [look.name_document(change.path) for change in changes[:MOST_TOLD]]
