"""Finding the pages of a site."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from ingest.web.plan import CrawlPlan, Outcome, Progress, SeenPage, Site


class Crawl:
    """One run over a site: iterate once. `known` is what the last run said to remember, by the address asked, with the
    pages staged by this same job in its place.

    What is not named by any outcome once the iteration ended is not part of the site (any more). Closing the iterator
    ends the crawl. Raises Unavailable (`source_unavailable`) when none of the starts can be had: nothing is known then.
    """

    def __init__(self, plan: CrawlPlan, site: Site, known: Mapping[str, SeenPage]) -> None:
        self._plan = plan
        self._site = site
        self._known = known
        self.progress = Progress()

    def __iter__(self) -> Iterator[Outcome]:
        """In the order of the pages' places: those named, then those they link to, and so on."""
        yield from ()
