"""An IndexFeed, a TextSource and an encoder in memory, with the semantics that the ports' docstrings promise."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from threading import RLock
from typing import Any

import numpy as np
from fakes.clock import LONG_AGO

from kb.errors import Gone, NotFound, Unavailable
from kb.ports import OrdinalRange
from kb.tokens import estimate_tokens
from kb.types import ChangeSet, Counts, Filter, Head, IndexRow, Offsets, StoredChunk, Vectors, VisibleChunk


class HashEncoder:
    """Character bigrams hashed into `dimension` buckets: texts that share characters are near."""

    def __init__(self, dimension: int = 32, *, lexical_leads: bool = False) -> None:
        self.name = "fake"
        self.fingerprint = f"fake-{dimension}"
        self.dimension = dimension
        self.max_tokens = 512
        self.lexical_leads = lexical_leads
        self.down = False

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        if self.down:
            raise Unavailable("embedding_unavailable", "the fake encoder was switched off")
        rows = np.zeros((len(texts), self.dimension), dtype=np.float32)
        for row, text in zip(rows, texts, strict=True):
            row[0] = 0.01
            for i in range(len(text) - 1):
                digest = hashlib.blake2b(text[i : i + 2].lower().encode(), digest_size=4).digest()
                row[int.from_bytes(digest) % self.dimension] += 1
            row /= np.linalg.norm(row)
        return rows

    def embed_question(self, question: str) -> Vectors:
        return self.embed_texts([question])

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        return [estimate_tokens(text[a:b]) for a, b in pairwise(cuts)]


class Encoders:
    """An EncoderSource with one encoder under every name."""

    def __init__(self, encoder: Any) -> None:
        self.encoder = encoder

    def get_encoder(self, name: str) -> Any:
        if name == "missing":
            raise Unavailable("embedding_unavailable", f"{name} is not on this machine")
        return self.encoder


@dataclass
class FakeVersion:
    id: int
    number: int
    kb_id: str
    document_id: str
    path: str
    title: str
    text_sha: str
    chunks: list[StoredChunk]
    metadata: Mapping[str, Any] = field(default_factory=dict)
    language: str | None = None
    since: int = 0
    until: int | None = None


@dataclass
class FakeHead:
    revision: int
    space_id: int


class MemoryFeed:
    """A catalog of documents; `publish` and `remove` each make one revision. Also the TextSource."""

    def __init__(self, dimension: int = 32, epoch: str = "epoch-1") -> None:
        self.dimension = dimension
        self.epoch = epoch
        self.encoder: Any = HashEncoder(dimension)
        self.embedding_model = self.encoder.name
        self.texts: dict[str, str] = {}
        self.heads: dict[str, FakeHead] = {}
        self.versions: dict[int, FakeVersion] = {}
        self.owners: dict[int, int] = {}  # chunk id -> version id
        self.chunks: dict[int, StoredChunk] = {}
        self.vectors: dict[int, Any] = {}
        self.deleted: set[str] = set()
        self.log: list[tuple[int, int, str, int]] = []  # revision, space, op, chunk id
        self.row_reads = 0
        self.lock = RLock()
        self._next_chunk = 1

    # -- what tests write -------------------------------------------------------------------------------------------

    def add_kb(self, kb_id: str) -> None:
        self.heads[kb_id] = FakeHead(revision=0, space_id=len(self.heads) + 1)

    def publish(self, kb_id: str, documents: Mapping[str, Sequence[str]], **extra: Any) -> int:
        """One revision with these documents, path to chunk texts; a path that is there gets a new version."""
        flat = [chunk for chunks in documents.values() for chunk in chunks]
        rows = iter(self.encoder.embed_texts(flat).astype(np.float16)) if flat else iter(())
        with self.lock:
            head = self.heads[kb_id]
            revision = head.revision + 1
            for path, texts in documents.items():
                before = self._find_open(kb_id, path)
                if before is not None:
                    self._close(before, revision)
                self._stage(kb_id, path, texts, revision, rows, before, extra)
            head.revision = revision
            return revision

    def remove(self, kb_id: str, path: str, *, purge: bool = True) -> int:
        """Delete a document: gone from every join now, rows purged, one revision."""
        with self.lock:
            version = self._find_open(kb_id, path)
            assert version is not None, path
            revision = self.heads[kb_id].revision + 1
            self._close(version, revision)
            self.deleted.add(version.document_id)
            if purge:
                self.purge(version)
            self.heads[kb_id].revision = revision
            return revision

    def purge(self, version: FakeVersion) -> None:
        self.texts.pop(version.text_sha, None)
        for chunk in version.chunks:
            self.vectors.pop(chunk.id, None)

    def reopen(self, kb_id: str, version_id: int) -> int:
        """A restore: an old version answers again, with the same chunk ids."""
        with self.lock:
            revision = self.heads[kb_id].revision + 1
            version = self.versions[version_id]
            version.since, version.until = revision, None
            space = self.heads[kb_id].space_id
            self.log += [(revision, space, "+", chunk.id) for chunk in version.chunks]
            self.heads[kb_id].revision = revision
            return revision

    def _stage(self, kb_id, path, texts, revision, rows, before, extra) -> None:  # type: ignore[no-untyped-def]
        text = "\n".join(texts)
        sha = hashlib.sha256(f"{kb_id}/{path}/{text}".encode()).hexdigest()
        self.texts[sha] = text
        version = FakeVersion(
            id=len(self.versions) + 1,
            number=before.number + 1 if before else 1,
            kb_id=kb_id,
            document_id=before.document_id if before else f"{kb_id}:{path}:{len(self.versions)}",
            path=path,
            title=path.rsplit("/", 1)[-1].rsplit(".", 1)[0],
            text_sha=sha,
            chunks=[],
            since=revision,
            **extra,
        )
        start = 0
        for ordinal, chunk_text in enumerate(texts):
            end = start + len(chunk_text)
            chunk = StoredChunk(
                id=self._next_chunk,
                ordinal=ordinal,
                start=start,
                end=end,
                page_start=1 + ordinal // 10,
                page_end=1 + ordinal // 10,
                heading=None,
                tokens=max(1, round(estimate_tokens(chunk_text))),
            )
            self._next_chunk += 1
            version.chunks.append(chunk)
            self.owners[chunk.id], self.chunks[chunk.id], self.vectors[chunk.id] = version.id, chunk, next(rows)
            self.log.append((revision, self.heads[kb_id].space_id, "+", chunk.id))
            start = end + 1
        self.versions[version.id] = version

    def _close(self, version: FakeVersion, revision: int) -> None:
        version.until = revision
        space = self.heads[version.kb_id].space_id
        self.log += [(revision, space, "-", chunk.id) for chunk in version.chunks]

    def _find_open(self, kb_id: str, path: str) -> FakeVersion | None:
        mine = (v for v in self.versions.values() if v.kb_id == kb_id and v.path == path and v.until is None)
        return next(mine, None)

    # -- IndexFeed --------------------------------------------------------------------------------------------------

    def get_head(self, kb_id: str) -> Head:
        with self.lock:
            if kb_id not in self.heads:
                raise NotFound("knowledge_base_not_found", f"no knowledge base {kb_id!r}")
            head = self.heads[kb_id]
            return Head(
                revision=head.revision,
                space_id=head.space_id,
                dimension=self.dimension,
                embedding_model=self.embedding_model,
            )

    def stands_in(self, kb_id: str, space_id: int, after: int, upto: int) -> bool:
        return False

    def get_epoch(self) -> str:
        return self.epoch

    def list_changes(self, space_id: int, after: int, upto: int) -> ChangeSet:
        with self.lock:
            net: dict[int, int] = {}
            for revision, space, op, chunk_id in self.log:
                if space == space_id and after < revision <= upto:
                    net[chunk_id] = net.get(chunk_id, 0) + (1 if op == "+" else -1)
        added = sorted(i for i, n in net.items() if n > 0)
        return ChangeSet(added=added, removed=sorted(i for i, n in net.items() if n < 0))

    def iter_rows(self, space_id: int, revision: int, batch: int = 1000) -> Iterator[list[IndexRow]]:
        with self.lock:
            ids = sorted(
                chunk.id
                for version in self.versions.values()
                if self.heads[version.kb_id].space_id == space_id and _is_open(version, revision)
                for chunk in version.chunks
            )
        for i in range(0, len(ids), batch):
            rows = self.get_rows(space_id, ids[i : i + batch])
            if rows:
                yield rows

    def get_rows(self, space_id: int, chunk_ids: Sequence[int]) -> list[IndexRow]:
        with self.lock:
            self.row_reads += len(chunk_ids)
            return [self._make_row(i) for i in sorted(chunk_ids) if i in self.vectors]

    def _make_row(self, chunk_id: int) -> IndexRow:
        version, chunk = self.versions[self.owners[chunk_id]], self.chunks[chunk_id]
        text = self.texts[version.text_sha][chunk.start : chunk.end]
        vector = self.vectors[chunk_id]
        return IndexRow(chunk_id=chunk_id, text=text, title=version.title, path=version.path, heading="", vector=vector)

    def list_visible(
        self, kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter | None = None
    ) -> dict[int, VisibleChunk]:
        with self.lock:
            pairs = ((i, self.versions[self.owners[i]]) for i in chunk_ids if i in self.owners)
            return {
                i: self._join(i, version)
                for i, version in pairs
                if version.kb_id == kb_id
                and _is_open(version, revision)
                and version.document_id not in self.deleted
                and _passes(version, only)
            }

    def _join(self, chunk_id: int, version: FakeVersion) -> VisibleChunk:
        chunk = self.chunks[chunk_id]
        return VisibleChunk(
            id=chunk_id,
            version_id=version.id,
            version=version.number,
            text_sha=version.text_sha,
            ordinal=chunk.ordinal,
            start=chunk.start,
            end=chunk.end,
            page_start=chunk.page_start,
            page_end=chunk.page_end,
            heading=chunk.heading,
            tokens=chunk.tokens,
            document_id=version.document_id,
            path=version.path,
            title=version.title,
            kb_id=version.kb_id,
            input_sha=hashlib.sha256(
                self.texts.get(version.text_sha, "")[chunk.start : chunk.end].encode()
            ).hexdigest(),
            stated_date=version.metadata.get("date"),
            added_at=LONG_AGO,
        )

    def list_neighbours(self, space_id: int, ranges: Sequence[OrdinalRange]) -> list[list[StoredChunk]]:
        return [
            [chunk for chunk in self.versions[version_id].chunks if first <= chunk.ordinal <= last]
            for version_id, first, last in ranges
        ]

    # -- TextSource -------------------------------------------------------------------------------------------------

    def read_text(self, text_sha: str) -> str:
        if text_sha not in self.texts:
            raise Gone("text_gone", f"the text {text_sha} is no longer kept")
        return self.texts[text_sha]


def _is_open(version: FakeVersion, revision: int) -> bool:
    return version.since <= revision and (version.until is None or revision < version.until)


def _passes(version: FakeVersion, only: Filter | None) -> bool:
    if only is None:
        return True
    if only.path_prefix and not version.path.startswith(only.path_prefix):
        return False
    if only.language and version.language != only.language:
        return False
    return all(version.metadata.get(key) == value for key, value in only.metadata.items())
