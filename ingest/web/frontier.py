"""The addresses that wait to be asked: breadth first, each page once."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ingest.web.plan import Skipped
from ingest.web.traps import Traps, Verdict, find_mask
from ingest.web.urls import find_key

MOST_TOLD = 50  # kinds of traps that are told apart


@dataclass(frozen=True, kw_only=True, slots=True)
class Place:
    """An address in the order of a crawl. `chain`: so many pages of its mask led to it, one after the other.
    `is_named`: a start; `is_target`: another page calls it the true one."""

    url: str
    key: str
    depth: int
    chain: int = 0
    is_named: bool = False
    is_target: bool = False
    lastmod: str | None = None


class Frontier:
    """`limit` is how many addresses are given out in all. As many are kept, and as many again of those that wait for
    the others; `beyond` counts links that found no room."""

    def __init__(self, wants: Callable[[str], bool], limit: int) -> None:
        self._wants = wants
        self._left = limit
        self._room = {False: limit, True: limit}  # by whether they wait
        self._traps = Traps()
        self._trapped: dict[str, tuple[str, int]] = {}  # by mask: the first address, and how many links
        self._taken: set[str] = set()
        self._order: deque[Place] = deque()
        self._later: deque[Place] = deque()
        self._waiting: set[str] = set()
        self.beyond = 0

    def __len__(self) -> int:
        return len(self._waiting)

    def pop(self, is_down: Callable[[str], bool]) -> Place | None:
        """The next one; those for which `is_down` are passed over for good."""
        while self._left and (self._order or self._later):
            place = (self._order or self._later).popleft()
            if place.key in self._waiting and not is_down(place.url):
                return self._give(place)
            self._waiting.discard(place.key)
        return None

    def drop(self, key: str) -> None:
        """The page was had at another address."""
        self._waiting.discard(key)
        self._taken.add(key)

    def add_named(self, url: str, lastmod: str | None = None) -> None:
        self._add(Place(url=url, key=find_key(url), depth=0, is_named=True, lastmod=lastmod))

    def add_links(self, page: str, links: Sequence[str], above: Place) -> None:
        """Of `page`, which is where `above` led."""
        mask = find_mask(page)
        for url in links:
            key = find_key(url)
            if key in self._taken or not self._wants(url):
                continue
            chain = above.chain + 1 if find_mask(url) == mask else 0
            verdict = self._traps.judge(url, chain)
            if verdict is Verdict.LEAVE:
                self._count_trapped(url)
            else:
                self._add(Place(url=url, key=key, depth=above.depth + 1, chain=chain), waits=verdict is Verdict.WAIT)

    def jump(self, url: str, above: Place) -> Place | None:
        """The address out of turn, which is called the true one of `above`; None when it had its turn already or finds
        no room."""
        place = Place(url=url, key=find_key(url), depth=above.depth, chain=above.chain, is_target=True)
        self._add(place)
        return self._give(place) if place.key in self._waiting and self._left else None

    def iter_traps(self) -> Iterator[Skipped]:
        for mask, (first, number) in self._trapped.items():
            like = f"like {mask}" if mask else "of further kinds"
            detail = f"{number:,} links to addresses {like} were not followed: the site makes them without end"
            yield Skipped(url=first, code="crawl_trap", detail=detail)

    def _give(self, place: Place) -> Place:
        self._waiting.discard(place.key)
        self._left -= 1
        return place

    def _count_trapped(self, url: str) -> None:
        mask = find_mask(url)
        if mask not in self._trapped and len(self._trapped) >= MOST_TOLD:
            mask = ""
        first, number = self._trapped.get(mask, (url, 0))
        self._trapped[mask] = (first, number + 1)

    def _add(self, place: Place, *, waits: bool = False) -> None:
        if place.key in self._taken:
            return
        if not self._room[waits]:
            self.beyond += 1
            return
        self._room[waits] -= 1
        self._taken.add(place.key)
        self._waiting.add(place.key)
        (self._later if waits else self._order).append(place)
