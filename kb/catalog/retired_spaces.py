"""Spaces that answer no more: their rows go in slices, so that uploads are not kept waiting."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import delete, or_, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.jobs import LIVE
from kb.catalog.purge import delete_chunks
from kb.catalog.spaces import GRACE, abandon_spaces
from kb.types import JobKind, SpaceState

VERSIONS_A_SLICE = 200
ROWS_A_SLICE = 20_000


class RetiredSpaces:
    def __init__(self, database: Database) -> None:
        self._database = database

    def abandon_orphans(self) -> int:
        """Give up building spaces that no queued or running job works at; their number."""
        job = t.job.c
        works = select(job.id).where(job.kb_id == t.space.c.kb_id, job.kind == JobKind.REINDEX, job.state.in_(LIVE))
        with self._database.write() as connection:
            return abandon_spaces(connection, (t.space.c.state == SpaceState.BUILDING, ~works.exists()))

    def list_collectable(self, now: datetime) -> list[tuple[str, int]]:
        """(knowledge base, space) of those whose rows nobody needs any more: retired GRACE ago, or given up."""
        has_rows = or_(
            select(t.chunk.c.id).where(t.chunk.c.space_id == t.space.c.id).exists(),
            select(t.change_log.c.id).where(t.change_log.c.space_id == t.space.c.id).exists(),
        )
        given_up = t.space.c.retired_at.is_(None)
        query = select(t.space.c.kb_id, t.space.c.id).where(
            t.space.c.state == SpaceState.RETIRED, or_(given_up, (t.space.c.retired_at < now - GRACE) & has_rows)
        )
        with self._database.read() as connection:
            return [(row.kb_id, row.id) for row in connection.execute(query)]

    def collect_slice(self, space_id: int) -> bool:
        """Take out some rows of a space that is to be collected; False when nothing was left.

        The row itself goes when no revision names it.
        """
        chunk, log = t.chunk.c, t.change_log.c
        versions = select(chunk.version_id).where(chunk.space_id == space_id).distinct().limit(VERSIONS_A_SLICE)
        lines = select(log.id).where(log.space_id == space_id).limit(ROWS_A_SLICE)
        with self._database.write() as connection:
            ids = connection.execute(versions).scalars().all()
            if ids:
                delete_chunks(connection, ids, space_id)
                return True
            if connection.execute(delete(t.change_log).where(log.id.in_(lines))).rowcount:
                return True
            connection.execute(delete(t.vector).where(t.vector.c.space_id == space_id))
            named = select(t.revision.c.number).where(t.revision.c.space_id == space_id).exists()
            connection.execute(delete(t.space).where(t.space.c.id == space_id, ~named))
            return False
