"""Sources as the contract shows them, and what a request may say of one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, Field
from pydantic_core import PydanticCustomError

from api.schemas.text import RequestBody, normalize_name
from ingest.sources.sites import DEEPEST, MOST_PAGES
from kb.document_path import check_path
from kb.errors import InvalidInput
from kb.types import Source

MOST_GLOBS = 100
LONGEST_GLOB = 1_024  # characters
LONGEST_URI = 1_000_000  # characters: a list of pages stands in it


def check_source_name(name: str) -> str:
    """The first folder of its documents' paths, and a part of URLs: NFC, without white space at its ends."""
    try:
        name = check_path(normalize_name(name))
    except InvalidInput as fault:
        raise PydanticCustomError("bad_name", "{fault}", {"fault": fault.detail}) from None
    if "/" in name:
        raise PydanticCustomError("bad_name", "the name holds a slash; it is one folder of a path")
    return name


SourceName = Annotated[str, AfterValidator(check_source_name)]
Uri = Annotated[str, Field(min_length=1, max_length=LONGEST_URI)]
Glob = Annotated[str, Field(min_length=1, max_length=LONGEST_GLOB)]
Globs = Annotated[list[Glob], Field(max_length=MOST_GLOBS)]
MaxPages = Annotated[int, Field(ge=1, le=MOST_PAGES)]
Depth = Annotated[int, Field(ge=0, le=DEEPEST)]
Schedule = Annotated[str, Field(max_length=255)]
Timezone = Annotated[str, Field(max_length=64)]


class SourceCreation(RequestBody):
    name: SourceName
    kind: Literal["folder", "web", "sitemap"]
    uri: Uri
    include: Globs = Field(default_factory=list)
    exclude: Globs = Field(default_factory=list)
    max_pages: MaxPages | None = None
    depth: Depth | None = None
    schedule: Schedule | None = None
    timezone: Timezone = "UTC"


class SourceChange(RequestBody):
    """What is left out stays; `schedule: null` ends the schedule, null pages or depth are the default."""

    uri: Uri = ""
    include: Globs = Field(default_factory=list)
    exclude: Globs = Field(default_factory=list)
    max_pages: MaxPages | None = None
    depth: Depth | None = None
    schedule: Schedule | None = None
    timezone: Timezone = "UTC"


class SyncRequest(RequestBody):
    dry_run: bool = False
    force: bool = False
    include_deleted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceAnswer:
    """`last_due` is when the schedule last started a sync. `max_pages` and `depth` are null of a folder."""

    id: str
    name: str
    kind: str
    uri: str
    include: Sequence[str]
    exclude: Sequence[str]
    max_pages: int | None
    depth: int | None
    schedule: str | None
    timezone: str
    next_run: datetime | None
    last_due: datetime | None
    created_at: datetime
    updated_at: datetime


def show_source(found: Source) -> SourceAnswer:
    return SourceAnswer(
        id=found.id,
        name=found.name,
        kind=found.kind,
        uri=found.uri,
        include=found.include,
        exclude=found.exclude,
        max_pages=found.max_pages,
        depth=found.depth,
        schedule=found.schedule,
        timezone=found.timezone,
        next_run=found.next_run,
        last_due=found.last_due,
        created_at=found.created_at,
        updated_at=found.updated_at,
    )
