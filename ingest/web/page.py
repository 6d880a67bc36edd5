"""What passes between the fetcher, the crawl and the sync of a web source."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

MOST_LINKS = 5_000  # of a page
LONGEST_URL = 2_048


@dataclass(frozen=True, kw_only=True, slots=True)
class Validators:
    """What a server said of a page's state, word for word, to be sent back with the next question for it."""

    etag: str | None = None
    last_modified: str | None = None

    def __bool__(self) -> bool:
        return self.etag is not None or self.last_modified is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Fetched:
    """An answer. `url` is the address that gave it, behind all redirects. `is_unchanged`: the server says that the page
    is as the validators sent with the question describe it; `body` is empty then. Else `body` is the whole page without
    its content coding, `content_type` and `robots` the headers `Content-Type` and `X-Robots-Tag` as they were sent."""

    url: str
    is_unchanged: bool
    body: bytes
    content_type: str | None
    validators: Validators
    robots: str | None = None


class Fetcher(Protocol):
    """Fetches one page at a time. Blocks; thread-safe."""

    def fetch(self, url: str, known: Validators | None = None) -> Fetched:
        """Asks for the page, on the condition that it changed where `known` has validators.

        Raises FetchFailed (`bad_url`, `url_forbidden`, `robots_denied`, `too_many_redirects`, `fetch_too_large`,
        `fetch_timeout`, `fetch_dns`, `fetch_unreachable`, `fetch_tls`, `fetch_broken`, `fetch_http_404` and so on).
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class PageLinks:
    """What a page says of others and of itself. `links` and `canonical` are absolute, as written and in order, without
    those marked `nofollow`; at most `MOST_LINKS`. `nofollow` and `noindex` are its robots meta tags."""

    links: Sequence[str] = field(default=())
    canonical: str | None = None
    nofollow: bool = False
    noindex: bool = False


class LinkReader(Protocol):
    """Reads the links of an HTML page. Blocks; thread-safe."""

    def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
        """`url` is what relative links count from, unless the page has a `<base>`. Raises DocumentFailed when the page
        cannot be read within its limits."""
        ...
