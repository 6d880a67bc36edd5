"""Web pages of a source: what is kept of each between two syncs, and what a sync finds out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime


@dataclass(frozen=True, kw_only=True, slots=True)
class PageOrigin:
    """What a server said of a page and the page of others, kept with the version it belongs to. `asked` is the address
    that was asked, `led_to` the one that answered. `sha256` is of the bytes last seen: equal text may have come in
    other ones since."""

    asked: str
    led_to: str
    sha256: str
    etag: str | None = None
    last_modified: str | None = None
    content_type: str | None = None
    links: Sequence[str] = field(default=())
    canonical: str | None = None
    nofollow: bool = False
    noindex: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class PageContent:
    """The bytes of a version, which are stored."""

    sha256: str
    size: int
    media_type: str


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownPage:
    """A document of a source as the catalog has it; its path is the page's address.

    `live` is what answers, `failed` the newest attempt where that failed; `origin` is of the newer of the two. `missed`
    nights in a row the page was not there, last at `missed_at`; `miss_code` says why it did not come last time.
    `deleted`: a user deleted it, and a sync does not bring it back.
    """

    document_id: str
    url: str
    origin: PageOrigin | None = None
    live: PageContent | None = None
    live_origin: PageOrigin | None = None
    text_sha: str | None = None  # of what answers
    face: str | None = None  # likewise: its title and headings, hashed; None where it has neither
    failed: PageContent | None = None
    failed_code: str | None = None
    failures: int = 0
    retry_at: datetime | None = None
    missed: int = 0
    missed_at: datetime | None = None
    miss_code: str | None = None
    checked_by: str | None = None  # the last job that found it as it was
    deleted: bool = False


@dataclass(frozen=True, kw_only=True, slots=True)
class AsidePage:
    """A page that the last sync met and that is no document. `copy_of` is the one that says the same."""

    url: str
    code: str
    origin: PageOrigin
    copy_of: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PageMiss:
    """A page that did not come. `counts`: this is another night that it is not there."""

    code: str
    is_gone: bool
    counts: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class StagedPage:
    """What a sync staged of a page. `same_as`: the version that answers says the same, and this is its id. `face` as of
    a known page."""

    version_id: int
    document_id: str
    url: str
    text_sha: str | None
    origin: PageOrigin
    same_as: int | None = None
    face: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class PagesSeen:
    """What a sync found out `at` that night about pages beside what it publishes, by document id.

    `refreshed`: bytes that are known, whatever else the server says of them now. `came`: pages that did not come before
    and do now. `aside` replaces what was kept of pages that are no documents.
    """

    at: datetime
    refreshed: Mapping[str, PageOrigin] = field(default_factory=dict)
    came: Sequence[str] = ()
    missed: Mapping[str, PageMiss] = field(default_factory=dict)
    aside: Sequence[AsidePage] = ()
