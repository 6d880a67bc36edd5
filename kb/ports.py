"""The seams that two packages call. A Protocol with one caller lives beside that caller instead."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Protocol

from kb.types import (
    Candidate,
    ChangeSet,
    Counts,
    Filter,
    GateReport,
    Head,
    IndexRow,
    Offsets,
    Source,
    StoredChunk,
    Vectors,
    VisibleChunk,
)

OrdinalRange = tuple[int, int, int]  # version id, first ordinal, last ordinal


class TokenCounter(Protocol):
    """Counts tokens of one embedding model. Thread-safe."""

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        """Tokens of each span `text[cuts[i]:cuts[i + 1]]`, in one pass over `text`.

        `cuts` ascends from 0 to `len(text)`; the answer has `len(cuts) - 1` numbers, ≥ 0. A token that straddles a cut
        counts for the span it starts in. Special tokens are not counted.
        """
        ...


class Encoder(TokenCounter, Protocol):
    """An embedding model: texts to unit vectors. Thread-safe."""

    @property
    def name(self) -> str:
        """What the user calls it: `builtin`, `BAAI/bge-base-zh-v1.5`, …"""
        ...

    @property
    def fingerprint(self) -> str:
        """Changes whenever vectors stop being comparable: model, weights, pooling, instruction, dimension."""
        ...

    @property
    def dimension(self) -> int: ...

    @property
    def max_tokens(self) -> int:
        """Longest input that is embedded whole, in this model's tokens."""
        ...

    @property
    def lexical_leads(self) -> bool:
        """True when vectors carry no meaning beyond shared characters, so that the lexical ranking must lead."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """One unit vector a text, shape (len(texts), dimension), float32, finite; a text without any feature gets an
        arbitrary but fixed unit vector, never zeros.

        Raises Unavailable (`embedding_unavailable`) when the model cannot answer, DocumentFailed (`embedding_refused`)
        when it takes nothing of one of the texts.
        """
        ...

    def embed_question(self, question: str) -> Vectors:
        """Shape (1, dimension): the question with the model's own query instruction."""
        ...


class EncoderSource(Protocol):
    """Finds encoders by the name a knowledge base keeps."""

    def get_encoder(self, name: str) -> Encoder:
        """The same object for the same name; loads it at first use.

        Raises Unavailable (`embedding_unavailable`) within 2 s when the model is not on this machine; of a model
        behind a server, when that does not answer a question in time.
        """
        ...


class IndexFeed(Protocol):
    """What the index caches are built from and checked against: SQL is the truth. Thread-safe, each call one read."""

    def get_head(self, kb_id: str) -> Head:
        """Raises NotFound (`knowledge_base_not_found`)."""
        ...

    def get_epoch(self) -> str:
        """Renewed by a restore of the database; an index file of another epoch is foreign."""
        ...

    def list_changes(self, space_id: int, after: int, upto: int) -> ChangeSet:
        """Net change of the space over revisions `after < r ≤ upto`: a chunk that came and went is in neither list."""
        ...

    def iter_rows(self, space_id: int, revision: int, batch: int = 1000) -> Iterator[list[IndexRow]]:
        """Every chunk visible at `revision`, in ascending chunk id, read in batches so that no reader pins the log.

        Chunks purged since `revision` are left out: the caller finds them in `list_changes`.
        """
        ...

    def get_rows(self, space_id: int, chunk_ids: Sequence[int]) -> list[IndexRow]:
        """Rows for these chunks, those purged meanwhile left out, in ascending chunk id."""
        ...

    def list_visible(
        self, kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter | None = None
    ) -> dict[int, VisibleChunk]:
        """Those of `chunk_ids` visible at `revision`, of a document that is not deleted *now*, and within `only`."""
        ...

    def list_neighbours(self, space_id: int, ranges: Sequence[OrdinalRange]) -> list[list[StoredChunk]]:
        """For each range the chunks of its version with `first ≤ ordinal ≤ last`, in order."""
        ...


class Gate(Protocol):
    """Asks a knowledge base's golden questions of what is about to be published."""

    def judge(self, candidate: Candidate) -> GateReport | None:
        """None when the knowledge base has no golden questions. Publishes nothing, changes nothing.

        Raises NotFound (`knowledge_base_not_found`), Unavailable when a part it needs does not answer.
        """
        ...


class SyncPlanner(Protocol):
    """Says what a sync would do, and does nothing."""

    def plan(self, source: Source) -> Mapping[str, Any]:
        """`{added, changed, moved, removed, unchanged: n, paths: {added: […], changed: […], moved: [{from, to}],
        removed: […], failed: [{path, code, detail}]}}`, paths as documents have them. Of web pages also `skipped`, and
        `complete`: whether the whole site was seen in the time there was; what was not is in no list.

        Raises InvalidInput (`root_…`) when the source cannot be read, NotFound, Unavailable (`source_unavailable`).
        """
        ...


class TextSource(Protocol):
    """Extracted texts by their hash."""

    def read_text(self, text_sha: str) -> str:
        """Raises Gone (`text_gone`) when it is no longer kept."""
        ...
