"""What the faces share: a search as either side has it, and what they tell of a passage.

A face asks anything with a `search`: a running server (`retrieval/faces/server.py`), or a `JointSearcher` or `Searcher`
in the same process. Both take our own request, so that a face knows neither HTTP nor an index.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from kb.types import Filter
from retrieval.search import Mode, SearchRequest


class FoundPassage(Protocol):
    """A stretch of a document's text, as a search gives it. `score` is higher when nearer."""

    @property
    def text(self) -> str: ...
    @property
    def score(self) -> float: ...
    @property
    def document_id(self) -> str: ...
    @property
    def path(self) -> str: ...
    @property
    def title(self) -> str | None: ...
    @property
    def version(self) -> int: ...
    @property
    def chunk_ids(self) -> Sequence[int]: ...
    @property
    def page_start(self) -> int: ...
    @property
    def page_end(self) -> int: ...
    @property
    def start(self) -> int: ...
    @property
    def end(self) -> int: ...
    @property
    def heading(self) -> str | None: ...
    @property
    def kb_id(self) -> str: ...


class Found(Protocol):
    """Passages best first, and the revision of each knowledge base that was asked, by its id."""

    @property
    def passages(self) -> Sequence[FoundPassage]: ...
    @property
    def revisions(self) -> Mapping[str, int]: ...


class SearchSource(Protocol):
    """Blocks; called in a thread where a framework waits for it. Raises KbError."""

    def search(self, request: SearchRequest) -> Found: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Retrieval:
    """What every question of a retriever asks for. A server takes names or ids of knowledge bases, a searcher ids."""

    knowledge_bases: Sequence[str]
    top_k: int
    mode: Mode
    merge: bool
    max_tokens: int
    filter: Mapping[str, Any] | None

    def __post_init__(self) -> None:
        """Raises ValueError for no knowledge base and for a filter of other fields than a search's."""
        if not self.knowledge_bases:
            raise ValueError("knowledge_bases is empty: name at least one")
        unknown = set(self.filter or {}) - {"path_prefix", "language", "metadata"}
        if unknown:
            raise ValueError(f"filter has {sorted(unknown)}: it takes path_prefix, language and metadata")

    def write_request(self, query: str) -> SearchRequest:
        first, *others = self.knowledge_bases
        return SearchRequest(
            query=query,
            kb_id=first,
            also=others,
            top_k=self.top_k,
            mode=self.mode,
            merge=self.merge,
            max_tokens=self.max_tokens,
            only=Filter(**self.filter) if self.filter else None,
        )


def describe_passage(passage: FoundPassage, revisions: Mapping[str, int]) -> dict[str, Any]:
    """Metadata of a passage: where it stands, how near it is, and of which state of its knowledge base it is."""
    return {
        "document_id": passage.document_id,
        "path": passage.path,
        "title": passage.title,
        "heading": passage.heading,
        "page_start": passage.page_start,
        "page_end": passage.page_end,
        "start": passage.start,
        "end": passage.end,
        "score": passage.score,
        "chunk_ids": list(passage.chunk_ids),
        "version": passage.version,
        "knowledge_base_id": passage.kb_id,
        "revision": revisions.get(passage.kb_id),
    }


def name_passage(passage: FoundPassage) -> str:
    """An id that the same stretch of the same version has in every answer."""
    return f"{passage.document_id}/{passage.version}/{passage.start}-{passage.end}"
