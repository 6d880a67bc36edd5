"""Making and changing sources: place, schedule and time zone are checked before anything is recorded."""

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
from ingest.sources.sites import Sites, refuse_site_fields
from kb.catalog.sources import NewSource, Sources
from kb.types import Source, SourceKind

PLACE = frozenset({"uri", "include", "exclude", "max_pages", "depth"})  # fields that are checked together


@dataclass(frozen=True, kw_only=True, slots=True)
class Roots:
    """Where folder sources may lie, and the data directory, where they may not."""

    allowed: Sequence[Path]
    data_dir: Path

    def check(self, uri: str) -> Path:
        """The folder with every link followed. Raises InvalidInput as `check_root` does."""
        return check_root(uri, self.allowed, self.data_dir)


class SourceRegistry:
    def __init__(self, sources: Sources, roots: Roots, sites: Sites, clock: Clock) -> None:
        self._sources = sources
        self._roots = roots
        self._sites = sites
        self._clock = clock

    def create(self, new: NewSource) -> Source:
        """Raises InvalidInput (`bad_glob`, `bad_schedule`, `bad_timezone`; of a folder `bad_uri`, `root_…`; of web
        pages `bad_url`, `url_forbidden`; `bad_max_pages`, `bad_depth`), Conflict, NotFound."""
        placed = replace(new, **self._check_place(new.kind, {name: getattr(new, name) for name in PLACE}))
        checked = replace(placed, **_check_times({"schedule": new.schedule, "timezone": new.timezone}))
        return self._sources.create(replace(checked, next_run=self._plan(checked.schedule, checked.timezone)))

    def change(self, source: Source, changes: Mapping[str, Any]) -> Source:
        """`changes` may hold `uri`, `include`, `exclude`, `max_pages`, `depth`, `schedule` (None: no longer) and
        `timezone`.

        Raises InvalidInput as `create` does, NotFound.
        """
        checked = _check_times(changes)
        if PLACE & changes.keys():
            wanted = {name: changes.get(name, getattr(source, name)) for name in PLACE}
            placed = self._check_place(source.kind, wanted)
            checked |= {name: placed[name] for name in PLACE & changes.keys()}
        return self._sources.update(source.id, checked, self._plan)

    def _check_place(self, kind: SourceKind, given: Mapping[str, Any]) -> dict[str, Any]:
        """Where the source is and what of it is wanted, as it is kept."""
        if kind is not SourceKind.FOLDER:
            return self._sites.check(given)
        refuse_site_fields(given)
        FolderRules(include=given["include"], exclude=given["exclude"])
        self._roots.check(given["uri"])
        return {**given, "uri": make_absolute(given["uri"])}

    def _plan(self, schedule: str | None, timezone: str) -> datetime | None:
        return None if schedule is None else find_next(schedule, timezone, self._clock())


def _check_times(given: Mapping[str, Any]) -> dict[str, Any]:
    checked = dict(given)
    if checked.get("schedule") is not None:
        checked["schedule"] = check_schedule(checked["schedule"])
    if "timezone" in checked:
        checked["timezone"] = check_timezone(checked["timezone"])
    return checked
