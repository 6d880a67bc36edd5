"""What is kept of the pages of a source, as a crawl wants to be told it; and back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, MutableMapping
from datetime import datetime

from ingest.web.page import Fetched, Fetcher, Validators
from ingest.web.plan import SeenPage
from kb.catalog.pauses import is_paused
from kb.errors import FetchFailed
from kb.types import AsidePage, KnownPage, PageOrigin

WAITS = "retry_later"


class PatientFetcher:
    """A Fetcher that leaves alone what failed: `waiting` pages, by address, on the nights before, and until when;
    `failed` ones in this job, whatever slice of it. Thread-safe: each address is asked by one thread at a time."""

    def __init__(
        self, fetcher: Fetcher, waiting: Mapping[str, KnownPage], failed: MutableMapping[str, FetchFailed]
    ) -> None:
        self._fetcher = fetcher
        self._waiting = waiting
        self._failed = failed

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        if (failure := self._failed.get(url)) is not None:
            raise FetchFailed(failure.code, failure.detail, status=failure.status, passing=failure.is_passing)
        page = self._waiting.get(url)
        if page is None:
            return self._ask(url, known)
        until = "" if page.retry_at is None else f" until {page.retry_at:%Y-%m-%d %H:%M} UTC"
        reason = f"it did not come {page.failures} times in a row ({page.miss_code}) and is left alone{until}"
        raise FetchFailed(WAITS, reason, passing=False)  # which says nothing of its site

    def _ask(self, url: str, known: Validators | None) -> Fetched:
        try:
            return self._fetcher.fetch(url, known)
        except FetchFailed as failure:
            self._failed[url] = failure
            raise


def find_waiting(known: Mapping[str, KnownPage], now: datetime) -> dict[str, KnownPage]:
    """Pages that are not to be asked for yet, by the address to ask. Content that failed is another matter: it may have
    changed, which asking tells."""
    return {
        page.origin.asked: page
        for page in known.values()
        if page.origin is not None and page.miss_code is not None and is_paused(page.retry_at, now)
    }


def make_origin(asked: str, page: SeenPage) -> PageOrigin:
    return PageOrigin(
        asked=asked,
        led_to=page.url,
        sha256=page.sha256,
        etag=page.validators.etag,
        last_modified=page.validators.last_modified,
        content_type=page.content_type,
        links=tuple(page.links),
        canonical=page.canonical,
        nofollow=page.nofollow,
        noindex=page.noindex,
    )


def recall_page(origin: PageOrigin, *, is_staged: bool = False, asks_anew: bool = False) -> SeenPage:
    """`asks_anew`: the whole page is wanted, whatever its server thinks has changed."""
    validators = Validators(etag=origin.etag, last_modified=origin.last_modified)
    return SeenPage(
        url=origin.led_to,
        sha256=origin.sha256,
        validators=Validators() if asks_anew else validators,
        content_type=origin.content_type,
        links=origin.links,
        canonical=origin.canonical,
        nofollow=origin.nofollow,
        noindex=origin.noindex,
        is_staged=is_staged,
    )


def iter_seen(
    known: Mapping[str, KnownPage], aside: Mapping[str, AsidePage], job_id: str, *, asks_anew: bool = False
) -> Iterator[tuple[str, SeenPage]]:
    """By the address asked. Of what is no document because another page is one, the whole page is wanted each time."""
    for other in aside.values():
        is_copy = other.copy_of is not None or other.code == "path_taken"
        yield other.origin.asked, recall_page(other.origin, asks_anew=asks_anew or is_copy)
    for page in known.values():
        is_done = page.checked_by == job_id
        origin = page.live_origin if is_done else page.origin
        if origin is not None:
            yield origin.asked, recall_page(origin, is_staged=is_done, asks_anew=asks_anew)


def iter_done(origins: Iterable[PageOrigin]) -> Iterator[tuple[str, SeenPage]]:
    """Pages that this job is done with."""
    for origin in origins:
        yield origin.asked, recall_page(origin, is_staged=True)
