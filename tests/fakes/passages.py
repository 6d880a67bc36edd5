"""Passages as a search would answer with, made from plain text."""

from __future__ import annotations

from fakes.clock import LONG_AGO

from retrieval.passages import Passage, Scores

NO_SCORES = Scores(dense=None, lexical=None, fused=None, rerank=None)


def make_passage(text: str, **fields: object) -> Passage:
    """A passage of document `d1` at the beginning of its text, on page 1, unless `fields` says otherwise."""
    start = int(str(fields.pop("start", 0)))
    values: dict[str, object] = {
        "score": 1.0,
        "scores": NO_SCORES,
        "document_id": "d1",
        "path": "handbook.pdf",
        "title": "Handbook",
        "version": 1,
        "version_id": 1,
        "chunk_ids": (1,),
        "page_start": 1,
        "page_end": 1,
        "heading": None,
        "kb_id": "kb1",
        "date": None,
        "added_at": LONG_AGO,
        **fields,
    }
    return Passage(text=text, start=start, end=start + len(text), **values)  # type: ignore[arg-type]
