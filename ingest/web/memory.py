"""What a crawl knows from the last one, and from itself before it was killed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ingest.web.plan import SeenPage
from ingest.web.urls import find_key


def name_page(page: SeenPage) -> str:
    """The page's one address: where it led, in the form that it calls its own where that is the same page."""
    is_own = page.canonical is not None and find_key(page.canonical) == find_key(page.url)
    return page.canonical if is_own and page.canonical else page.url


class Memory:
    """Pages by the address asked, else by where an address led."""

    def __init__(self, known: Mapping[str, SeenPage]) -> None:
        self._asked = known
        self._led: dict[str, SeenPage] = {}
        for page in known.values():
            self._led.setdefault(page.url, page)
            self._led.setdefault(name_page(page), page)

    def find(self, url: str) -> SeenPage | None:
        return self._asked.get(url) or self._led.get(url)

    def iter_names(self) -> Iterator[str]:
        """The addresses of the pages that may be documents, each once."""
        yield from dict.fromkeys(name_page(page) for page in self._asked.values() if not page.noindex)
