"""Hits as a search would find them."""

from __future__ import annotations

from typing import Any

from fakes.clock import LONG_AGO

from kb.types import VisibleChunk
from retrieval.merge import Hit


def make_hit(document: str, score: float, **fields: Any) -> Hit:
    """Of a text of the document's own, unless `fields` say otherwise."""
    values: dict[str, Any] = {
        "id": round(1000 * score), "version_id": 1, "version": 1, "text_sha": document, "ordinal": 0, "start": 0,
        "end": 100, "page_start": 1, "page_end": 1, "heading": None, "tokens": 10, "document_id": document,
        "path": f"{document}.txt", "title": None, "kb_id": "kb1", "input_sha": f"{document} {score}",
        "stated_date": None, "added_at": LONG_AGO,
    }  # fmt: skip
    return Hit(chunk=VisibleChunk(**values | fields), score=score)
