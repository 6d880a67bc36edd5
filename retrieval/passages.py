"""Passages: what a search answers with, read from the extracted texts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from retrieval.copies import Duplicate, list_duplicates
from retrieval.dates import read_date
from retrieval.merge import Stretch
from retrieval.texts import TextReader


@dataclass(frozen=True, kw_only=True, slots=True)
class Scores:
    """Of a passage's best chunk, step by step; None where a step did not see it."""

    dense: float | None
    lexical: float | None
    fused: float | None
    rerank: float | None


@dataclass(frozen=True, kw_only=True, slots=True)
class Passage:
    """`text` is exactly the characters `[start, end)` of the version's extracted text. `duplicates` are other documents
    of which the same text was found. `date` is the document's own, None where it states none; `added_at` is when this
    version came in."""

    text: str
    score: float
    scores: Scores
    document_id: str
    path: str
    title: str | None
    version: int
    version_id: int
    chunk_ids: Sequence[int]
    page_start: int
    page_end: int
    start: int
    end: int
    heading: str | None
    kb_id: str
    date: str | None
    added_at: datetime
    duplicates: Sequence[Duplicate] = ()


def read_passages(stretches: Sequence[Stretch], texts: TextReader) -> list[Passage]:
    """Passages with their text; those whose document was purged a moment ago are left out."""
    read = ((stretch, texts.read_text(stretch.best.chunk.text_sha)) for stretch in stretches)
    return [_make_passage(stretch, text) for stretch, text in read if text is not None]


def _make_passage(stretch: Stretch, text: str) -> Passage:
    hit, chunks = stretch.best, stretch.chunks
    return Passage(
        text=text[stretch.start : stretch.end],
        score=hit.score,
        scores=Scores(dense=hit.dense, lexical=hit.lexical, fused=hit.fused, rerank=hit.rerank),
        document_id=hit.chunk.document_id,
        path=hit.chunk.path,
        title=hit.chunk.title,
        version=hit.chunk.version,
        version_id=hit.chunk.version_id,
        chunk_ids=tuple(chunk.id for chunk in chunks),
        page_start=min(chunk.page_start for chunk in chunks),
        page_end=max(chunk.page_end for chunk in chunks),
        start=stretch.start,
        end=stretch.end,
        heading=hit.chunk.heading,
        kb_id=hit.chunk.kb_id,
        date=read_date(hit.chunk.stated_date),
        added_at=hit.chunk.added_at,
        duplicates=tuple(list_duplicates(stretch.copies, hit.chunk.document_id)),
    )
