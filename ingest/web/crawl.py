"""Finding the pages of a site: named → asked → judged → their links, breadth first.

Two pages are asked at a time, but judged one after the other in the order of their places, and only a judged page adds
places: which pages are found, and in which order, follows from the site and not from how fast it answers. A page that
another one calls its true address is asked out of turn and judged before it.

What the last run knew costs one conditional question a page: an unchanged page's links are remembered. So are those of
a page that does not come, gone or not, for as long as it is among what is known: what it links to is not lost with it.
And when so much of a host fails that it is asked no more, each page that was known and not met is told as lost.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

from ingest.web.asking import Answer, Asker
from ingest.web.frontier import Frontier, Place
from ingest.web.judging import Judge
from ingest.web.memory import Memory, name_page
from ingest.web.patterns import Filter
from ingest.web.plan import CrawlPlan, Found, Lost, Outcome, Progress, SeenPage, Site, Skipped
from ingest.web.sitemaps import SitemapPages, list_sitemap_pages
from ingest.web.urls import Scope, find_key, find_place, normalise_url
from kb.errors import DocumentFailed, FetchFailed, Unavailable

WIDTH = 2  # pages asked at a time
MOST_ASKED = 3  # addresses for each page that is wanted: some lead to the same page, or nowhere
MOST_FAILED = 10  # pages of a host in a row that did not come: it is down
_DOWN = frozenset({None, 429, 502, 503, 504})  # not 500: pages that fail by themselves do not speak for the site
_NOT_LOST = frozenset({"robots_denied", "url_too_long", "out_of_scope"})
_LINKING = frozenset({"noindex", "same_page"})  # no documents, but their links count; a copy gives none


@dataclass(kw_only=True, slots=True)
class _Asked:
    """A place whose answer is under way. `is_second`: it was put behind the page it calls its true address."""

    place: Place
    answer: Future[Answer]
    is_second: bool = False


class Crawl:
    """One run over a site: iterate once. `known` is what the last run said to remember, by the address asked, and in
    its place what this same job staged before it was killed.

    What no outcome names once the iteration ended is not part of the site, or is not any more. Close the iterator to
    end early. `listed` is what the sitemaps list, once they were read; where it is given they are not read again.
    Raises Unavailable (`source_unavailable`) when none of the starts can be had: nothing is known then.
    FetchFailed, when made, for a start that is no address; ValueError for a glob that is none.
    """

    def __init__(self, plan: CrawlPlan, site: Site, known: Mapping[str, SeenPage]) -> None:
        self._plan = plan
        self._site = site
        self._starts = tuple(dict.fromkeys(map(normalise_url, plan.starts)))
        self._memory = Memory(known)
        self._wants = Filter(plan.include, plan.exclude).wants
        self._asker = Asker(site, self._memory, Scope(self._starts))
        self._judge = Judge(self._wants)
        self._most_asked = max(plan.max_pages * MOST_ASKED, len(self._starts))
        self._frontier = Frontier(self._wants, self._most_asked)
        self.listed: SitemapPages | None = None
        self._window: deque[_Asked] = deque()
        self._asked = 0
        self._found = 0
        self._silent = {find_key(url): url for url in self._starts}  # still to be judged; none once anything answered
        self._failures: Counter[str] = Counter()  # in a row, by host
        self._down: set[str] = set()  # hosts that are asked no more
        self._unheard: DocumentFailed | None = None  # why what was known and not met is lost

    @property
    def progress(self) -> Progress:
        """May be read at any time, from any thread."""
        return Progress(asked=self._asked, found=self._found, left=len(self._frontier) + len(self._window))

    def __iter__(self) -> Iterator[Outcome]:
        """In the order of the pages' places: those named, those they link to, and so on."""
        yield from self._name_pages()
        with ThreadPoolExecutor(WIDTH, thread_name_prefix="crawl") as pool:
            while self._fill(pool):
                yield from self._judge_next(pool)
        yield from self._end()

    def _name_pages(self) -> Iterator[Outcome]:
        if self._plan.kind == "web":
            for url in self._starts:
                self._frontier.add_named(url)
            return
        listed = self.listed or self._list_pages()
        if listed.failed is not None and not listed.read and not listed.pages:
            raise self._refuse_site(listed.failed)
        self.listed = listed
        self._silent, self._unheard = {}, listed.failed
        yield from listed.notes
        for url, lastmod in listed.pages.items():
            self._frontier.add_named(url, lastmod)

    def _list_pages(self) -> SitemapPages:
        return list_sitemap_pages(self._site.lists or self._site.fetcher, self._starts, self._wants, self._most_asked)

    def _fill(self, pool: ThreadPoolExecutor) -> bool:
        """Keeps as many pages under way as may still be wanted; False at the end."""
        if self._found >= self._plan.max_pages:
            return False
        while len(self._window) < WIDTH and self._found + len(self._window) < self._plan.max_pages:
            place = self._frontier.pop(self._is_down)
            if place is None:
                break
            self._window.append(self._open(place, pool))
        return bool(self._window)

    def _is_down(self, url: str) -> bool:
        return find_place(url) in self._down

    def _open(self, place: Place, pool: ThreadPoolExecutor) -> _Asked:
        known = self._memory.find(place.url)
        self._asked += known is None or not known.is_staged
        return _Asked(place=place, answer=pool.submit(self._asker.ask, place.url))

    def _judge_next(self, pool: ThreadPoolExecutor) -> Iterator[Outcome]:
        asked = self._window.popleft()
        place = asked.place
        try:
            answer = asked.answer.result()
        except DocumentFailed as error:
            yield from self._lose(place, error)
            return
        self._hear(place)
        target = None if asked.is_second else self._judge.find_target(place, answer.page)
        if target is not None and self._defer(asked, target, pool):
            return
        if answer.too_long:
            detail = f"{answer.too_long:,} links to addresses longer than a path may be were not followed"
            yield Skipped(url=place.url, code="url_too_long", detail=detail)
        yield from self._settle(place, answer)

    def _defer(self, asked: _Asked, target: str, pool: ThreadPoolExecutor) -> bool:
        """Puts a page behind the one it calls its true address; False where that one cannot be asked."""
        places = [number for number, other in enumerate(self._window) if other.place.key == find_key(target)]
        if not places:
            place = self._frontier.jump(target, asked.place)
            if place is None:
                return False
            self._window.appendleft(self._open(place, pool))
            places = [0]
        asked.is_second = True
        self._window.insert(places[0] + 1, asked)
        return True

    def _settle(self, place: Place, answer: Answer) -> Iterator[Outcome]:
        page = answer.page
        skipped = self._judge.find_skip(place, page)
        if skipped is None:
            yield self._find(place, answer)
        else:
            self._judge.pass_over(place.key)
            if skipped.same_as != place.url:  # had behind a redirect while this was under way
                yield skipped
        if skipped is None or skipped.code in _LINKING or (skipped.code == "excluded" and place.is_named):
            self._follow(page, place)

    def _find(self, place: Place, answer: Answer) -> Found:
        url = name_page(answer.page)
        self._keep(url, answer.page)
        self._found += 1
        return Found(
            url=url,
            asked=place.url,
            page=answer.page,
            fetched=answer.fetched,
            is_unchanged=answer.is_unchanged,
            lastmod=place.lastmod,
        )

    def _keep(self, url: str, page: SeenPage) -> None:
        self._judge.keep(url, page.sha256)
        for address in (url, page.url):
            self._frontier.drop(find_key(address))

    def _follow(self, page: SeenPage, place: Place) -> None:
        if place.depth < self._plan.depth and not page.nofollow:
            self._frontier.add_links(page.url, page.links, place)

    def _lose(self, place: Place, error: DocumentFailed) -> Iterator[Outcome]:
        self._judge.pass_over(place.key)
        if error.code in _NOT_LOST:
            if error.code == "out_of_scope":
                self._count_failure(place, error)  # all of a site that moved away
            else:
                self._hear(place)
            yield Skipped(url=place.url, code=error.code, detail=error.detail)
            return
        is_gone = isinstance(error, FetchFailed) and error.is_gone
        if is_gone:
            self._hear(place)
        else:
            self._count_failure(place, error)
        known = self._memory.find(place.url)
        if known is None or is_gone:
            yield Lost(url=place.url, error=error)
        elif not self._judge.is_kept(name := name_page(known)):
            self._keep(name, known)
            yield Lost(url=name, error=error)
        if known is not None:
            self._follow(known, place)

    def _hear(self, place: Place) -> None:
        """Its site answered something."""
        self._failures.pop(find_place(place.url), None)
        self._silent.clear()

    def _count_failure(self, place: Place, error: DocumentFailed) -> None:
        """Raises Unavailable when nothing has answered and no start is left that could."""
        host = find_place(place.url)
        is_down = isinstance(error, FetchFailed) and error.is_passing and error.status in _DOWN
        self._failures[host] = self._failures[host] + 1 if is_down else 0
        if self._failures[host] >= MOST_FAILED:
            self._down.add(host)
            self._unheard = error
        if self._silent:
            self._silent.pop(place.key, None)
            self._silent = {key: url for key, url in self._silent.items() if not self._is_down(url)}
            if not self._silent:
                raise self._refuse_site(error)

    def _end(self) -> Iterator[Outcome]:
        yield from self._frontier.iter_traps()
        left = self.progress.left + self._frontier.beyond
        if left:
            detail = f"{self._found:,} pages were found of {self._plan.max_pages:,}; {left:,} links were not followed"
            yield Skipped(url=self._starts[0], code="max_pages", detail=detail)
        if self._unheard is not None:
            for url in self._memory.iter_names():
                if not self._judge.is_met(url):
                    yield Lost(url=url, error=self._unheard)

    def _refuse_site(self, error: DocumentFailed) -> Unavailable:
        more = f" and {len(self._starts) - 1:,} more" if len(self._starts) > 1 else ""
        detail = f"{self._starts[0]}{more} cannot be had ({error}); nothing was changed"
        return Unavailable("source_unavailable", detail)
