"""Copies: the same text in several documents is answered with once, and the others are named beside it.

Two hits are of the same text when the very same string was embedded for both (a chunk under its headings), or when they
lie for half of the shorter one in the same place of the same extracted text: a file that is in two knowledge bases is
cut differently by two embedding models. A text that stands twice in one document is no copy: its neighbours differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from kb.types import VisibleChunk
from retrieval.merge import Hit

SHARED = 0.5  # of the shorter one of two stretches of the same text
MOST_NAMED = 20  # beside one passage: a footer may stand in thousands of documents


@dataclass(frozen=True, kw_only=True, slots=True)
class Duplicate:
    """A document that holds the same text as a passage of another one."""

    document_id: str
    path: str
    title: str | None
    kb_id: str


@dataclass(kw_only=True, slots=True)
class _Shelf:
    """Hits of one text, best first."""

    hits: list[Hit]
    documents: set[str] = field(default_factory=set)


def collapse_copies(hits: Sequence[Hit]) -> list[Hit]:
    """The hits without those whose text a better one has, in order; each names the `copies` that it stands for.

    Among copies that one stands whose document the answer has already: its chunks can then be joined. It takes the
    score of the best, since it takes its place.
    """
    shelves = _sort_hits(hits)
    if len(shelves) == len(hits):
        return list(hits)
    shown: dict[str, str] = {}  # the document that stands for a whole text, by the text
    kept = []
    for shelf in shelves:
        best = shelf.hits[0]
        chosen = next((hit for hit in shelf.hits if shown.get(hit.chunk.text_sha) == hit.chunk.document_id), best)
        shown.setdefault(chosen.chunk.text_sha, chosen.chunk.document_id)
        others = tuple(hit.chunk for hit in shelf.hits if hit is not chosen)
        kept.append(replace(chosen, score=best.score, copies=(*chosen.copies, *others)))
    return kept


def list_duplicates(chunks: Sequence[VisibleChunk], document_id: str) -> list[Duplicate]:
    """The first documents of these chunks, each once, without the one that is shown."""
    named: dict[str, Duplicate] = {}
    for chunk in chunks:
        one = Duplicate(document_id=chunk.document_id, path=chunk.path, title=chunk.title, kb_id=chunk.kb_id)
        named.setdefault(chunk.document_id, one)
    named.pop(document_id, None)
    return list(named.values())[:MOST_NAMED]


def _sort_hits(hits: Sequence[Hit]) -> list[_Shelf]:
    shelves: list[_Shelf] = []
    near: dict[str, list[_Shelf]] = {}  # by what is embedded and by the whole text
    for hit in hits:
        keys = (hit.chunk.input_sha, hit.chunk.text_sha)
        found = (shelf for key in keys for shelf in near.get(key, ()) if _is_copy(hit.chunk, shelf))
        shelf = next(found, None)
        if shelf is None:
            shelf = _Shelf(hits=[])
            shelves.append(shelf)
            for key in keys:
                near.setdefault(key, []).append(shelf)
        shelf.hits.append(hit)
        shelf.documents.add(hit.chunk.document_id)
    return shelves


def _is_copy(chunk: VisibleChunk, shelf: _Shelf) -> bool:
    if chunk.document_id in shelf.documents:
        return False
    best = shelf.hits[0].chunk
    if chunk.input_sha == best.input_sha:
        return True
    shorter = min(chunk.end - chunk.start, best.end - best.start)
    shared = min(chunk.end, best.end) - max(chunk.start, best.start)
    return chunk.text_sha == best.text_sha and shared > 0 and shared >= SHARED * shorter
