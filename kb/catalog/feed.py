"""What indexes are built from and searches are joined with: implements `kb.ports.IndexFeed`."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import RowMapping, Select, func, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.documents import to_stored_chunk
from kb.errors import Gone, NotFound
from kb.ports import TextSource
from kb.types import ChangeSet, Filter, Head, IndexRow, SpaceState, StoredChunk, VisibleChunk

IDS_A_STATEMENT = 500


class CatalogFeed:
    """Each call is one read transaction. Thread-safe."""

    def __init__(self, database: Database, texts: TextSource) -> None:
        self._database = database
        self._texts = texts

    def get_head(self, kb_id: str) -> Head:
        query = (
            select(t.knowledge_base.c.head_revision, t.space.c.id, t.space.c.dimension)
            .join(t.space, t.space.c.kb_id == t.knowledge_base.c.id)
            .where(t.knowledge_base.c.id == kb_id, t.knowledge_base.c.deleted_at.is_(None))
            .where(t.space.c.state == SpaceState.LIVE)
        )
        with self._database.read() as connection:
            row = connection.execute(query).one_or_none()
        if row is None:
            raise NotFound("knowledge_base_not_found", f"there is no knowledge base {kb_id!r}")
        return Head(revision=row.head_revision, space_id=row.id, dimension=row.dimension)

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
        last = 0
        while True:
            query = (
                _rows(space_id)
                .join(t.publication, t.publication.c.version_id == t.chunk.c.version_id)
                .where(*_visible_at(revision), t.chunk.c.id > last)
                .order_by(t.chunk.c.id)
                .limit(batch)
            )
            with self._database.read() as connection:
                found = connection.execute(query).mappings().all()
            if not found:
                return
            last = found[-1]["chunk_id"]
            yield self._to_index_rows(found)

    def get_rows(self, space_id: int, chunk_ids: Sequence[int]) -> list[IndexRow]:
        rows: list[IndexRow] = []
        wanted = sorted(chunk_ids)
        with self._database.read() as connection:
            for first in range(0, len(wanted), IDS_A_STATEMENT):
                query = _rows(space_id).where(t.chunk.c.id.in_(wanted[first : first + IDS_A_STATEMENT]))
                rows += self._to_index_rows(connection.execute(query.order_by(t.chunk.c.id)).mappings().all())
        return rows

    def list_visible(
        self, kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter | None = None
    ) -> dict[int, VisibleChunk]:
        only = only or Filter()
        found: dict[int, VisibleChunk] = {}
        with self._database.read() as connection:
            for first in range(0, len(chunk_ids), IDS_A_STATEMENT):
                query = _visible_chunks(kb_id, revision, chunk_ids[first : first + IDS_A_STATEMENT], only)
                for row in connection.execute(query).mappings():
                    if all(row["metadata"].get(name) == value for name, value in only.metadata.items()):
                        found[row["id"]] = _to_visible_chunk(row)
        return found

    def list_neighbours(self, version_id: int, space_id: int, first: int, last: int) -> list[StoredChunk]:
        query = (
            select(t.chunk)
            .where(t.chunk.c.version_id == version_id, t.chunk.c.space_id == space_id)
            .where(t.chunk.c.ordinal.between(first, last))
            .order_by(t.chunk.c.ordinal)
        )
        with self._database.read() as connection:
            return [to_stored_chunk(row) for row in connection.execute(query).mappings()]

    def _to_index_rows(self, found: Sequence[RowMapping]) -> list[IndexRow]:
        rows: list[IndexRow] = []
        for row in found:
            try:
                text = self._texts.read_text(row["text_sha"])[row["start"] : row["end"]]
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
        .where(t.chunk.c.space_id == space_id, t.document.c.deleted_at.is_(None))
    )


def _visible_at(revision: int) -> tuple[Any, ...]:
    until = t.publication.c.until_revision
    return (t.publication.c.since_revision <= revision, until.is_(None) | (until > revision))


def _visible_chunks(kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter) -> Select[Any]:
    query = (
        select(
            t.chunk,
            t.version.c.number,
            t.version.c.text_sha,
            t.version.c.title,
            t.version.c.metadata,
            t.document.c.id.label("document_id"),
            t.document.c.path,
        )
        .join(t.publication, t.publication.c.version_id == t.chunk.c.version_id)
        .join(t.version, t.version.c.id == t.chunk.c.version_id)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .where(t.chunk.c.id.in_(chunk_ids), *_visible_at(revision))
        .where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None))
    )
    if only.path_prefix:
        query = query.where(func.substr(t.document.c.path, 1, len(only.path_prefix)) == only.path_prefix)
    if only.language:
        query = query.where(t.version.c.language == only.language)
    return query


def _to_visible_chunk(row: RowMapping) -> VisibleChunk:
    return VisibleChunk(
        id=row["id"],
        version_id=row["version_id"],
        version=row["number"],
        text_sha=row["text_sha"],
        ordinal=row["ordinal"],
        start=row["start"],
        end=row["end"],
        page_start=row["page_start"],
        page_end=row["page_end"],
        heading=row["heading"],
        tokens=row["tokens"],
        document_id=row["document_id"],
        path=row["path"],
        title=row["title"],
    )
