"""Sources: what a knowledge base is kept in step with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SourceKind(StrEnum):
    FOLDER = "folder"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """Its documents have the paths `<name>/<relative path>`. Without a `schedule` it is synced on request alone."""

    id: str
    kb_id: str
    name: str
    kind: SourceKind
    uri: str  # of a folder: an absolute path or file:// URI, symbolic links not followed yet
    include: Sequence[str]
    exclude: Sequence[str]
    schedule: str | None  # a cron line of five fields, read in `timezone`
    timezone: str
    next_run: datetime | None
    last_due: datetime | None  # whatever the schedule named up to then has been run
    listing_sha: str | None  # of the listing the last run left nothing to do for; None: compare each file
    created_at: datetime
    updated_at: datetime  # of what a user set: a run that began before must not record what it saw
