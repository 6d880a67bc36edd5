"""Nights of a folder source over a real catalog and a real folder: edit, sync, look at what is there."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from fakes.kills import work_off
from fakes.store import Store

from ingest.sources.intake import FileIntake
from ingest.sources.registry import Roots
from ingest.sources.sync import FolderSync
from kb.catalog.sources import NewSource
from kb.ports import Gate
from kb.types import Job, Source, SourceKind

FIRST_NIGHT = datetime(2026, 3, 1, 2, 30, tzinfo=UTC)
NAME = "团队 docs"


@dataclass(kw_only=True)
class Nights:
    """One source of `store` over `folder`. The clock moves by a day with each run."""

    store: Store
    folder: Path
    gate: Gate | None = None
    now: datetime = FIRST_NIGHT
    source: Source = field(init=False)

    def __post_init__(self) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        new = NewSource(kb_id=self.store.kb.id, name=NAME, kind=SourceKind.FOLDER, uri=str(self.folder))
        self.source = self.store.catalog.sources.create(new)

    # -- the folder -----------------------------------------------------------------------------------------------

    def write(self, files: Mapping[str, str]) -> None:
        for path, text in files.items():
            target = self.folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")

    def move(self, old: str, new: str) -> None:
        (self.folder / new).parent.mkdir(parents=True, exist_ok=True)
        (self.folder / old).rename(self.folder / new)

    def remove(self, *paths: str) -> None:
        for path in paths:
            target = self.folder / path
            shutil.rmtree(target) if target.is_dir() else target.unlink()

    def touch(self, path: str) -> None:
        """The same bytes with another time."""
        os.utime(self.folder / path, ns=(0, 0))

    def read(self) -> dict[str, str]:
        """What the folder says, by the paths that its documents have."""
        files = (path for path in self.folder.rglob("*") if path.is_file() and not path.name.startswith("."))
        return {f"{NAME}/{path.relative_to(self.folder)}": path.read_text("utf-8") for path in files}

    # -- the run --------------------------------------------------------------------------------------------------

    @property
    def sync(self) -> FolderSync:
        roots = Roots(allowed=[self.folder.parent], data_dir=self.store.folder.root)
        intake = FileIntake(self.store.blobs, 1_000_000)
        return FolderSync(self.store.catalog, self.store.indexer, intake, roots, self.gate)

    def request(self, **wishes: object) -> str:
        return self.store.catalog.sources.request_sync(self.source.id, **wishes)

    def run(self, is_stopping: Callable[[], bool] = lambda: False, **wishes: object) -> Job:
        """One night: request, claim, run; the job as it ended, or as it was given back."""
        self.now += timedelta(days=1)
        job_id = self.request(**wishes)
        self.work(is_stopping)
        return self.store.catalog.jobs.get(job_id)

    def work(self, is_stopping: Callable[[], bool] = lambda: False) -> None:
        """Take up whatever job waits, as a worker does; errors that a worker does not know come out."""
        work_off(self.store, self.sync, self.now, is_stopping)

    def embedded(self) -> list[str]:
        """Strings embedded since this was last asked."""
        found = list(self.store.encoder.embedded)
        self.store.encoder.embedded.clear()
        return found

    def visible(self) -> dict[str, str]:
        return self.store.list_visible_texts()


def count(job: Job) -> dict[str, Any]:
    """The counts of a result that are not nought."""
    names = ("added", "changed", "moved", "removed", "touched", "unchanged", "failed", "skipped")
    result = job.result or {}
    return {name: result[name] for name in names if result.get(name)}
