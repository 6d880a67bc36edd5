"""What an index is fed with, and what a search joins back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from kb.types.documents import Metadata

Offsets = Sequence[int] | NDArray[np.int64]
Counts = Sequence[float] | NDArray[np.float64]
Vectors = NDArray[np.float32]  # shape (n, dimension), unit length, C-contiguous


@dataclass(frozen=True, kw_only=True, slots=True)
class Head:
    """Where a knowledge base stands: everything up to `revision` is committed, `space_id` is the live space, of
    vectors by `embedding_model`."""

    revision: int
    space_id: int
    dimension: int
    embedding_model: str


@dataclass(frozen=True, kw_only=True, slots=True)
class IndexRow:
    """One chunk as both indexes take it. `vector` is float16, shape (dimension,)."""

    chunk_id: int
    text: str
    title: str
    path: str
    heading: str
    vector: NDArray[np.float16]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChangeSet:
    """Net effect of a range of revisions on one space: chunk ids that came and chunk ids that went."""

    added: Sequence[int]
    removed: Sequence[int]


@dataclass(frozen=True, kw_only=True, slots=True)
class Filter:
    """What a search is limited to; None or empty means no limit. Metadata fields must all be equal."""

    path_prefix: str | None = None
    language: str | None = None
    metadata: Metadata = field(default_factory=dict)

    def list_differing(self, metadata: Metadata) -> list[str]:
        """The metadata fields of which these have another value. null is equal to a field that is not there."""
        return [name for name, value in self.metadata.items() if not _is_same(metadata.get(name), value)]


def _is_same(one: object, other: object) -> bool:
    """As JSON has it: true is no 1, as it is to Python, but 1 and 1.0 are one number."""
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(_is_same(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_is_same, one, other))
    return isinstance(one, bool) == isinstance(other, bool) and one == other


@dataclass(frozen=True, kw_only=True, slots=True)
class Match:
    """What an index returns. Higher score is nearer."""

    chunk_id: int
    score: float


@dataclass(frozen=True, kw_only=True, slots=True)
class VisibleChunk:
    """A chunk that is visible at the asked revision, joined with its document. `text_sha` names the extracted text,
    `input_sha` the string that was embedded: the chunk under its headings. `stated_date` is what the document's
    metadata has under `date`, whatever that is; `added_at` is when this version came in."""

    id: int
    version_id: int
    version: int
    text_sha: str
    ordinal: int
    start: int
    end: int
    page_start: int
    page_end: int
    heading: str | None
    tokens: int
    document_id: str
    path: str
    title: str | None
    kb_id: str
    input_sha: str
    stated_date: object
    added_at: datetime
