"""Making and changing sources: root, schedule and time zone are checked before anything is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path
from typing import Any

from ingest.sources.cron import check_schedule, check_timezone, find_next
from ingest.sources.roots import check_root, make_absolute
from ingest.sources.rules import FolderRules
from ingest.sources.schedule import Clock
from kb.catalog.sources import NewSource, Sources
from kb.types import Source


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """Where folder sources may lie, and the data directory, where they may not."""

    allowed: Sequence[Path]
    data_dir: Path

    def check(self, uri: str) -> Path:
        """The folder with every link followed. Raises InvalidInput as `check_root` does."""
        return check_root(uri, self.allowed, self.data_dir)


class SourceRegistry:
    def __init__(self, sources: Sources, roots: Roots, clock: Clock) -> None:
        self._sources = sources
        self._roots = roots
        self._clock = clock

    def create(self, new: NewSource) -> Source:
        """Raises InvalidInput (`bad_glob`, `bad_schedule`, `bad_timezone`, `bad_uri`, `root_…`), Conflict, NotFound."""
        FolderRules(include=new.include, exclude=new.exclude)
        checked = replace(new, **self._check({"uri": new.uri, "schedule": new.schedule, "timezone": new.timezone}))
        return self._sources.create(replace(checked, next_run=self._plan(checked.schedule, checked.timezone)))

    def change(self, source: Source, changes: Mapping[str, Any]) -> Source:
        """`changes` may hold `uri`, `include`, `exclude`, `schedule` (None: no longer) and `timezone`.

        Raises InvalidInput as `create` does, NotFound.
        """
        FolderRules(include=changes.get("include", ()), exclude=changes.get("exclude", ()))
        return self._sources.update(source.id, self._check(changes), self._plan)

    def _check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        checked = dict(given)
        if checked.get("schedule") is not None:
            checked["schedule"] = check_schedule(checked["schedule"])
        if "timezone" in checked:
            checked["timezone"] = check_timezone(checked["timezone"])
        if "uri" in checked:
            self._roots.check(checked["uri"])
            checked["uri"] = make_absolute(checked["uri"])
        return checked

    def _plan(self, schedule: str | None, timezone: str) -> datetime | None:
        return None if schedule is None else find_next(schedule, timezone, self._clock())
