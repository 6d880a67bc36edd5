"""Traces of documents: of one that answers, and of one that no longer does or never did."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.documents import select_described, to_document
from kb.catalog.feed import visible_at
from kb.catalog.ledger import count_verdicts
from kb.errors import NotFound
from kb.types import AnsweringVersion, DocumentTrace


class Traces:
    def __init__(self, database: Database) -> None:
        self._database = database

    def trace(self, kb_id: str, name: str, space_id: int, revision: int) -> DocumentTrace:
        """The document with this id, else with this path, else the one deleted last that had it; as it stands now and
        as it answered at `revision`.

        Raises NotFound (`document_not_found`) when nothing of that name was ever uploaded.
        """
        with self._database.read() as connection:
            found = next(
                (row for query in _list_searches(kb_id, name) if (row := _take_first(connection, query))), None
            )
            if found is None:
                detail = f"nothing in this knowledge base has or had the path or id {name[:256]!r}"
                raise NotFound("document_not_found", detail)
            newest = connection.execute(select_described().where(t.document.c.id == found["id"])).mappings().first()
            return DocumentTrace(
                **found,
                newest=to_document(newest) if newest is not None else None,
                answering=_read_answering(connection, found["id"], space_id, revision),
            )


def _list_searches(kb_id: str, name: str) -> Iterator[Select[Any]]:
    """One look-up in an index after the other; only what is not there any more costs a walk over the documents."""
    document, revision = t.document.c, t.revision.c
    removal = and_(revision.kb_id == document.kb_id, revision.number == document.removed_revision)
    query = (
        select(
            document.id,
            document.path,
            document.deleted_at,
            document.removed_revision,
            revision.created_at.label("removed_at"),
        )
        .select_from(t.document.outerjoin(t.revision, removal))
        .where(document.kb_id == kb_id)
    )
    yield query.where(document.id == name)
    yield query.where(document.path == name, document.deleted_at.is_(None))
    yield query.where(document.path == name).order_by(document.deleted_at.desc()).limit(1)


def _take_first(connection: Connection, query: Select[Any]) -> RowMapping | None:
    return connection.execute(query).mappings().first()


def _read_answering(connection: Connection, document_id: str, space_id: int, revision: int) -> AnsweringVersion | None:
    query = select(t.version).join(t.publication, t.publication.c.version_id == t.version.c.id)
    query = query.where(t.publication.c.document_id == document_id, *visible_at(revision))
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    chunk = t.chunk.c
    chunks = select(chunk.id).where(chunk.version_id == row["id"], chunk.space_id == space_id).order_by(chunk.ordinal)
    return AnsweringVersion(
        number=row["number"],
        title=row["title"],
        language=row["language"],
        metadata=row["metadata"],
        verdicts=count_verdicts(row["ledger"]),
        chunk_ids=connection.execute(chunks).scalars().all(),
    )
