"""The stages a document passes on its way into an answer, and the verdicts on where it was lost.

Here are the two before any index is asked: whether the document was parsed, and whether it has chunks. What the steps
of a search made of it is told by `retrieval/explain.py`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Literal

from kb.types import Document, DocumentStatus, DocumentTrace, Filter, PageVerdict

StageName = Literal["parsed", "chunked", "dense", "lexical", "fused", "reranked", "merged", "budget"]


class Verdict(StrEnum):
    """Stable: programs go by it. `docs/search.md` says which stage each one names."""

    FOUND = "found"
    DELETED = "deleted"
    REMOVED = "removed"
    PENDING = "pending"
    NOT_PARSED = "not_parsed"
    SCANNED = "scanned"
    INDEX_BEHIND = "index_behind"
    NOT_CHUNKED = "not_chunked"
    FILTERED = "filtered"
    NOT_INDEXED = "not_indexed"
    NO_MATCH_LEXICAL = "no_match_lexical"
    BELOW_CANDIDATES_DENSE = "below_candidates_dense"
    BELOW_CANDIDATES_LEXICAL = "below_candidates_lexical"
    BELOW_CANDIDATES = "below_candidates"
    BELOW_TOP_K = "below_top_k"
    COLLAPSED = "collapsed"
    BELOW_RERANK = "below_rerank"
    DROPPED_BY_RERANK = "dropped_by_rerank"
    OVER_BUDGET = "over_budget"
    TEXT_GONE = "text_gone"


# In neither ranking of candidates: the leg that was nearest to finding it decides.
NEAREST_FIRST = (
    Verdict.BELOW_CANDIDATES_DENSE,
    Verdict.BELOW_CANDIDATES_LEXICAL,
    Verdict.NOT_INDEXED,
    Verdict.NO_MATCH_LEXICAL,
)


@dataclass(frozen=True, kw_only=True, slots=True)
class Stage:
    """`present`: the stage had the document and handed it on. `rank` is the place of its best chunk in the stage's own
    ranking, from 1, also where that is too far down to be handed on; None where it is in no ranking."""

    name: StageName
    present: bool
    reason: str
    rank: int | None = None
    score: float | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Step:
    """A stage, and the verdict if the document was lost there."""

    stage: Stage
    lost: Verdict | None = None


def judge_parsed(trace: DocumentTrace, revision: int) -> Step:
    """Whether a version of the document answers at `revision`."""
    if trace.deleted_at is not None:
        told = f"a user deleted it at {_show_time(trace.deleted_at)}, and nothing of it is kept; upload it again"
        return _lose_parsed(Verdict.DELETED, told)
    if trace.answering is not None:
        version = trace.answering
        told = f"version {version.number} answers at revision {revision}{_count_pages(version.verdicts)}"
        told += _tell_newest(trace.newest, version.number)
        return Step(stage=Stage(name="parsed", present=True, reason=told))
    if trace.newest is None:
        at = f" at {_show_time(trace.removed_at)}" if trace.removed_at is not None else ""
        told = f"a sync or a restore took it away with revision {trace.removed_revision}{at}"
        return _lose_parsed(Verdict.REMOVED, told)
    return _judge_newest(trace.newest, revision)


def _judge_newest(newest: Document, revision: int) -> Step:
    """Of a document of which no version answers."""
    told = f"version {newest.version} is {newest.status}"
    if newest.status is DocumentStatus.FAILED:
        verdicts = newest.verdicts
        scanned = bool(verdicts.get(PageVerdict.SCANNED)) and not verdicts.get(PageVerdict.INDEXED)
        told = f"version {newest.version} failed with {_show_error(newest)}{_count_pages(verdicts)}"
        return _lose_parsed(Verdict.SCANNED if scanned else Verdict.NOT_PARSED, told)
    if newest.status is DocumentStatus.READY:
        told += f", published after revision {revision}, from which this search answers; ask again in a moment"
        return _lose_parsed(Verdict.INDEX_BEHIND, told)
    return _lose_parsed(Verdict.PENDING, f"{told}: a job has still to index it, and no earlier version answers")


def _lose_parsed(verdict: Verdict, reason: str) -> Step:
    return Step(stage=Stage(name="parsed", present=False, reason=reason), lost=verdict)


def _tell_newest(newest: Document | None, answering: int) -> str:
    """What a reader must know who uploaded a newer version than the one that answers."""
    if newest is None or newest.version == answering:
        return ""
    if newest.status is DocumentStatus.FAILED:
        return f"; version {newest.version} failed with {_show_error(newest)}"
    return f"; version {newest.version} is {newest.status}"


def _show_error(newest: Document) -> str:
    return f"{newest.error.code} ({newest.error.detail})" if newest.error is not None else "no error code"


def _count_pages(verdicts: Mapping[PageVerdict, int]) -> str:
    """`; 4 pages: 1 indexed, 2 scanned, 1 empty`, or nothing when no page was looked at."""
    total = sum(verdicts.values())
    if not total:
        return ""
    counts = ", ".join(f"{count:,} {verdict}" for verdict, count in verdicts.items())
    return f"; {total:,} page{'s' if total > 1 else ''}: {counts}"


def _show_time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}"  # the catalog's times are UTC


def judge_chunked(trace: DocumentTrace) -> Step:
    """Whether the version that answers has chunks in the space that was asked."""
    version = trace.answering
    count = len(version.chunk_ids) if version is not None else 0
    if count:
        told = f"{count:,} chunk{'s' if count > 1 else ''}"
        return Step(stage=Stage(name="chunked", present=True, reason=told))
    told = "it has no chunks in the space that this search asked; a re-index may be replacing that space, ask again"
    return Step(stage=Stage(name="chunked", present=False, reason=told), lost=Verdict.NOT_CHUNKED)


def list_excluding(only: Filter | None, trace: DocumentTrace) -> list[str]:
    """For each field of the filter that the document does not pass, what it wants and what the document has."""
    version = trace.answering
    if only is None or version is None:
        return []
    told = []
    if only.path_prefix and not trace.path.startswith(only.path_prefix):
        told.append(f"path_prefix {only.path_prefix!r}: its path is {trace.path!r}")
    if only.language and version.language != only.language:
        told.append(f"language {only.language!r}: its language is {version.language!r}")
    return told + [
        f"metadata.{name} {only.metadata[name]!r}: it has {version.metadata.get(name)!r}"
        for name in only.list_differing(version.metadata)
    ]


def choose_leg(*losses: Verdict | None) -> Verdict:
    """Of a document that is in neither ranking."""
    if {Verdict.BELOW_CANDIDATES_DENSE, Verdict.BELOW_CANDIDATES_LEXICAL} <= set(losses):
        return Verdict.BELOW_CANDIDATES
    return next(verdict for verdict in NEAREST_FIRST if verdict in losses)
