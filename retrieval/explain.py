"""Why a search found a document or did not: the search itself, and after each of its steps a look for that document.

The walk is the searcher's own, so that an explanation is of exactly the search with the same request. Beyond that only
a lost document costs more: the leg that lost it is asked deeper, up to what a search could ever ask for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Protocol

from kb.ports import IndexFeed
from kb.types import DocumentTrace, Match
from retrieval.copies import collapse_copies
from retrieval.merge import Hit, join_touching, list_stretches
from retrieval.search import MOST_CANDIDATES, SearchRequest, Walk, make_hits
from retrieval.stages import Stage, StageName, Step, Verdict, choose_leg, judge_chunked, judge_parsed, list_excluding
from retrieval.terms import read_terms

SHOWN = 8  # terms or paths that a reason names


class Walker(Protocol):
    """The search that is explained."""

    def walk(self, request: SearchRequest) -> Walk:
        """Raises what a search raises."""
        ...


class TraceSource(Protocol):
    """What the catalog knows of a document."""

    def trace(self, kb_id: str, name: str, space_id: int, revision: int) -> DocumentTrace:
        """By id or path; chunks are those of the space, the answering version that of the revision.

        Raises NotFound (`document_not_found`) when nothing of that name was ever uploaded.
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class Explanation:
    """`verdict` is `found` exactly when the search's passages hold the document; else it names what lost it."""

    document_id: str
    path: str
    title: str | None
    stages: Sequence[Stage]
    verdict: Verdict
    revision: int
    degraded: Sequence[str]


class Explainer:
    """Explains searches. Thread-safe: each explanation is a walk of its own."""

    def __init__(self, searcher: Walker, feed: IndexFeed, traces: TraceSource) -> None:
        self._searcher = searcher
        self._feed = feed
        self._traces = traces

    def explain(self, request: SearchRequest, document: str) -> Explanation:
        """Of the document with this id or path. Raises NotFound (`knowledge_base_not_found`, `document_not_found`),
        and what a search raises."""
        walk = self._searcher.walk(request)
        trace = self._traces.trace(request.kb_id, document, walk.state.space_id, walk.state.revision)
        steps = _Account(walk=walk, trace=trace, feed=self._feed).list_steps()
        version, newest = trace.answering, trace.newest
        return Explanation(
            document_id=trace.id,
            path=trace.path,
            title=version.title if version is not None else newest.title if newest is not None else None,
            stages=tuple(step.stage for step in steps),
            verdict=next((step.lost for step in steps if step.lost is not None), Verdict.FOUND),
            revision=walk.state.revision,
            degraded=tuple(walk.degraded),
        )


@dataclass(kw_only=True, slots=True)
class _Account:
    """One document's account of one walk. `own` are the chunks to look for."""

    walk: Walk
    trace: DocumentTrace
    feed: IndexFeed
    own: frozenset[int] = field(default=frozenset(), init=False)

    def list_steps(self) -> list[Step]:
        """Stage by stage; after the one that lost the document the others say that they never had it."""
        steps = [judge_parsed(self.trace, self.walk.state.revision)]
        if steps[-1].lost is None:
            steps.append(judge_chunked(self.trace))
        if steps[-1].lost is None and self.trace.answering is not None:
            self.own = frozenset(self.trace.answering.chunk_ids)
            dense, lexical = self._judge_dense(), self._judge_lexical()
            steps += [Step(stage=dense.stage), Step(stage=lexical.stage), self._judge_fused(dense, lexical)]
            if steps[-1].lost is None:
                steps += self._judge_reranked()
            if steps[-1].lost is None:
                steps += [self._judge_merged(), self._judge_budget()]
        return [*steps, *self._skip_after(steps[-1])]

    def _skip_after(self, last: Step) -> list[Step]:
        names: list[StageName] = ["parsed", "chunked", "dense", "lexical", "fused", "merged", "budget"]
        if self.walk.reranking is not None:
            names.insert(names.index("merged"), "reranked")
        reason = f"not reached: lost before, at stage {last.stage.name}"
        rest = names[names.index(last.stage.name) + 1 :]
        return [Step(stage=Stage(name=name, present=False, reason=reason)) for name in rest]

    # -- the legs ---------------------------------------------------------------------------------------------------

    def _judge_dense(self) -> Step:
        walk = self.walk
        if walk.vector is None:
            why = "mode is lexical: the vectors were not asked"
            if walk.request.mode != "lexical":
                why = f"the embedding model {walk.state.embedding_model} cannot answer: the words alone were asked"
            return Step(stage=Stage(name="dense", present=False, reason=why))
        if (place := self._find_place(walk.dense)) is not None:
            return self._rank_candidate("dense", walk.dense, place)
        dense, deeper = walk.state.dense, walk.dense
        if self._may_go_deeper(deeper):
            deeper = dense.search(walk.vector, MOST_CANDIDATES)
        if (place := self._find_place(deeper)) is not None:
            return self._rank_below("dense", deeper, place)
        if self.own.isdisjoint(dense.list_ids()):
            told = f"none of its chunks is in the dense index of revision {walk.state.revision}; run kb check"
            return Step(stage=Stage(name="dense", present=False, reason=told), lost=Verdict.NOT_INDEXED)
        told = f"beyond place {len(deeper):,} of {len(dense):,} chunks; {walk.asked:,} candidates were asked for"
        return Step(stage=Stage(name="dense", present=False, reason=told), lost=Verdict.BELOW_CANDIDATES_DENSE)

    def _judge_lexical(self) -> Step:
        walk = self.walk
        query = walk.request.query
        if walk.request.mode == "dense":
            return Step(stage=Stage(name="lexical", present=False, reason="mode is dense: the words were not asked"))
        if (place := self._find_place(walk.lexical)) is not None:
            return self._rank_candidate("lexical", walk.lexical, place)
        deeper = walk.lexical
        if self._may_go_deeper(deeper):
            deeper = walk.state.lexical.search(query, MOST_CANDIDATES)
        if (place := self._find_place(deeper)) is not None:
            return self._rank_below("lexical", deeper, place)
        if len(deeper) < MOST_CANDIDATES:
            told = f"it holds none of the question's terms ({_show_terms(query)}); {len(deeper):,} other chunks do"
            return Step(stage=Stage(name="lexical", present=False, reason=told), lost=Verdict.NO_MATCH_LEXICAL)
        told = f"beyond place {len(deeper):,}; {walk.asked:,} candidates were asked for"
        return Step(stage=Stage(name="lexical", present=False, reason=told), lost=Verdict.BELOW_CANDIDATES_LEXICAL)

    def _may_go_deeper(self, ranking: Sequence[Match]) -> bool:
        return self.walk.asked <= len(ranking) < MOST_CANDIDATES

    def _find_place(self, ranking: Sequence[Match]) -> int | None:
        """Where the document's best chunk stands, from 0."""
        return next((place for place, match in enumerate(ranking) if match.chunk_id in self.own), None)

    def _rank_candidate(self, name: StageName, ranking: Sequence[Match], place: int) -> Step:
        told = f"place {place + 1:,} of {len(ranking):,} candidates; {self.walk.asked:,} were asked for"
        score = ranking[place].score
        return Step(stage=Stage(name=name, present=True, rank=place + 1, score=score, reason=told))

    def _rank_below(self, name: StageName, deeper: Sequence[Match], place: int) -> Step:
        """In a ranking asked for anew. Equal scores may have come in another order there, never a higher one."""
        asked = self.walk.asked
        rank, score = max(place, asked) + 1, deeper[place].score
        told = f"place {rank:,}, below the {asked:,} candidates asked for, the last of which scores "
        told += f"{deeper[asked - 1].score:.4f}, its best chunk {score:.4f}"
        lost = Verdict.BELOW_CANDIDATES_DENSE if name == "dense" else Verdict.BELOW_CANDIDATES_LEXICAL
        return Step(stage=Stage(name=name, present=False, rank=rank, score=score, reason=told), lost=lost)

    # -- after the legs ---------------------------------------------------------------------------------------------

    def _judge_fused(self, dense: Step, lexical: Step) -> Step:
        excluding = list_excluding(self.walk.request.only, self.trace)
        if excluding:
            told = f"the filter excludes it by {'; '.join(excluding)}"
            return Step(stage=Stage(name="fused", present=False, reason=told), lost=Verdict.FILTERED)
        walk, top_k = self.walk, self.walk.request.top_k
        place = next((place for place, match in enumerate(walk.fused) if match.chunk_id in self.own), None)
        if place is None:
            told = f"in neither ranking: none of its chunks is among the {walk.asked:,} candidates asked of each leg"
            lost = choose_leg(dense.lost, lexical.lost)
            return Step(stage=Stage(name="fused", present=False, reason=told), lost=lost)
        score, reads = walk.fused[place].score, walk.reranking is not None and walk.reranking.fault is None
        handed = walk.candidates if reads else walk.hits
        for rank, _ in self._list_hits(handed):
            told = f"place {rank} of the {len(handed)} hits; {'all are reranked' if reads else f'top_k is {top_k}'}"
            return Step(stage=Stage(name="fused", present=True, rank=rank, score=score, reason=told))
        if (collapsed := self._find_collapsed(handed)) is not None:
            rank, hit = collapsed
            told = (
                f"collapsed into hit {rank}, of {hit.chunk.path}, which has the same text and names it as a duplicate"
            )
            stage = Stage(name="fused", present=False, rank=rank, score=score, reason=told)
            return Step(stage=stage, lost=Verdict.COLLAPSED)
        rank = max(self._count_visible(place), len(handed)) + 1  # one before it may have been deleted just now
        taker = "the reranker reads" if reads else f"top_k {top_k} takes"
        told = f"place {rank:,} of what may be seen; {taker} the first {len(handed)}"
        stage = Stage(name="fused", present=False, rank=rank, score=score, reason=told)
        return Step(stage=stage, lost=Verdict.BELOW_RERANK if reads else Verdict.BELOW_TOP_K)

    def _count_visible(self, place: int) -> int:
        """How many texts before this place of the fused ranking may be seen; the search itself stops at `top_k`."""
        walk = self.walk
        before = walk.fused[:place]
        ids = [match.chunk_id for match in before]
        visible = self.feed.list_visible(walk.request.kb_id, walk.state.revision, ids, walk.request.only)
        return len(collapse_copies(make_hits(before, visible)))

    def _find_collapsed(self, handed: Sequence[Hit]) -> tuple[int, Hit] | None:
        """The hit that stands for its text, with its place from 1."""
        ranked = enumerate(handed, 1)
        return next(((i, hit) for i, hit in ranked if any(one.id in self.own for one in hit.copies)), None)

    def _list_hits(self, hits: Sequence[Hit]) -> list[tuple[int, Hit]]:
        """The document's own ones, each with its place from 1."""
        return [(rank, hit) for rank, hit in enumerate(hits, 1) if hit.chunk.document_id == self.trace.id]

    def _judge_reranked(self) -> list[Step]:
        """Listed only when it was asked for."""
        walk, made = self.walk, self.walk.reranking
        if made is None:
            return []
        rank, hit = self._list_hits(made.hits)[0]
        if made.fault is not None:
            told = f"it could not be had, and the order of the fused ranking stands: {made.fault}"
            return [Step(stage=Stage(name="reranked", present=True, rank=rank, reason=told))]
        told, taken = f"place {rank} of the {len(made.hits)} that were read", len(walk.hits)
        told += f"; top_k {walk.request.top_k} takes the first {taken}"
        stage = Stage(name="reranked", present=rank <= taken, rank=rank, score=hit.rerank, reason=told)
        if stage.present:
            return [Step(stage=stage)]
        before = self._list_hits(walk.candidates)[0][0]
        told += (
            f", the last of which scores {walk.hits[-1].score:.4f}, its best chunk {hit.score:.4f}; the fused ranking "
        )
        told += f"had it at place {before}"
        lost = Verdict.DROPPED_BY_RERANK if before <= taken else Verdict.BELOW_TOP_K
        return [Step(stage=replace(stage, reason=told), lost=lost)]

    def _judge_merged(self) -> Step:
        """The passages that all hits would make: what the budget then cuts is told by the next stage."""
        walk = self.walk
        stretches = list_stretches(walk.hits)
        if walk.request.merge:
            stretches = join_touching(stretches)
        own = [(rank, one) for rank, one in enumerate(stretches, 1) if one.best.chunk.document_id == self.trace.id]
        rank, best = own[0]
        hits, passages = len(self._list_hits(walk.hits)), len(own)
        told = f"its hits ({hits}) make {passages} of {len(stretches)} passages, the best at place {rank}"
        if not walk.request.merge:
            told += "; merge is off, so that each hit is a passage"
        return Step(stage=Stage(name="merged", present=True, rank=rank, score=best.best.score, reason=told))

    def _judge_budget(self) -> Step:
        walk, budget = self.walk, self.walk.request.max_tokens
        used = sum(hit.chunk.tokens for hit in walk.kept)
        for rank, passage in enumerate(walk.passages, 1):
            if passage.document_id == self.trace.id:
                told = (
                    f"place {rank} of {len(walk.passages)} passages, whose hits take {used:,} of max_tokens {budget:,}"
                )
                return Step(stage=Stage(name="budget", present=True, rank=rank, score=passage.score, reason=told))
        if self._list_hits(walk.kept):
            told = "its hits fit, but its extracted text is not kept any more; run kb check"
            return Step(stage=Stage(name="budget", present=False, reason=told), lost=Verdict.TEXT_GONE)
        rank, hit = self._list_hits(walk.hits)[0]
        told = f"max_tokens {budget:,} holds the first {len(walk.kept)} hits ({used:,} tokens); its best one is hit "
        told += f"{rank}, of {hit.chunk.tokens:,} tokens; filled by {_show_spent(walk.kept)}"
        stage = Stage(name="budget", present=False, rank=rank, score=hit.score, reason=told)
        return Step(stage=stage, lost=Verdict.OVER_BUDGET)


def _show_terms(question: str) -> str:
    terms = read_terms(question)
    named = [*terms.tokens, *terms.characters]
    return ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "") if named else "there are none to look up"


def _show_spent(kept: Sequence[Hit]) -> str:
    """`hr/a.txt 120, hr/b.txt 80`: the tokens of each document's hits, best first."""
    spent: dict[str, int] = {}
    for hit in kept:
        spent[hit.chunk.path] = spent.get(hit.chunk.path, 0) + hit.chunk.tokens
    named = [f"{path} {tokens:,}" for path, tokens in spent.items()]
    return ", ".join(named[:SHOWN]) + (", …" if len(named) > SHOWN else "")
