"""From a question to passages: embed it ‖ tokenise it, ask both indexes, fuse, drop what is hidden, rerank, merge."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from time import perf_counter
from typing import Literal, Protocol

from kb.errors import InvalidInput, Unavailable
from kb.ports import Encoder, EncoderSource, IndexFeed, TextSource
from kb.types import Filter, Match, Vectors, VisibleChunk
from retrieval.copies import collapse_copies
from retrieval.fuse import BOTH, LEXICAL_FIRST, FusedMatch, Weights, fuse_rankings
from retrieval.merge import Hit, Stretch, cut_hits, list_stretches, merge_hits
from retrieval.passages import Passage, read_passages
from retrieval.rerank import Reranker
from retrieval.reranking import Reranking, count_candidates, rerank_hits
from retrieval.state import IndexState
from retrieval.texts import TextReader

Mode = Literal["hybrid", "dense", "lexical"]
STEPS = ("embed", "dense", "lexical", "fuse", "rerank", "merge", "total")
FEWEST_CANDIDATES = 50  # of each leg: fusing needs more than the answer holds
MOST_CANDIDATES = 10_000
FOR_COPIES = 8  # times as many candidates as at first, where copies alone leave too few: 3,000 of them cost 0.4 s else
TOP_K_LIMIT = 100


class IndexSource(Protocol):
    """Where a search gets the state of a knowledge base's indexes."""

    def get_state(self, kb_id: str) -> IndexState:
        """Raises NotFound (`knowledge_base_not_found`), Unavailable (`index_unavailable`)."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchRequest:
    """`max_tokens` counts tokens of the embedding model; `rerank` None is for: if it can be had. `also` are knowledge
    bases that are asked with `kb_id`, by a search that joins several."""

    query: str
    kb_id: str
    also: Sequence[str] = ()
    top_k: int = 8
    mode: Mode = "hybrid"
    rerank: bool | None = None
    merge: bool = True
    max_tokens: int = 2048
    only: Filter | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class SearchResult:
    """Passages best first; `degraded` names the steps that were asked for and could not be had. Of several knowledge
    bases `revision` is the highest; `revisions` has that of each. `refused` says by the rules of those asked whether
    the passages are too far from the question; None where there is no rule."""

    passages: Sequence[Passage]
    revision: int
    degraded: Sequence[str]
    timings_ms: dict[str, float]
    revisions: Mapping[str, int] = field(default_factory=dict)
    refused: bool | None = None


@dataclass(kw_only=True, slots=True)
class Walk:
    """One search on its way: the state it answers from, the question as a vector, and what each step made of it.

    `asked` is how many candidates each leg was last asked for; `candidates` are the best of the fused ranking that may
    be seen, each text once, `wanted` at most; `reranking` is what a reranker made of them, None where none was asked
    for; `hits` are the `top_k` best after it, `kept` those of them whose text the budget holds.
    """

    request: SearchRequest
    state: IndexState
    texts: TextReader
    vector: Vectors | None = None
    weights: Weights = BOTH
    wanted: int = 0
    asked: int = 0
    dense: Sequence[Match] = ()
    lexical: Sequence[Match] = ()
    fused: Sequence[FusedMatch] = ()
    candidates: Sequence[Hit] = ()
    reranking: Reranking | None = None
    hits: Sequence[Hit] = ()
    kept: Sequence[Hit] = ()
    passages: Sequence[Passage] = ()
    degraded: list[str] = field(default_factory=list)
    timings: dict[str, float] = field(default_factory=lambda: dict.fromkeys(STEPS, 0.0))

    @contextmanager
    def time_step(self, name: str) -> Iterator[None]:
        began = perf_counter()
        try:
            yield
        finally:
            self.timings[name] += 1000 * (perf_counter() - began)


class Searcher:
    """Answers questions from the indexes. Thread-safe: each search is a walk of its own."""

    def __init__(
        self,
        indexes: IndexSource,
        feed: IndexFeed,
        texts: TextSource,
        encoders: EncoderSource,
        reranker: Reranker | None = None,
    ) -> None:
        self._indexes = indexes
        self._feed = feed
        self._texts = texts
        self._encoders = encoders
        self._reranker = reranker
        self._beside = ThreadPoolExecutor(thread_name_prefix="dense")  # both legs let go of the interpreter

    def search(self, request: SearchRequest) -> SearchResult:
        """Raises InvalidInput (`bad_top_k`, `bad_max_tokens`), NotFound (`knowledge_base_not_found`), Unavailable
        (`index_unavailable`; `embedding_unavailable` in mode dense)."""
        walk = self.walk(request)
        return SearchResult(
            passages=walk.passages,
            revision=walk.state.revision,
            revisions={request.kb_id: walk.state.revision},
            degraded=tuple(walk.degraded),
            timings_ms={name: round(spent, 3) for name, spent in walk.timings.items()},
        )

    def walk(self, request: SearchRequest) -> Walk:
        """The same search with what each of its steps made. Raises what `search` raises."""
        walk = self.find_hits(request)
        with walk.time_step("total"), walk.time_step("merge"):
            walk.passages = read_passages(self._merge_hits(walk), walk.texts)
        return walk

    def find_hits(self, request: SearchRequest, embedded: dict[str, Vectors] | None = None) -> Walk:
        """The search as far as its hits. `embedded` has the same question as models embedded it, by their names, and
        takes what is embedded now. Raises what `search` raises."""
        _check_request(request)
        walk = Walk(request=request, state=self._indexes.get_state(request.kb_id), texts=TextReader(self._texts))
        with walk.time_step("total"):
            self._embed_question(walk, {} if embedded is None else embedded)
            self._find_candidates(walk)
            self._rerank(walk)
        return walk

    def _embed_question(self, walk: Walk, embedded: dict[str, Vectors]) -> None:
        """In a hybrid search a model that cannot answer costs the dense leg, not the search."""
        request = walk.request
        if request.mode == "lexical":
            return
        try:
            with walk.time_step("embed"):
                model = walk.state.embedding_model
                encoder = self._encoders.get_encoder(model)
                _check_space(encoder, walk.state)
                if model not in embedded:
                    embedded[model] = encoder.embed_question(request.query)
                walk.vector = embedded[model]
        except Unavailable:
            if request.mode == "dense":
                raise
            walk.degraded.append("dense")
            return
        walk.weights = LEXICAL_FIRST if encoder.lexical_leads else BOTH

    def _find_candidates(self, walk: Walk) -> None:
        """The best hits that may be seen, asking both legs for more while the join leaves too few."""
        top_k, rerank = walk.request.top_k, walk.request.rerank
        walk.wanted = count_candidates(top_k) if self._reranker and rerank is not False else top_k
        walk.asked = first = max(FEWEST_CANDIDATES, 4 * top_k)
        joined: dict[int, VisibleChunk | None] = {}
        while True:
            dense = self._beside.submit(self._ask_dense, walk, walk.asked)
            walk.lexical = self._ask_lexical(walk, walk.asked)
            walk.dense = dense.result()
            with walk.time_step("fuse"):
                walk.fused = fuse_rankings(walk.dense, walk.lexical, walk.weights)
                walk.candidates = self._join_visible(walk, joined)[: walk.wanted]
            full = max(len(walk.dense), len(walk.lexical)) >= walk.asked
            seen = sum(1 + len(hit.copies) for hit in walk.candidates)
            most = MOST_CANDIDATES if seen < walk.wanted else FOR_COPIES * first
            if len(walk.candidates) >= walk.wanted or not full or walk.asked >= most:
                return
            walk.asked = min(2 * walk.asked, MOST_CANDIDATES)

    def _join_visible(self, walk: Walk, joined: dict[int, VisibleChunk | None]) -> list[Hit]:
        """From the best down, slice by slice until enough are found. What may be seen is said by SQL alone: an index
        that is wrong finds less, it never shows more. `joined` keeps the answers from one round to the next."""
        seen: list[Hit] = []
        hits: list[Hit] = []
        request, start, size = walk.request, 0, 2 * walk.wanted
        if request.only is not None:  # a narrow filter leaves few of them
            size = max(FEWEST_CANDIDATES, size)
        while start < len(walk.fused) and len(hits) < walk.wanted:
            part = walk.fused[start : start + size]
            fresh = [match.chunk_id for match in part if match.chunk_id not in joined]
            if fresh:
                found = self._feed.list_visible(request.kb_id, walk.state.revision, fresh, request.only)
                joined.update((chunk_id, found.get(chunk_id)) for chunk_id in fresh)
            seen += make_hits(part, joined)
            hits = collapse_copies(seen)
            start, size = start + size, 2 * size
        return hits

    def _ask_dense(self, walk: Walk, wanted: int) -> list[Match]:
        with walk.time_step("dense"):
            return walk.state.dense.search(walk.vector, wanted) if walk.vector is not None else []

    def _ask_lexical(self, walk: Walk, wanted: int) -> list[Match]:
        with walk.time_step("lexical"):
            return walk.state.lexical.search(walk.request.query, wanted) if walk.request.mode != "dense" else []

    def _rerank(self, walk: Walk) -> None:
        request, best = walk.request, walk.candidates
        if request.rerank or (request.rerank is None and self._reranker):
            with walk.time_step("rerank"):
                walk.reranking = rerank_hits(self._reranker, request.query, best, walk.texts)
            best = walk.reranking.hits
            if walk.reranking.fault is not None:
                walk.degraded.append("rerank")
        walk.hits = best[: request.top_k]

    def _merge_hits(self, walk: Walk) -> list[Stretch]:
        walk.kept = cut_hits(walk.hits, walk.request.max_tokens)
        if not walk.request.merge or not walk.kept:
            return list_stretches(walk.kept)
        space_id = walk.state.space_id
        return merge_hits(
            walk.kept,
            walk.request.max_tokens,
            lambda ranges: self._feed.list_neighbours(space_id, ranges),
        )


def _check_request(request: SearchRequest) -> None:
    if not 1 <= request.top_k <= TOP_K_LIMIT:
        raise InvalidInput("bad_top_k", f"top_k is {request.top_k}, it must be between 1 and {TOP_K_LIMIT}")
    if request.max_tokens < 1:
        raise InvalidInput("bad_max_tokens", f"max_tokens is {request.max_tokens}, it must be at least 1")


def _check_space(encoder: Encoder, state: IndexState) -> None:
    """A question embedded by another model would be compared with noise."""
    if encoder.dimension != state.dense.dimension:
        raise Unavailable(
            "embedding_unavailable",
            f"{encoder.name} has dimension {encoder.dimension}, the index was made with {state.dense.dimension}",
        )


def make_hits(fused: Sequence[FusedMatch], joined: Mapping[int, VisibleChunk | None]) -> list[Hit]:
    """In the same order; what may not be seen has no chunk in `joined`, or None."""
    pairs = ((match, joined.get(match.chunk_id)) for match in fused)
    return [
        Hit(chunk=chunk, score=match.score, dense=match.dense, lexical=match.lexical, fused=match.score)
        for match, chunk in pairs
        if chunk is not None
    ]
