"""What a source of web pages may be: which addresses, how many pages, how deep. Asked before anything is recorded."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from ingest.web.patterns import check_url_glob
from ingest.web.urls import normalise_url
from kb.errors import FetchFailed, InvalidInput

MOST_URLS = 1_000  # that a source may name
MOST_PAGES = 50_000  # that a source may have
PAGES = 1_000  # of a source that says nothing of it
DEEPEST = 10


class UrlGate(Protocol):
    """Says which addresses may be fetched. Thread-safe."""

    def check(self, urls: Sequence[str]) -> None:
        """Also what the names of their hosts stand for now; one that stands for nothing now may do so later.

        Raises InvalidInput (`bad_url`, `url_forbidden`).
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Sites:
    gate: UrlGate

    def check(self, given: Mapping[str, Any]) -> dict[str, Any]:
        """The fields of a source as it keeps them: `uri`, `include`, `exclude`, `max_pages`, `depth`.

        Raises InvalidInput (`bad_url`, `url_forbidden`, `bad_glob`, `bad_max_pages`, `bad_depth`).
        """
        urls = self._check_urls(given["uri"])
        for name in ("include", "exclude"):
            _check_globs(name, given[name])
        pages, depth = given["max_pages"], given["depth"]
        if pages is None:
            pages = max(PAGES, len(urls))
        if not len(urls) <= pages <= MOST_PAGES:
            reason = f"max_pages is {pages:,}; at least the {len(urls):,} addresses named and at most {MOST_PAGES:,}"
            raise InvalidInput("bad_max_pages", reason)
        if depth is not None and not 0 <= depth <= DEEPEST:
            raise InvalidInput("bad_depth", f"depth is {depth:,}; links are followed 0 to {DEEPEST} deep")
        return {**given, "uri": " ".join(urls), "max_pages": pages, "depth": depth or 0}

    def _check_urls(self, uri: str) -> list[str]:
        urls = list(dict.fromkeys(uri.split()))
        if not urls:
            raise InvalidInput("bad_url", "the source names no address; give one, or several with a space between them")
        if len(urls) > MOST_URLS:
            raise InvalidInput("bad_url", f"the source names {len(urls):,} addresses; at most {MOST_URLS:,} are taken")
        self.gate.check(urls)
        for url in urls:
            try:
                normalise_url(url)
            except FetchFailed as fault:
                raise InvalidInput("bad_url", fault.detail) from None
        return urls


def refuse_site_fields(given: Mapping[str, Any]) -> None:
    """Of a folder. Raises InvalidInput (`bad_max_pages`, `bad_depth`)."""
    for name in ("max_pages", "depth"):
        if given.get(name) is not None:
            raise InvalidInput(f"bad_{name}", f"a folder has no {name}; that is of web pages and sitemaps")


def _check_globs(field_name: str, globs: Sequence[str]) -> None:
    for glob in globs:
        try:
            check_url_glob(glob)
        except ValueError as error:
            raise InvalidInput("bad_glob", f"{field_name}: the glob {glob!r} {error}") from error
