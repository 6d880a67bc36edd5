"""The swap: one short transaction puts the building space in the place of the live one.

It asserts that nothing that answers lacks anything there, so that the revision it writes changes no document: an index
of the space before, at the revision before, goes on giving whole answers until one of the new space is ready.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime

from sqlalchemy import Connection, func, select, update

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import check_fence
from kb.catalog.revisions import RevisionDraft, write_revision
from kb.catalog.spaces import find_home, select_lacking, select_visible
from kb.types import GateReport, Job, RevisionKind, SpaceState


@dataclass(frozen=True, kw_only=True, slots=True)
class SpaceSize:
    """What a space holds; `reused` of its vectors another one has as well."""

    documents: int
    chunks: int
    vectors: int
    reused: int


class Swaps:
    def __init__(self, database: Database) -> None:
        self._database = database

    def swap(self, job: Job, space_id: int, gate: GateReport | None) -> int:
        """Put the building space in the place of the live one; the revision that says so.

        0, and nothing is done, while a version that answers lacks a chunk or vector there: it takes another lap. The
        old space keeps its rows for GRACE. Raises StaleLease.
        """
        kb_id = find_home(job)
        with self._database.write() as connection:
            check_fence(connection, job)
            if connection.execute(select_lacking(kb_id, space_id).limit(1)).first() is not None:
                return 0
            retired = {"state": SpaceState.RETIRED, "retired_at": datetime.now(UTC)}
            live = (t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
            connection.execute(update(t.space).where(*live).values(retired))
            connection.execute(update(t.space).where(t.space.c.id == space_id).values(state=SpaceState.LIVE))
            _count_chunks(connection, kb_id, space_id)
            _keep_settings(connection, kb_id, space_id)
            revision = write_revision(
                connection,
                RevisionDraft(
                    kb_id=kb_id,
                    space_id=space_id,
                    kind=RevisionKind.REINDEX,
                    job_id=job.id,
                    gate=gate.describe() if gate is not None else None,
                ),
            )
            crash.reach("swap.pre_commit")
        crash.reach("swap.post_commit")
        return revision

    def find_swap(self, job: Job) -> int:
        """The revision by which this job has swapped already; 0 when it has not."""
        chosen = (t.revision.c.job_id == job.id, t.revision.c.kind == RevisionKind.REINDEX)
        query = select(func.max(t.revision.c.number)).where(t.revision.c.kb_id == job.kb_id, *chosen)
        with self._database.read() as connection:
            return connection.execute(query).scalar() or 0

    def measure_size(self, space_id: int, beside: int) -> SpaceSize:
        """What a space holds, and how many of its strings the space `beside` has a vector of."""
        chunk, twin = t.chunk.c, t.vector.alias("twin")
        mine = t.vector.c.space_id == space_id
        both = (twin.c.space_id == beside) & (twin.c.input_sha == t.vector.c.input_sha)
        with self._database.read() as connection:
            counts = select(func.count(chunk.version_id.distinct()), func.count()).where(chunk.space_id == space_id)
            documents, chunks = connection.execute(counts).one()
            vectors = connection.execute(select(func.count()).select_from(t.vector).where(mine)).scalar_one()
            joined = select(func.count()).select_from(t.vector.join(twin, both)).where(mine)
            reused = connection.execute(joined).scalar_one()
        return SpaceSize(documents=documents, chunks=chunks, vectors=vectors, reused=reused)


def _count_chunks(connection: Connection, kb_id: str, space_id: int) -> None:
    count = select(func.count()).where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id)
    visible = select_visible(kb_id, t.version.c.id).correlate(None)
    values = {"chunk_count": count.scalar_subquery()}
    connection.execute(update(t.version).where(t.version.c.id.in_(visible)).values(values))


def _keep_settings(connection: Connection, kb_id: str, space_id: int) -> None:
    """The knowledge base's settings name what its live space is made by; the others stay."""
    base, space = t.knowledge_base, t.space.c
    kept = connection.execute(select(base.c.settings).where(base.c.id == kb_id)).scalar_one()
    made = select(space.embedding_model, space.chunk_tokens).where(space.id == space_id)
    settings = {**kept, **connection.execute(made).mappings().one()}
    connection.execute(update(base).where(base.c.id == kb_id).values(settings=settings))
