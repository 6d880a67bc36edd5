"""The state of a knowledge base's indexes: one immutable object that searches answer from, and the shelf that keeps it.

A state is dense and lexical at one revision. `IndexShelf.get_state` compares its revision with the head, and when rows
have come or gone it builds the next state beside the old one and puts it in place by one assignment: searches under way
keep theirs. One thread at a time builds for a knowledge base; the others wait for it, but not for ever: past their
patience they answer from the state before, which is whole, only older.

A first state starts from the newest sealed generation, or from nothing, and takes the rest from the rows in SQL. When a
worker has sealed a newer generation, a thread of ours builds a state on it and swaps it in without anyone waiting.

A re-index puts another space in the place of the live one and changes no document. Until a document is changed, the
state of the space before goes on answering, with the encoder of that space, while a thread builds the new one.
"""

from __future__ import annotations

import logging
import secrets
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Protocol

from kb.errors import KbError, NotFound, Unavailable
from kb.ports import IndexFeed
from kb.types import Head, IndexRow
from retrieval.dense import DenseView, open_view
from retrieval.generations import find_kb_folder, find_space_folder, list_revisions, load_generation
from retrieval.lexical import LexicalView, WorkingCopy
from retrieval.private_folders import claim_folder, remove_stale_folders
from retrieval.unit_vectors import stack_vectors

logger = logging.getLogger(__name__)

PATIENCE_S = 5.0
FIRST_PATIENCE = 12  # times longer is waited for a first state: there is nothing else to answer from but an error
BATCH = 1000


class ShelfFeed(IndexFeed, Protocol):
    """What the shelf asks beside what indexes are built from."""

    def stands_in(self, kb_id: str, space_id: int, after: int, upto: int) -> bool:
        """Whether a state of a space that is live no longer, at revision `after`, answers as one at `upto` would: its
        rows are still kept, and no revision since has changed a document."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexState:
    """What one search answers from. `sealed` is the revision of the generation it stands on, -1 for none; questions
    are embedded by `embedding_model`, as its vectors were."""

    kb_id: str
    space_id: int
    revision: int
    sealed: int
    dense: DenseView
    lexical: LexicalView
    embedding_model: str


@dataclass(kw_only=True, slots=True)
class _Place:
    """A knowledge base's place on the shelf. `lock` guards building; `state` is read without it."""

    lock: Lock = field(default_factory=Lock)
    state: IndexState | None = None
    copy: WorkingCopy | None = None
    adopter: Thread | None = None
    dropped: bool = False


class IndexShelf:
    """The index states of this process. Thread-safe."""

    def __init__(self, feed: ShelfFeed, directory: Path, *, patience_s: float = PATIENCE_S) -> None:
        """`directory` holds the sealed generations and one private folder a process; folders of dead ones go now."""
        self._feed = feed
        self._directory = directory
        self._patience_s = patience_s
        self._places: dict[str, _Place] = {}
        self._lock = Lock()
        directory.mkdir(parents=True, exist_ok=True)
        remove_stale_folders(directory)
        self._live, self._claim = claim_folder(directory)

    def get_state(self, kb_id: str) -> IndexState:
        """The state at the head's revision, caught up if need be; an older one when that takes longer than patience.

        Raises NotFound (`knowledge_base_not_found`), Unavailable (`index_unavailable`) when there is no state to
        answer from.
        """
        head = self._feed.get_head(kb_id)
        place = self._get_place(kb_id)
        state = place.state
        if state is None or not _covers(state, head):
            if state is not None and self._is_as_good(state, head):
                self._start_adopter(kb_id, place)
                return state
            state = self._catch_up(kb_id, place, head)
        self._adopt_newer(kb_id, place, state)
        return state

    def drop(self, kb_id: str) -> None:
        """Forget a deleted knowledge base and remove its index files. Raises ValueError for what is no id."""
        folder = find_kb_folder(self._directory, kb_id)
        with self._lock:
            place = self._places.pop(kb_id, None)
        if place is not None:
            with place.lock:
                place.dropped, place.state = True, None
                _close(place)
        shutil.rmtree(folder, ignore_errors=True)

    def close(self) -> None:
        """Wait for builders and remove the private folder."""
        with self._lock:
            places, self._places = list(self._places.values()), {}
        for place in places:
            if place.adopter is not None:
                place.adopter.join()
            with place.lock:
                place.dropped, place.state = True, None
                _close(place)
        self._claim.close()
        shutil.rmtree(self._live, ignore_errors=True)

    def adopt_generation(self, kb_id: str) -> bool:
        """Build a state on the newest generation beside the one in use and swap it in; False when there is no newer.

        Called by a thread of the shelf's own; a process that wants to wait for it calls it itself.
        """
        head, place = self._feed.get_head(kb_id), self._get_place(kb_id)
        state, copy = self._build_state(kb_id, head)
        with place.lock:
            before, head = place.state, self._feed.get_head(kb_id)
            newer = before is None or before.space_id != head.space_id or state.sealed > before.sealed
            if place.dropped or not newer or state.space_id != head.space_id:
                copy.close()
                return False
            state = self._advance(state, copy, head)
            _close(place)
            place.state, place.copy = state, copy
        return True

    def wait_for_adoption(self, kb_id: str) -> None:
        """Return once no thread is adopting a generation of this knowledge base."""
        adopter = self._get_place(kb_id).adopter
        if adopter is not None:
            adopter.join()

    # -- building -----------------------------------------------------------------------------------------------

    def _get_place(self, kb_id: str) -> _Place:
        with self._lock:
            return self._places.setdefault(kb_id, _Place())

    def _catch_up(self, kb_id: str, place: _Place, head: Head) -> IndexState:
        patience_s = self._patience_s * (1 if self._is_kept(place.state, head) else FIRST_PATIENCE)
        if self._is_built_aside(place, head, patience_s) or not place.lock.acquire(timeout=patience_s):
            reason = Unavailable("index_unavailable", "the index is being built; try again")
            return self._stand_in(place.state, head, reason)
        try:
            head = self._feed.get_head(kb_id)  # it may have moved while we waited
            if place.dropped:
                raise NotFound("knowledge_base_not_found", f"no knowledge base {kb_id!r}")
            return self._renew(kb_id, place, head)
        except Unavailable as error:
            logger.warning("index.catch_up_failed", extra={"kb_id": kb_id, "code": error.code})
            return self._stand_in(place.state, head, error)
        finally:
            place.lock.release()

    def _is_built_aside(self, place: _Place, head: Head, patience_s: float) -> bool:
        """Whether a thread still builds the first state of a new space after we waited for it; nobody else need."""
        if place.adopter is None or (place.state is not None and place.state.space_id == head.space_id):
            return False
        place.adopter.join(patience_s)
        return place.adopter.is_alive()

    def _is_as_good(self, state: IndexState, head: Head) -> bool:
        """Whether a state of the space before answers as one of the live space would."""
        other = state.space_id != head.space_id
        return other and self._feed.stands_in(state.kb_id, state.space_id, state.revision, head.revision)

    def _is_kept(self, state: IndexState | None, head: Head) -> bool:
        """Whether a state that may be behind could still answer: its space is live, or its rows are kept a while."""
        if state is None or state.space_id == head.space_id:
            return state is not None
        return self._feed.stands_in(state.kb_id, state.space_id, head.revision, head.revision)

    def _stand_in(self, state: IndexState | None, head: Head, reason: Unavailable) -> IndexState:
        """The state before, when it could still answer; else there is nothing to answer from."""
        if state is None or not self._is_kept(state, head):
            raise reason
        return state

    def _renew(self, kb_id: str, place: _Place, head: Head) -> IndexState:
        """Put a state at `head` into the place; what fails on the way leaves the old one there."""
        state, copy = place.state, place.copy
        if state is not None and copy is not None and state.space_id == head.space_id:
            place.state = self._advance(state, copy, head)
            return place.state
        state, copy = self._build_state(kb_id, head)
        _close(place)
        place.state, place.copy = state, copy
        return state

    def _build_state(self, kb_id: str, head: Head) -> tuple[IndexState, WorkingCopy]:
        """A state at `head` from the newest generation, else from the rows, with a working copy of its own."""
        generation = load_generation(self._directory, kb_id, head, self._feed.get_epoch())
        folder = self._live / f"{head.space_id}-{secrets.token_hex(4)}"
        copy = WorkingCopy(folder, generation.lexical if generation else None)
        state = IndexState(
            kb_id=kb_id,
            space_id=head.space_id,
            revision=generation.revision if generation else 0,
            sealed=generation.revision if generation else -1,
            dense=open_view(head.dimension, generation.dense if generation else None),
            lexical=copy.open_view(),
            embedding_model=head.embedding_model,
        )
        if generation is not None:
            return self._advance(state, copy, head), copy
        rows = self._feed.iter_rows(head.space_id, head.revision, BATCH)
        return _apply(state, copy, rows, (), head.revision), copy

    def _advance(self, state: IndexState, copy: WorkingCopy, head: Head) -> IndexState:
        """The state at `head`'s revision: what came and went since is applied to both indexes."""
        if state.revision >= head.revision:
            return state
        changes = self._feed.list_changes(head.space_id, state.revision, head.revision)
        rows = self._iter_rows(head.space_id, changes.added)
        return _apply(state, copy, rows, changes.removed, head.revision)

    def _iter_rows(self, space_id: int, chunk_ids: Sequence[int]) -> Iterator[list[IndexRow]]:
        for start in range(0, len(chunk_ids), BATCH):
            yield self._feed.get_rows(space_id, chunk_ids[start : start + BATCH])

    def _adopt_newer(self, kb_id: str, place: _Place, state: IndexState) -> None:
        """Start adopting when a newer generation lies there and nobody is at it."""
        folder = find_space_folder(self._directory, kb_id, state.space_id)
        newest = next(iter(list_revisions(folder)), -1)
        if not state.sealed < newest <= state.revision:
            return
        self._start_adopter(kb_id, place)

    def _start_adopter(self, kb_id: str, place: _Place) -> None:
        with self._lock:
            if place.adopter is not None and place.adopter.is_alive():
                return
            place.adopter = Thread(target=self._run_adopter, args=(kb_id,), name=f"adopt-{kb_id}", daemon=True)
            place.adopter.start()

    def _run_adopter(self, kb_id: str) -> None:
        try:
            self.adopt_generation(kb_id)
        except KbError as error:
            logger.warning("index.adopt_failed", extra={"kb_id": kb_id, "code": error.code})


def _apply(
    state: IndexState, copy: WorkingCopy, batches: Iterator[list[IndexRow]], removed: Sequence[int], revision: int
) -> IndexState:
    """Lexical first, since it can fail on a full disk; repeated after a failure it replaces what it wrote before."""
    dense = [state.dense.apply((), stack_vectors([], state.dense.dimension), removed)]

    def take_dense() -> Iterator[list[IndexRow]]:
        for rows in batches:
            vectors = stack_vectors([row.vector for row in rows], state.dense.dimension)
            dense.append(dense.pop().apply([row.chunk_id for row in rows], vectors, ()))
            yield rows

    lexical = copy.apply(take_dense(), removed)
    return replace(state, revision=revision, dense=dense.pop(), lexical=lexical)


def _covers(state: IndexState, head: Head) -> bool:
    return state.space_id == head.space_id and state.revision >= head.revision


def _close(place: _Place) -> None:
    if place.copy is not None:
        place.copy.close()
        place.copy = None
