"""The searches of one answer: the first by the question, others by what a chat model wants to know besides."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace

from retrieval.passages import Passage
from retrieval.question import check_question
from retrieval.relevance import PassageSource
from retrieval.search import SearchRequest, SearchResult

SHARES = 2  # of max_context_tokens, where a model may search on: one for the first search, one for its own


class Research:
    """All of them go to the same knowledge bases with the same filter and bounds. A model may search in `rounds`."""

    def __init__(self, source: PassageSource, request: SearchRequest, *, rounds: int, longest: int) -> None:
        self.rounds = rounds
        self._source = source
        self._request = request
        self._longest = longest
        self._results: list[SearchResult] = []

    @property
    def question(self) -> str:
        return self._request.query

    async def begin(self) -> SearchResult:
        """By the question. Raises what the source's search raises."""
        return await self._find(self._request)

    async def search(self, query: str) -> Sequence[Passage]:
        """What bears on the query by the rules of the knowledge bases.

        Raises InvalidInput (`question_empty`, `question_too_long`), and what the source's search raises.
        """
        found = await self._find(replace(self._request, query=check_question(query, self._longest)))
        return () if found.refused else found.passages

    def sum_up(self) -> SearchResult:
        """The first result, with the revisions that all of them saw and what any of them had to do without."""
        return replace(
            self._results[0],
            revision=max(result.revision for result in self._results),
            revisions={kb_id: revision for result in self._results for kb_id, revision in result.revisions.items()},
            degraded=tuple(dict.fromkeys(step for result in self._results for step in result.degraded)),
        )

    async def _find(self, request: SearchRequest) -> SearchResult:
        found = await asyncio.to_thread(self._source.search, request)
        self._results.append(found)
        return found
