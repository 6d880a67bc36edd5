"""What a sync compares with a source's listing, and what it stages."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from kb.types.pages import PageOrigin, PagesSeen


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownFile:
    """A document of a source as the catalog has it. `path` is relative to the source's root.

    `live_*` is None while nothing of it answers; `failed_sha256` is set when the newest attempt failed. `deleted`: a
    user deleted it, and a sync does not bring it back.
    """

    document_id: str
    path: str
    stat: str | None = None
    live_sha256: str | None = None
    live_size: int | None = None
    failed_sha256: str | None = None
    retry_at: datetime | None = None
    deleted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceFile:
    """A file or web page whose bytes are stored under `sha256`. `path` is the document's; `stat` names a file's state
    on its disk when it was read."""

    path: str
    sha256: str
    size: int
    media_type: str
    stat: str | None = None
    origin: PageOrigin | None = None  # of a web page


@dataclass(frozen=True, kw_only=True, slots=True)
class SyncChange:
    """What one sync publishes beside the versions its job staged.

    `removed` are ids of documents that go. `touched` (document id → stat) are files with another stat and the same
    bytes. `listing_sha` is kept when the run leaves nothing to be looked at again. `result` is written into the job
    with the rest, so that a worker that dies behind the commit leaves the counts as well.
    """

    source_id: str
    seen_at: datetime  # when a user last changed the source, as the run saw it
    removed: Sequence[str] = ()
    touched: Mapping[str, str] = field(default_factory=dict)
    listing_sha: str | None = None
    pages: PagesSeen | None = None  # of a source of web pages
    result: Mapping[str, Any] = field(default_factory=dict)
