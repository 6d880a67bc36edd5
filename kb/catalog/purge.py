"""Taking rows out for good: versions with their chunks and vectors, and whole knowledge bases, in slices."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, select

from kb.catalog import tables as t
from kb.catalog.database import Database

SLICE = 200  # versions a transaction takes out: short enough that uploads are not kept waiting


class Purges:
    def __init__(self, database: Database) -> None:
        self._database = database

    def purge_slice(self, kb_id: str) -> int:
        """Take out up to SLICE versions of a deleted knowledge base; the number taken, 0 when nothing is left."""
        query = select(t.version.c.id).join(t.document, t.document.c.id == t.version.c.document_id)
        with self._database.write() as connection:
            ids = connection.execute(query.where(t.document.c.kb_id == kb_id).limit(SLICE)).scalars().all()
            connection.execute(delete(t.publication).where(t.publication.c.version_id.in_(ids)))
            delete_versions(connection, ids)
            return len(ids)

    def purge_knowledge_base(self, kb_id: str) -> None:
        """Take out what is left of a deleted knowledge base after its versions."""
        spaces = select(t.space.c.id).where(t.space.c.kb_id == kb_id)
        with self._database.write() as connection:
            connection.execute(delete(t.change_log).where(t.change_log.c.kb_id == kb_id))
            connection.execute(delete(t.revision).where(t.revision.c.kb_id == kb_id))
            connection.execute(delete(t.idempotency_key).where(t.idempotency_key.c.kb_id == kb_id))
            connection.execute(delete(t.vector).where(t.vector.c.space_id.in_(spaces)))
            connection.execute(delete(t.space).where(t.space.c.kb_id == kb_id))
            connection.execute(delete(t.document).where(t.document.c.kb_id == kb_id))
            connection.execute(delete(t.knowledge_base).where(t.knowledge_base.c.id == kb_id))

    def list_unreferenced(self, sha256s: Sequence[str]) -> list[str]:
        """Those of `sha256s` that no version names."""
        return self._list_unnamed(sha256s, "sha256")

    def list_unreferenced_texts(self, text_shas: Sequence[str]) -> list[str]:
        """Those of `text_shas` that no version names."""
        return self._list_unnamed(text_shas, "text_sha")

    def _list_unnamed(self, shas: Sequence[str], column: str) -> list[str]:
        named: set[str] = set()
        with self._database.read() as connection:
            for first in range(0, len(shas), 500):
                batch = shas[first : first + 500]
                found = select(t.version.c[column]).where(t.version.c[column].in_(batch))
                named.update(connection.execute(found).scalars())
        return [sha for sha in shas if sha not in named]


def delete_versions(connection: Connection, version_ids: Sequence[int]) -> None:
    """Delete versions, their chunks, and the vectors that no other chunk of the space was embedded from."""
    for first in range(0, len(version_ids), 500):
        batch = version_ids[first : first + 500]
        inputs = select(t.chunk.c.space_id, t.chunk.c.input_sha).where(t.chunk.c.version_id.in_(batch)).distinct()
        orphaned = connection.execute(inputs).all()
        connection.execute(delete(t.chunk).where(t.chunk.c.version_id.in_(batch)))
        _delete_unused_vectors(connection, [(row.space_id, row.input_sha) for row in orphaned])
        connection.execute(delete(t.version).where(t.version.c.id.in_(batch)))


def _delete_unused_vectors(connection: Connection, keys: Sequence[tuple[int, str]]) -> None:
    by_space: dict[int, list[str]] = {}
    for space_id, input_sha in keys:
        by_space.setdefault(space_id, []).append(input_sha)
    for space_id, shas in by_space.items():
        for first in range(0, len(shas), 500):
            batch = shas[first : first + 500]
            used = select(func.count()).where(
                t.chunk.c.space_id == t.vector.c.space_id, t.chunk.c.input_sha == t.vector.c.input_sha
            )
            unused = (t.vector.c.space_id == space_id, t.vector.c.input_sha.in_(batch), used.scalar_subquery() == 0)
            connection.execute(delete(t.vector).where(*unused))
