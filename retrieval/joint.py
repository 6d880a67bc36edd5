"""One question to several knowledge bases: each is searched as it is alone, then their hits are joined by rank.

Each knowledge base answers from its own state, with its own embedding model, at its own revision. Their scores share no
scale: cosines of two models do not compare, and BM25 weighs a term by how rare it is in one knowledge base. So hits are
fused by two ranks. One is the hit's rank at home. Alone it would be a round of firsts, a round of seconds and so on, in
which a knowledge base that knows nothing of the question fills its share. The other is the hit's rank among all hits by
the words of the question, weighed by how rare they are among these hits: one measure for all.

The token budget is one purse. A chunk costs the tokens that its own embedding model counts; all hits' own text comes
first, best first, and their neighbours get what is left, exactly as within one knowledge base.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace
from math import log
from pathlib import PurePosixPath
from time import perf_counter

from kb.ports import IndexFeed, OrdinalRange, TextSource
from kb.types import StoredChunk, Vectors
from retrieval.copies import collapse_copies
from retrieval.fuse import SMOOTHING
from retrieval.merge import Hit, Stretch, cut_hits, list_stretches, merge_hits
from retrieval.passages import read_passages
from retrieval.search import STEPS, Searcher, SearchRequest, SearchResult, Walk
from retrieval.terms import iter_tokens, read_terms
from retrieval.texts import TextReader

# Of a rank among all hits by words, where a rank at home counts 1 (docs/search.md has the figures).
COMMON_WEIGHT = 1.0
SATURATION = 1.2  # BM25's k1: how slowly further places of a term add up
LENGTH_WEIGHT = 0.75  # BM25's b: how much a text pays for being longer than the average
IMAGINED = 50  # texts without any term, added so that among a handful of hits a common term still counts for something

ReadHit = Callable[[Hit], str]


class JointSearcher:
    """A search of one knowledge base, or of several as one. Thread-safe."""

    def __init__(self, searcher: Searcher, feed: IndexFeed, texts: TextSource) -> None:
        self._searcher = searcher
        self._feed = feed
        self._texts = texts

    def search(self, request: SearchRequest) -> SearchResult:
        """Of `request.kb_id` and `request.also`, each once. What one of them raises, the search raises: an answer that
        lacks a knowledge base must not look like one that asked it. Raises what `Searcher.search` raises."""
        kb_ids = list(dict.fromkeys([request.kb_id, *request.also]))
        if len(kb_ids) == 1:
            return self._searcher.search(replace(request, also=()))
        embedded: dict[str, Vectors] = {}  # each model is asked once
        walks = [self._searcher.find_hits(replace(request, kb_id=kb_id, also=()), embedded) for kb_id in kb_ids]
        timings = {step: sum(walk.timings[step] for walk in walks) for step in STEPS}
        began, texts = perf_counter(), TextReader(self._texts)
        ranked = join_rankings(request.query, [walk.hits for walk in walks], lambda hit: _read_hit(hit, texts))
        hits = collapse_copies(ranked)[: request.top_k]
        joined = perf_counter()
        passages = read_passages(self._merge_hits(request, hits, walks), texts)
        ended = perf_counter()
        timings["fuse"] += 1000 * (joined - began)
        timings["merge"] += 1000 * (ended - joined)
        timings["total"] += 1000 * (ended - began)
        revisions = {walk.request.kb_id: walk.state.revision for walk in walks}
        return SearchResult(
            passages=passages,
            revision=max(revisions.values()),
            revisions=revisions,
            degraded=tuple(dict.fromkeys(step for walk in walks for step in walk.degraded)),
            timings_ms={step: round(spent, 3) for step, spent in timings.items()},
        )

    def _merge_hits(self, request: SearchRequest, hits: Sequence[Hit], walks: Sequence[Walk]) -> list[Stretch]:
        kept = cut_hits(hits, request.max_tokens)
        if not request.merge or not kept:
            return list_stretches(kept)
        spaces = {walk.request.kb_id: walk.state.space_id for walk in walks}
        by_version = {hit.chunk.version_id: spaces[hit.chunk.kb_id] for hit in kept}

        def list_neighbours(ranges: Sequence[OrdinalRange]) -> list[Sequence[StoredChunk]]:
            found: dict[OrdinalRange, Sequence[StoredChunk]] = {}
            for space_id in dict.fromkeys(by_version[version_id] for version_id, _, _ in ranges):
                mine = [one for one in ranges if by_version[one[0]] == space_id]
                found |= zip(mine, self._feed.list_neighbours(space_id, mine), strict=True)
            return [found[one] for one in ranges]

        return merge_hits(kept, request.max_tokens, list_neighbours)


def _read_hit(hit: Hit, texts: TextReader) -> str:
    """The chunk under what names it, as the lexical index has it; without it when it was purged a moment ago."""
    chunk = hit.chunk
    text = texts.read_text(chunk.text_sha) or ""
    return "\n".join(
        [chunk.title or "", chunk.heading or "", PurePosixPath(chunk.path).stem, text[chunk.start : chunk.end]]
    )


def join_rankings(question: str, rankings: Sequence[Sequence[Hit]], read: ReadHit) -> list[Hit]:
    """All hits as one ranking, best first, each with its joint score. Ties go to the knowledge base asked first.

    Where a reranker has seen every hit its scores decide: it sees the question and one text, whatever the text is from,
    so that they compare.
    """
    hits = [hit for ranking in rankings for hit in ranking]
    if all(hit.rerank is not None for hit in hits):
        return sorted(hits, key=lambda hit: -(hit.rerank or 0.0))
    at_home = [rank for ranking in rankings for rank in range(1, len(ranking) + 1)]
    by_words = rank_by_words(question, [read(hit) for hit in hits])
    scores = [
        1 / (SMOOTHING + home) + (COMMON_WEIGHT / (SMOOTHING + common) if common is not None else 0.0)
        for home, common in zip(at_home, by_words, strict=True)
    ]
    joined = [replace(hit, score=score) for hit, score in zip(hits, scores, strict=True)]
    return sorted(joined, key=lambda hit: -hit.score)


def rank_by_words(question: str, texts: Sequence[str]) -> list[int | None]:
    """Each text's place, from 1, by the question's words in it; equal texts share one, and those without any have none.

    BM25 over these texts alone: a term is worth the more the fewer of them have it.
    """
    terms = read_terms(question).tokens
    counts = [Counter(iter_tokens(text)) for text in texts]
    average = sum(count.total() for count in counts) / max(1, len(counts)) or 1.0
    holding = {term: sum(term in count for count in counts) for term in terms}
    whole = len(texts) + IMAGINED
    weights = {term: log(1 + (whole - held + 0.5) / (held + 0.5)) for term, held in holding.items()}
    scores = [_score_counts(count, weights, count.total() / average) for count in counts]
    places = {score: place for place, score in reversed(list(enumerate(sorted(scores, reverse=True), 1)))}
    return [places[score] if score > 0 else None for score in scores]


def _score_counts(counts: Counter[str], weights: dict[str, float], length: float) -> float:
    slowed = SATURATION * (1 - LENGTH_WEIGHT + LENGTH_WEIGHT * length)
    return sum(
        weight * counts[term] * (SATURATION + 1) / (counts[term] + slowed)
        for term, weight in weights.items()
        if term in counts
    )
