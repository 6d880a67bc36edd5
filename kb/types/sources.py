"""Sources: what a knowledge base is kept in step with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum


class SourceKind(StrEnum):
    FOLDER = "folder"
    WEB = "web"
    SITEMAP = "sitemap"


@dataclass(frozen=True, kw_only=True, slots=True)
class Source:
    """The documents of a folder have the paths `<name>/<relative path>`, web pages their addresses. Without a
    `schedule` it is synced on request alone."""

    id: str
    kb_id: str
    name: str
    kind: SourceKind
    uri: str  # of a folder: an absolute path or file:// URI, symbolic links not followed yet; else addresses
    include: Sequence[str]
    exclude: Sequence[str]
    max_pages: int | None  # of web pages
    depth: int | None  # of a crawl, in links from the pages that `uri` names
    schedule: str | None  # a cron line of five fields, read in `timezone`
    timezone: str
    next_run: datetime | None
    last_due: datetime | None  # whatever the schedule named up to then has been run
    listing_sha: str | None  # of the listing the last run left nothing to do for; None: compare each file
    created_at: datetime
    updated_at: datetime  # of what a user set: a run that began before must not record what it saw
