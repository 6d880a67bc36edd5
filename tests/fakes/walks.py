"""What an explanation needs, in memory: a searcher over a state without files, and the traces of a `MemoryFeed`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from fakes.feed import Encoders, FakeVersion, HashEncoder, MemoryFeed

from kb.errors import NotFound
from kb.types import (
    AnsweringVersion,
    Document,
    DocumentError,
    DocumentStatus,
    DocumentTrace,
    IndexRow,
    Match,
    PageVerdict,
)
from retrieval.candidate import OneState
from retrieval.dense import open_view
from retrieval.explain import Explainer, Explanation
from retrieval.rerank import Reranker
from retrieval.search import Searcher, SearchRequest, SearchResult
from retrieval.state import IndexState
from retrieval.terms import iter_tokens, read_terms
from retrieval.unit_vectors import stack_vectors

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


class WordView:
    """A lexical index that counts the question's terms in each text."""

    def __init__(self, rows: Sequence[IndexRow]) -> None:
        self._counts = {row.chunk_id: Counter(iter_tokens(row.text)) for row in rows}

    def __len__(self) -> int:
        return len(self._counts)

    def search(self, question: str, k: int) -> list[Match]:
        terms = read_terms(question).tokens
        scored = ((i, sum(min(counts[term], 3) for term in terms)) for i, counts in self._counts.items())
        found = [Match(chunk_id=i, score=float(score)) for i, score in scored if score]
        return sorted(found, key=lambda match: (-match.score, match.chunk_id))[:k]


def make_document(**fields: Any) -> Document:
    """The newest attempt of a document, ready unless `fields` say otherwise."""
    values: dict[str, Any] = {
        "id": "d1", "kb_id": "kb1", "path": "a.txt", "title": "A", "media_type": "text/plain", "size": 1,
        "sha256": "0" * 64, "status": DocumentStatus.READY, "language": "en", "encoding": None, "pages": 1, "chunks": 1,
        "coverage": 1.0, "verdicts": {PageVerdict.INDEXED: 1}, "error": None, "version": 1, "live_version": 1,
        "metadata": {}, "source_id": None, "source_state": None, "created_at": NOON, "updated_at": NOON,
    }  # fmt: skip
    return Document(**values | fields)


def fail_document(code: str, **fields: Any) -> Document:
    error = DocumentError(code=code, detail="the test said so")
    return make_document(**{"status": DocumentStatus.FAILED, "error": error, "live_version": None} | fields)


class House:
    """A knowledge base `kb1` in memory with a searcher and an explainer over the state it had when it was built.

    `traces` by path replace what would be told of a document.
    """

    def __init__(self, documents: dict[str, list[str]], reranker: Reranker | None = None, **extra: Any) -> None:
        self.reranker = reranker
        self.feed = MemoryFeed()
        self.feed.add_kb("kb1")
        self.feed.publish("kb1", documents, **extra)
        self.encoder = HashEncoder()
        self.traces: dict[str, DocumentTrace] = {}
        self.state = self.build_state()
        self.searcher = Searcher(OneState(self.state), self.feed, self.feed, Encoders(self.encoder), reranker)
        self.explainer = Explainer(self.searcher, self.feed, self)

    def build_state(self) -> IndexState:
        head = self.feed.get_head("kb1")
        rows = [row for batch in self.feed.iter_rows(head.space_id, head.revision) for row in batch]
        vectors = stack_vectors([row.vector for row in rows], head.dimension)
        return IndexState(
            kb_id="kb1",
            space_id=head.space_id,
            revision=head.revision,
            sealed=-1,
            dense=open_view(head.dimension).apply([row.chunk_id for row in rows], vectors, ()),
            lexical=WordView(rows),  # type: ignore[arg-type]  # what of it a search uses
            embedding_model=head.embedding_model,
        )

    def use_state(self, **changes: Any) -> None:
        """Answer from a state that is otherwise than it should be."""
        state = replace(self.state, **changes)
        self.searcher = Searcher(OneState(state), self.feed, self.feed, Encoders(self.encoder), self.reranker)
        self.explainer = Explainer(self.searcher, self.feed, self)

    def search(self, query: str, **options: Any) -> SearchResult:
        return self.searcher.search(SearchRequest(query=query, kb_id="kb1", **options))

    def explain(self, query: str, document: str, **options: Any) -> Explanation:
        return self.explainer.explain(SearchRequest(query=query, kb_id="kb1", **options), document)

    def trace(self, kb_id: str, name: str, space_id: int, revision: int) -> DocumentTrace:
        if name in self.traces:
            return self.traces[name]
        versions = [v for v in self.feed.versions.values() if v.kb_id == kb_id and name in (v.path, v.document_id)]
        if not versions:
            raise NotFound("document_not_found", f"no document {name!r}")
        newest = versions[-1]
        deleted = newest.document_id in self.feed.deleted
        return DocumentTrace(
            id=newest.document_id,
            path=newest.path,
            deleted_at=NOON if deleted else None,
            newest=None if deleted else make_document(id=newest.document_id, path=newest.path, version=newest.number),
            answering=None if deleted else next((_answer(v) for v in versions if _answers(v, revision)), None),
        )


def _answers(version: FakeVersion, revision: int) -> bool:
    return version.since <= revision and (version.until is None or revision < version.until)


def _answer(version: FakeVersion) -> AnsweringVersion:
    return AnsweringVersion(
        number=version.number,
        title=version.title,
        language=version.language,
        metadata=version.metadata,
        verdicts={PageVerdict.INDEXED: 1},
        chunk_ids=[chunk.id for chunk in version.chunks],
    )
