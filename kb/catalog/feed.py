"""What indexes are built from and searches are joined with: implements `kb.ports.IndexFeed`.

What every search asks is put together once and only bound afterwards: building a statement anew costs SQLAlchemy more
than SQLite needs to answer it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from functools import cache
from typing import Any

import numpy as np
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    FromClause,
    RowMapping,
    Select,
    and_,
    bindparam,
    func,
    null,
    or_,
    select,
)

from kb.blobs import LastText
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.spaces import STANDS_IN
from kb.errors import Gone, NotFound
from kb.ports import OrdinalRange, TextSource
from kb.types import ChangeSet, Filter, Head, IndexRow, SpaceState, StoredChunk, VisibleChunk

IDS_A_STATEMENT = 500
RANGES_A_STATEMENT = 16

_HEAD = (
    select(t.knowledge_base.c.head_revision, t.space.c.id, t.space.c.dimension, t.space.c.embedding_model)
    .join(t.space, t.space.c.kb_id == t.knowledge_base.c.id)
    .where(t.knowledge_base.c.id == bindparam("kb"), t.knowledge_base.c.deleted_at.is_(None))
    .where(t.space.c.state == SpaceState.LIVE)
)
_CHUNK_FIELDS = tuple(StoredChunk.__dataclass_fields__)
VISIBLE_FIELDS = tuple(VisibleChunk.__dataclass_fields__)


class CatalogFeed:
    """Each call is one read transaction. Thread-safe."""

    def __init__(self, database: Database, texts: TextSource) -> None:
        self._database = database
        self._texts = texts

    def get_head(self, kb_id: str) -> Head:
        with self._database.read() as connection:
            row = connection.execute(_HEAD, {"kb": kb_id}).one_or_none()
        if row is None:
            raise NotFound("knowledge_base_not_found", f"there is no knowledge base {kb_id!r}")
        return Head(
            revision=row.head_revision,
            space_id=row.id,
            dimension=row.dimension,
            embedding_model=row.embedding_model,
        )

    def stands_in(self, kb_id: str, space_id: int, after: int, upto: int) -> bool:
        """Whether a state of a space at revision `after` still answers as one at `upto` would: it was retired a moment
        ago, so that its rows are there for a while, and no revision since has changed a document."""
        revision = t.revision.c
        changed = select(revision.number).where(
            revision.kb_id == kb_id,
            revision.number > after,
            revision.number <= upto,
            revision.added + revision.changed + revision.removed > 0,
        )
        query = select(t.space.c.id).where(t.space.c.id == space_id, t.space.c.state == SpaceState.RETIRED)
        query = query.where(t.space.c.retired_at > datetime.now(UTC) - STANDS_IN, ~changed.exists())
        with self._database.read() as connection:
            return connection.execute(query).first() is not None

    def get_epoch(self) -> str:
        with self._database.read() as connection:
            epoch: str = connection.execute(select(t.instance.c.epoch)).scalar_one()
        return epoch

    def list_changes(self, space_id: int, after: int, upto: int) -> ChangeSet:
        log = t.change_log.c
        query = (
            select(log.chunk_id, log.op)
            .where(log.space_id == space_id, log.revision > after, log.revision <= upto)
            .order_by(log.id)
        )
        first: dict[int, str] = {}
        last: dict[int, str] = {}
        with self._database.read() as connection:
            for chunk_id, op in connection.execute(query):
                first.setdefault(chunk_id, op)
                last[chunk_id] = op
        net = [(chunk_id, op) for chunk_id, op in last.items() if first[chunk_id] == op]
        return ChangeSet(
            added=[chunk_id for chunk_id, op in net if op == "+"],
            removed=[chunk_id for chunk_id, op in net if op == "-"],
        )

    def count_changes(self, space_id: int, after: int) -> int:
        """Log rows of the space since revision `after`: how much an index sealed there would have to replay."""
        log = t.change_log.c
        query = select(func.count()).where(log.space_id == space_id, log.revision > after)
        with self._database.read() as connection:
            count: int = connection.execute(query).scalar_one()
        return count

    def iter_rows(self, space_id: int, revision: int, batch: int = 1000) -> Iterator[list[IndexRow]]:
        last, texts = 0, LastText(self._texts)
        while True:
            query = (
                _rows(space_id)
                .join(t.publication, t.publication.c.version_id == t.chunk.c.version_id)
                .where(*visible_at(revision), t.chunk.c.id > last)
                .order_by(t.chunk.c.id)
                .limit(batch)
            )
            with self._database.read() as connection:
                found = connection.execute(query).mappings().all()
            if not found:
                return
            last = found[-1]["chunk_id"]
            yield _to_index_rows(found, texts)

    def get_rows(self, space_id: int, chunk_ids: Sequence[int]) -> list[IndexRow]:
        rows: list[IndexRow] = []
        wanted, texts = sorted(chunk_ids), LastText(self._texts)
        with self._database.read() as connection:
            for first in range(0, len(wanted), IDS_A_STATEMENT):
                query = _rows(space_id).where(t.chunk.c.id.in_(wanted[first : first + IDS_A_STATEMENT]))
                found = connection.execute(query.order_by(t.chunk.c.id)).mappings().all()
                rows += _to_index_rows(found, texts)
        return rows

    def list_visible(
        self, kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter | None = None
    ) -> dict[int, VisibleChunk]:
        only = only or Filter()
        query = _visible_chunks(bool(only.path_prefix), bool(only.language), bool(only.metadata))
        prefix = only.path_prefix or ""
        values = {"kb": kb_id, "revision": revision, "prefix": prefix, "length": len(prefix), "language": only.language}
        found: dict[int, VisibleChunk] = {}
        with self._database.read() as connection:
            for first in range(0, len(chunk_ids), IDS_A_STATEMENT):
                ids = {"ids": chunk_ids[first : first + IDS_A_STATEMENT]}
                for metadata, *row in connection.execute(query, values | ids):
                    if not only.list_differing(metadata):
                        chunk = VisibleChunk(**dict(zip(VISIBLE_FIELDS, row, strict=True)))
                        found[chunk.id] = chunk
        return found

    def list_neighbours(self, space_id: int, ranges: Sequence[OrdinalRange]) -> list[list[StoredChunk]]:
        found: dict[int, dict[int, StoredChunk]] = {}
        with self._database.read() as connection:
            for start in range(0, len(ranges), RANGES_A_STATEMENT):
                part = ranges[start : start + RANGES_A_STATEMENT]
                values = {name: value for i, one in enumerate(part) for name, value in zip(_bound(i), one, strict=True)}
                for version_id, *row in connection.execute(_neighbours(len(part)), {"space": space_id, **values}):
                    chunk = StoredChunk(**dict(zip(_CHUNK_FIELDS, row, strict=True)))
                    found.setdefault(version_id, {})[chunk.ordinal] = chunk
        return [
            [chunks[ordinal] for ordinal in range(first, last + 1) if ordinal in chunks]
            for chunks, first, last in ((found.get(version_id, {}), first, last) for version_id, first, last in ranges)
        ]


def _to_index_rows(found: Sequence[RowMapping], texts: TextSource) -> list[IndexRow]:
    rows: list[IndexRow] = []
    for row in found:
        try:
            text = texts.read_text(row["text_sha"])[row["start"] : row["end"]]
        except Gone:  # purged since the rows were read; the change log has its removal
            continue
        rows.append(
            IndexRow(
                chunk_id=row["chunk_id"],
                text=text,
                title=row["title"] or "",
                path=row["path"],
                heading=row["heading"] or "",
                vector=np.frombuffer(row["value"], dtype="<f2"),
            )
        )
    return rows


def _rows(space_id: int) -> Select[Any]:
    has_vector = (t.vector.c.space_id == t.chunk.c.space_id) & (t.vector.c.input_sha == t.chunk.c.input_sha)
    return (
        select(
            t.chunk.c.id.label("chunk_id"),
            t.chunk.c.start,
            t.chunk.c.end,
            t.chunk.c.heading,
            t.version.c.text_sha,
            t.version.c.title,
            t.document.c.path,
            t.vector.c.value,
        )
        .select_from(t.chunk)
        .join(t.version, t.version.c.id == t.chunk.c.version_id)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .join(t.vector, has_vector)
        .where(t.is_of_space(space_id), t.document.c.deleted_at.is_(None))
    )


def visible_at(revision: int | BindParameter[Any]) -> tuple[Any, ...]:
    until = t.publication.c.until_revision
    return (t.publication.c.since_revision <= revision, until.is_(None) | (until > revision))


@cache
def _visible_chunks(has_prefix: bool, has_language: bool, has_metadata: bool) -> Select[Any]:  # noqa: FBT001
    """A column of metadata, None unless asked for, then the fields of VisibleChunk."""
    published = t.chunk.join(t.publication, t.publication.c.version_id == t.chunk.c.version_id)
    query = select_chunks(t.version.c.metadata if has_metadata else null(), published)
    query = query.where(*visible_at(bindparam("revision")))
    if has_prefix:
        query = query.where(func.substr(t.document.c.path, 1, bindparam("length")) == bindparam("prefix"))
    if has_language:
        query = query.where(t.version.c.language == bindparam("language"))
    return query


def select_chunks(first: ColumnElement[Any], chunks: FromClause) -> Select[Any]:
    """`first`, then the fields of VisibleChunk, of those of `ids` in the knowledge base `kb` whose document is not
    deleted; `chunks` is their table, alone or joined."""
    columns = {
        **t.chunk.c,
        "version": t.version.c.number,
        "text_sha": t.version.c.text_sha,
        "document_id": t.document.c.id,
        "kb_id": t.document.c.kb_id,
        "path": t.document.c.path,
        "title": t.version.c.title,
        "stated_date": t.version.c.metadata["date"].as_string(),
        "added_at": t.version.c.created_at,
    }
    return (
        select(first, *(columns[name] for name in VISIBLE_FIELDS))
        .select_from(chunks)
        .join(t.version, t.version.c.id == t.chunk.c.version_id)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .where(t.chunk.c.id.in_(bindparam("ids", expanding=True)))
        .where(t.document.c.kb_id == bindparam("kb"), t.document.c.deleted_at.is_(None))
    )


@cache
def _neighbours(count: int) -> Select[Any]:
    """The version's id, then the fields of StoredChunk, of `count` ranges; each is one look into the index."""
    chunk = t.chunk.c
    ranges = []
    for version, first, last in (_bound(i) for i in range(count)):
        inside = chunk.ordinal.between(bindparam(first), bindparam(last))
        ranges.append(and_(chunk.version_id == bindparam(version), chunk.space_id == bindparam("space"), inside))
    return select(chunk.version_id, *(chunk[name] for name in _CHUNK_FIELDS)).where(or_(*ranges))


def _bound(i: int) -> tuple[str, str, str]:
    return f"version_{i}", f"first_{i}", f"last_{i}"
