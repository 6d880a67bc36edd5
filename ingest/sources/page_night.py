"""One night of a source of web pages: what it comes to once everything was looked at and indexed."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar

from ingest.sources.closing import MOST_TOLD, Night
from ingest.sources.intake import Fault
from ingest.sources.page_look import GONE_NIGHTS, PageLook
from kb.types import GateReport, KnownPage, PageOrigin, PagesSeen, StagedPage, SyncChange

CRAWLED = "crawled"  # what a source of pages has for a listing: its links are remembered, if it follows any
NEVER = 10**9  # a place behind all others
KEYS = 3  # by which a page is known again


@dataclass(frozen=True, kw_only=True, slots=True)
class MovedPage:
    """The document at `removed` is at the address `added` now."""

    removed: KnownPage
    added: str


@dataclass(kw_only=True, slots=True)
class PageNight(Night):
    """`staged` is what is left of what the job staged; `moved` and `removed` documents go."""

    loss: ClassVar[str] = "would vanish, or have the title and headings of another one"
    look: PageLook
    staged: dict[str, StagedPage] = field(default_factory=dict)
    moved: Sequence[MovedPage] = ()
    removed: Sequence[KnownPage] = ()

    def name_fault(self, path: str) -> str:
        return path

    def settle(self, staged: Mapping[str, StagedPage]) -> list[str]:
        """Everything was indexed: find copies and moves. Answers the pages that are not to be published: each says what
        another page of the source says."""
        self.staged = dict(staged)
        copies = self._collapse()
        for url in copies:
            del self.staged[url]
        self.moved, self.removed = sort_out(self.look, self.look.list_vanished(), self._list_new())
        return copies

    def _collapse(self) -> list[str]:
        """Of pages that say the same one remains: one that answers already, else the first that the crawl came to."""
        look, texts = self.look, defaultdict[str, list[tuple[bool, int, str]]](list)
        for url, page in self.staged.items():
            if page.text_sha is not None:
                texts[page.text_sha].append((page.same_as is None, look.places.get(url, NEVER), url))
        for url in self._list_answering():
            if (text_sha := look.known[url].text_sha) is not None:
                texts[text_sha].append((False, look.places.get(url, NEVER), url))
        copies = []
        for group in texts.values():
            (*_, original), *others = sorted(group)
            for *_, url in others:
                if url in self.staged:
                    look.skip_copy(url, original, self.staged[url].origin)
                    copies.append(url)
                elif url in look.unchanged:
                    look.skip_copy(url, original, look.unchanged.pop(url))
        return copies

    def _list_answering(self) -> list[str]:
        """Pages whose documents go on saying what they say: also where what they say now cannot be read."""
        look, gone = self.look, set(self.look.list_gone())
        failed = [url for url in look.fresh if url not in self.staged and self._answers(url)]
        return [*look.unchanged, *look.failing, *(url for url in look.kept if url not in gone), *failed]

    def _list_new(self) -> list[StagedPage]:
        """Pages that are documents from now on, in the order of the crawl."""
        new = (page for page in self.staged.values() if not self._answers(page.url))
        return sorted(new, key=lambda page: self.look.places.get(page.url, NEVER))

    def _answers(self, url: str) -> bool:
        page = self.look.known.get(url)
        return page is not None and page.live is not None

    def list_gone(self) -> list[str]:
        gone = [*self.removed, *(move.removed for move in self.moved)]
        return [page.document_id for page in gone]

    def measure_loss(self) -> tuple[int, int]:
        gone = sum(page.live is not None for page in self.removed) + self._count_alike()
        return gone, sum(page.live is not None for page in self.look.known.values())

    def _count_alike(self) -> int:
        """Pages of different titles and headings that have those of one another now: each leads to a login page, or is
        an error with a number of its own. All but one of them are as good as gone."""
        before = {url: page for url, page in self.look.known.items() if page.live is not None}
        before |= {move.added: move.removed for move in self.moved}
        faces = defaultdict[str, set[str | None]](set)
        for url, page in self.staged.items():
            old = before.get(url)
            if page.same_as is None and page.face is not None and old is not None and old.face != page.face:
                faces[page.face].add(old.face)
        return sum(len(old) - 1 for old in faces.values())

    def is_bare(self) -> bool:
        look = self.look
        return not (look.fresh or look.unchanged or look.failing)

    def tell(self, gate: GateReport | None) -> dict[str, Any]:
        failures = [*self.look.failures, *self.faults, *map(describe_waiting, self.look.failing.values())]
        skips = self.look.skips
        return {
            **self._count(),
            **self.counts,
            "failed": len(failures),
            "skipped": len(skips),
            "failures": [asdict(fault) for fault in failures[:MOST_TOLD]],
            "skips": [asdict(fault) for fault in skips[:MOST_TOLD]],
            "gone": self._list_flagged()[:MOST_TOLD],
            "gate": None if gate is None else gate.describe(),
            "revision": None,
        }

    def _count(self) -> dict[str, int]:
        touched = sum(page.same_as is not None for page in self.staged.values())
        changed = sum(page.same_as is None and self._answers(url) for url, page in self.staged.items())
        return {
            "added": len(self._list_new()) - len(self.moved),
            "changed": changed,
            "moved": len(self.moved),
            "removed": len(self.removed),
            "touched": touched,
            "unchanged": len(self.look.unchanged),
            "kept_out": self.look.kept_out,
        }

    def _list_flagged(self) -> list[dict[str, Any]]:
        """Pages that are not there any more and whose documents still answer."""
        went = set(self.list_gone())
        flagged = [url for url in self.look.list_gone() if self.look.known[url].document_id not in went]
        return [{"path": u, "code": self._find_code(u), "nights": self.look.count_nights(u)} for u in flagged]

    def _find_code(self, url: str) -> str:
        miss = self.look.kept[url]
        return "" if miss is None else miss.code

    def describe_change(self, result: Mapping[str, Any]) -> SyncChange:
        look, known = self.look, self.look.known
        went = set(self.list_gone())
        missed = {known[url].document_id: miss for url, miss in look.kept.items() if miss is not None}
        came = (known[url] for url in (*look.fresh, *look.failing) if url in known)
        return SyncChange(
            source_id=self.source.id,
            seen_at=self.source.updated_at,
            removed=self.list_gone(),
            listing_sha=CRAWLED,
            pages=PagesSeen(
                at=self.now,
                refreshed={known[url].document_id: o for url, o in look.unchanged.items() if _is_news(known[url], o)},
                came=[page.document_id for page in came if page.miss_code is not None],
                missed={document_id: miss for document_id, miss in missed.items() if document_id not in went},
                aside=list(look.next_aside.values()),
            ),
            result=result,
        )


def sort_out(
    look: PageLook, vanished: Sequence[KnownPage], new: Sequence[StagedPage]
) -> tuple[list[MovedPage], list[KnownPage]]:
    """Of the documents whose pages `vanished` or are gone: those that are at a new page now, and those that go."""
    gone = [look.known[url] for url in look.list_gone()]
    moves = _find_moves(vanished, gone, new)
    left = {move.removed.url for move in moves}
    over = [page for page in gone if look.count_nights(page.url) >= GONE_NIGHTS]
    return moves, [page for page in (*vanished, *over) if page.url not in left]


def _find_moves(vanished: Sequence[KnownPage], gone: Sequence[KnownPage], new: Sequence[StagedPage]) -> list[MovedPage]:
    """Each page that went is at most one new page: that which its address leads to, or which has its bytes or its text.
    A page that is not there any more but has a double went there, too."""
    moves: list[MovedPage] = []
    left = {page.url: page for page in (*vanished, *gone) if page.live is not None and page.live_origin is not None}
    taken: set[str] = set()
    for place in range(KEYS):
        by_key = {_list_keys(page.live_origin, page.text_sha)[place]: page for page in reversed(left.values())}
        for page in new:
            key = _list_keys(page.origin, page.text_sha)[place]
            old = by_key.pop(key, None) if key is not None and page.url not in taken else None
            if old is not None:
                moves.append(MovedPage(removed=left.pop(old.url), added=page.url))
                taken.add(page.url)
    return moves


def _list_keys(origin: PageOrigin | None, text_sha: str | None) -> tuple[str | None, ...]:
    """By which a page is known again, the surest first."""
    return (None, None, text_sha) if origin is None else (origin.asked, origin.sha256, text_sha)


def _is_news(page: KnownPage, origin: PageOrigin) -> bool:
    """Whether something must be written down of a page that is as it was."""
    return origin != page.live_origin or page.failed is not None or page.failures > 0 or page.miss_code is not None


def describe_waiting(page: KnownPage) -> Fault:
    """Of a page whose bytes failed before."""
    detail = f"this content failed ({page.failed_code}) and will be tried again later"
    return Fault(path=page.url, code="retry_later", detail=detail)
