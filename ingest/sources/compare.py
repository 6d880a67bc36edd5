"""A listing beside what is known of the source: what a sync has to do. Reads only files that may have changed.

A file whose stat is what it was is not read. One that is to be read is hashed first, so that a new time alone (a copy
put back, another machine's clock) costs one reading and no indexing. What could not be looked at this time keeps what
is known of it; so does all below a folder that could not be.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from ingest.sources.folder import ListedFile, Listing, Refused
from ingest.sources.ignoring import IGNORE_FILE
from kb.catalog.pauses import is_paused
from kb.errors import DocumentFailed
from kb.types import KnownFile


@dataclass(frozen=True, kw_only=True, slots=True)
class Change:
    """One path. `document_id` is None where no document has this path. Of a listed file `stat` and `size` are as listed
    and `sha256` is there if it was hashed; of a removed one `size` and `sha256` are of the version that answered."""

    path: str
    document_id: str | None
    stat: str | None = None
    size: int | None = None
    sha256: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Move:
    """The bytes of the document that was at `removed.path` are at `added.path` now."""

    removed: Change
    added: Change


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """Each listed path stands in one of `added`, `changed`, `moved`, `touched`, `failing`, `refused` or is counted in
    `unchanged`; `removed` and the other end of `moved` are known and not listed. Sequences are in the order of paths.

    `touched`: the same bytes under another stat. `failing`: bytes that failed, not to be tried yet.
    """

    added: Sequence[Change]
    changed: Sequence[Change]
    moved: Sequence[Move]
    removed: Sequence[Change]
    touched: Sequence[Change]
    failing: Sequence[Change]
    refused: Sequence[Refused]
    unchanged: int


def compare(
    listing: Listing, known: Mapping[str, KnownFile], hash_file: Callable[[ListedFile], str], now: datetime
) -> Plan:
    """`known` by relative path. A file that `hash_file` raises DocumentFailed for is refused with that code."""
    comparison = _Comparison(listing, hash_file, now)
    for path in sorted(listing.files):
        comparison.judge(listing.files[path], known.get(path))
    removed = _find_removed(listing, known)
    comparison.hash_added(removed)
    moved = _pair_moved(removed, comparison.added)
    left, came = {move.removed.path for move in moved}, {move.added.path for move in moved}
    return Plan(
        added=[change for change in comparison.added if change.path not in came],
        changed=comparison.changed,
        moved=moved,
        removed=[change for change in removed if change.path not in left],
        touched=comparison.touched,
        failing=comparison.failing,
        refused=sorted([*listing.refused, *comparison.refused], key=lambda one: one.path),
        unchanged=comparison.unchanged,
    )


def _find_removed(listing: Listing, known: Mapping[str, KnownFile]) -> list[Change]:
    closed = {_find_place(one) for one in listing.refused}
    return [
        Change(path=path, document_id=one.document_id, size=one.live_size, sha256=one.live_sha256)
        for path, one in sorted(known.items())
        if _is_indexed(one) and path not in listing.files and closed.isdisjoint(_iter_places(path))
    ]


def _find_place(refused: Refused) -> str:
    """What could not be looked at. A list that cannot be read closes its folder."""
    folder, _, name = refused.path.rpartition("/")
    return (folder or ".") if name == IGNORE_FILE else refused.path


def _iter_places(path: str) -> Iterator[str]:
    """The path, the folders above it, and `.`, the root."""
    while path:
        yield path
        path = path.rpartition("/")[0]
    yield "."


def _is_indexed(known: KnownFile) -> bool:
    return known.live_sha256 is not None or known.failed_sha256 is not None


class _Comparison:
    """The files judged so far, by what is to be done with each."""

    def __init__(self, listing: Listing, hash_file: Callable[[ListedFile], str], now: datetime) -> None:
        self._files = listing.files
        self._hash_file = hash_file
        self._now = now
        self.added: list[Change] = []
        self.changed: list[Change] = []
        self.touched: list[Change] = []
        self.failing: list[Change] = []
        self.refused: list[Refused] = []
        self.unchanged = 0

    def judge(self, file: ListedFile, known: KnownFile | None) -> None:
        if known is None or not _is_indexed(known):
            self.added.append(_make_change(file, known))
        elif file.stat == known.stat and known.failed_sha256 is None:
            self.unchanged += 1
        elif file.stat == known.stat and self._waits(known):
            self.failing.append(_make_change(file, known))
        elif known.failed_sha256 is None and file.size != known.live_size:
            self.changed.append(_make_change(file, known))
        else:
            self._judge_bytes(file, known)

    def _judge_bytes(self, file: ListedFile, known: KnownFile) -> None:
        sha256 = self._try_hash(file)
        if sha256 is None:
            return
        change = _make_change(file, known, sha256)
        if sha256 == known.live_sha256 and file.stat == known.stat:
            self.unchanged += 1  # it failed with other bytes and was put back since
        elif sha256 == known.live_sha256:
            self.touched.append(change)
        elif sha256 == known.failed_sha256 and self._waits(known):
            self.failing.append(change)
        else:
            self.changed.append(change)

    def _waits(self, known: KnownFile) -> bool:
        return known.failed_sha256 is not None and is_paused(known.retry_at, self._now)

    def _try_hash(self, file: ListedFile) -> str | None:
        try:
            return self._hash_file(file)
        except DocumentFailed as error:
            self.refused.append(Refused(path=file.path, code=error.code, detail=error.detail))
            return None

    def hash_added(self, removed: Sequence[Change]) -> None:
        """Hash what may be a removed one at a new place: those of its size."""
        sizes = {change.size for change in removed if change.sha256 is not None}
        added, self.added = self.added, []
        for change in added:
            if change.size not in sizes:
                self.added.append(change)
            elif sha256 := self._try_hash(self._files[change.path]):
                self.added.append(replace(change, sha256=sha256))


def _make_change(file: ListedFile, known: KnownFile | None, sha256: str | None = None) -> Change:
    document_id = None if known is None else known.document_id
    return Change(path=file.path, document_id=document_id, stat=file.stat, size=file.size, sha256=sha256)


def _pair_moved(removed: Sequence[Change], added: Sequence[Change]) -> list[Move]:
    """Each removed one goes to at most one added file of its bytes, first of all to one that has its name, too."""
    moved: dict[str, Move] = {}
    for find_name in (_find_name, _find_no_name):
        taken = {move.removed.path for move in moved.values()}
        lost: dict[tuple[str | None, str], deque[Change]] = defaultdict(deque)
        for change in removed:
            if change.sha256 is not None and change.path not in taken:
                lost[change.sha256, find_name(change.path)].append(change)
        for change in added:
            same = lost.get((change.sha256, find_name(change.path)))
            if change.path not in moved and same:
                moved[change.path] = Move(removed=same.popleft(), added=change)
    return [moved[path] for path in sorted(moved)]


def _find_name(path: str) -> str:
    return path.rpartition("/")[2]


def _find_no_name(path: str) -> str:
    del path
    return ""
