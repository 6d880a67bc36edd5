"""Searching a knowledge base as it is and as it would be, before anything is published.

Both states come off one shelf, which lives as long as the comparison: it builds the state at the head as any process
does, from the newest sealed generation and what came after, and then catches up with the candidate as it would with a
revision. In the same space the two states share the sealed vectors; only what came is read. In another space the
candidate's state is built from that space's rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kb.errors import Unavailable
from kb.ports import EncoderSource, IndexFeed, TextSource
from kb.types import Candidate, Head
from retrieval.search import Searcher, SearchRequest, SearchResult
from retrieval.state import IndexShelf, IndexState, ShelfFeed


class CandidateFeed(ShelfFeed, Protocol):
    """A feed with one revision more than there is; its head stands before it until `advance`."""

    def advance(self) -> None:
        """Move the head on to the candidate's revision."""
        ...


class CandidateFeeds(Protocol):
    def open_feed(self, candidate: Candidate) -> CandidateFeed:
        """Raises NotFound (`knowledge_base_not_found`)."""
        ...


class OneState:
    """An index source that has one state and keeps to it."""

    def __init__(self, state: IndexState) -> None:
        self._state = state

    def get_state(self, kb_id: str) -> IndexState:
        del kb_id
        return self._state


@dataclass(frozen=True, kw_only=True, slots=True)
class StateSearch:
    """Searches of one state, hybrid and merged as the server does it."""

    searcher: Searcher
    state: IndexState

    def ask(self, question: str, top_k: int) -> SearchResult:
        """Raises Unavailable (`database_unavailable`)."""
        return self.searcher.search(SearchRequest(query=question, kb_id=self.state.kb_id, top_k=top_k))


class CandidateIndexes:
    """Builds both states for a comparison. Thread-safe."""

    def __init__(self, feeds: CandidateFeeds, texts: TextSource, encoders: EncoderSource, directory: Path) -> None:
        """`directory` holds the sealed generations; a folder of a comparison's own is made in it and removed."""
        self._feeds = feeds
        self._texts = texts
        self._encoders = encoders
        self._directory = directory

    @contextmanager
    def open_both(self, candidate: Candidate) -> Iterator[tuple[StateSearch, StateSearch]]:
        """The knowledge base before and after. Raises NotFound (`knowledge_base_not_found`), Unavailable
        (`index_unavailable`)."""
        feed = self._feeds.open_feed(candidate)
        shelf = IndexShelf(feed, self._directory)
        try:
            before = self._take_state(shelf, feed, feed.get_head(candidate.kb_id), candidate.kb_id)
            feed.advance()
            after = self._take_state(shelf, feed, feed.get_head(candidate.kb_id), candidate.kb_id)
            yield before, after
        finally:
            shelf.close()

    def _take_state(self, shelf: IndexShelf, feed: IndexFeed, head: Head, kb_id: str) -> StateSearch:
        state = shelf.get_state(kb_id)
        if (state.space_id, state.revision) != (head.space_id, head.revision):  # a shelf rather answers from an old one
            raise Unavailable("index_unavailable", "the index to be judged cannot be built; see the log and try again")
        searcher = Searcher(OneState(state), feed, self._texts, self._encoders)
        return StateSearch(searcher=searcher, state=state)
