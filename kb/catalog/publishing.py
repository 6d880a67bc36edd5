"""The publish transaction: the only place where anything becomes visible.

One short transaction takes the next revision of the knowledge base, closes the old publications, opens the new ones
and appends to the change log. It publishes a version only when

    the job's fence is still ours                 a worker that lost its job publishes nothing
    the document is not deleted                   a delete that returned is not undone by a late worker
    the version is staged and newer than the open one
    its chunks are all there, in the live space, and none lacks a vector
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, Connection, RowMapping, func, select

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import Progress, check_fence, report_progress
from kb.catalog.revisions import Opening, RevisionDraft, write_revision
from kb.types import Job, RevisionKind, SpaceState, VersionState


@dataclass(frozen=True, kw_only=True, slots=True)
class Publication:
    """What one publish did. `skipped` versions failed a check: stage them again or give them up."""

    revision: int  # 0 when nothing was published
    published: Sequence[int]
    skipped: Sequence[int]


class Publisher:
    def __init__(self, database: Database) -> None:
        self._database = database

    def publish(self, job: Job, space_id: int, version_ids: Sequence[int], progress: Progress) -> Publication:
        """Publish what passes the checks as one revision. Raises StaleLease; then nothing was published."""
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        with self._database.write() as connection:
            check_fence(connection, job)
            ready = list_ready(connection, job.kb_id, space_id, t.version.c.id.in_(version_ids))
            revision = write_revision(connection, _draft(job, job.kb_id, space_id, ready)) if ready else 0
            report_progress(connection, job, progress)
            crash.reach("publish.pre_commit")
        crash.reach("publish.post_commit")
        published = [row["id"] for row in ready]
        skipped = [version_id for version_id in version_ids if version_id not in published]
        return Publication(revision=revision, published=published, skipped=skipped)


def list_ready(connection: Connection, kb_id: str, space_id: int, chosen: ColumnElement[bool]) -> list[RowMapping]:
    """Those of the chosen versions that pass every check, each with the id of the one that is open now (`open_id`)."""
    open_version = t.version.alias("open_version")
    is_open = (t.publication.c.document_id == t.version.c.document_id) & t.publication.c.until_revision.is_(None)
    chunks = (
        select(func.count())
        .where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id)
        .scalar_subquery()
    )
    has_vector = (t.vector.c.space_id == t.chunk.c.space_id) & (t.vector.c.input_sha == t.chunk.c.input_sha)
    lacking = (
        select(func.count())
        .select_from(t.chunk.outerjoin(t.vector, has_vector))
        .where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id, t.vector.c.input_sha.is_(None))
        .scalar_subquery()
    )
    query = (
        select(t.version.c.id, t.version.c.document_id, open_version.c.id.label("open_id"))
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .join(t.knowledge_base, t.knowledge_base.c.id == t.document.c.kb_id)
        .join(t.space, t.space.c.kb_id == t.knowledge_base.c.id)
        .outerjoin(t.publication, is_open)
        .outerjoin(open_version, open_version.c.id == t.publication.c.version_id)
        .where(chosen, t.version.c.state == VersionState.STAGED)
        .where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None), t.knowledge_base.c.deleted_at.is_(None))
        .where(t.space.c.id == space_id, t.space.c.state == SpaceState.LIVE)
        .where((open_version.c.number < t.version.c.number) | open_version.c.number.is_(None))
        .where(chunks == t.version.c.chunk_count, t.version.c.chunk_count > 0, lacking == 0)
        .order_by(t.version.c.document_id, t.version.c.number.desc())
    )
    newest: dict[str, RowMapping] = {}
    for row in connection.execute(query).mappings():
        newest.setdefault(row["document_id"], row)
    return list(newest.values())


def _draft(job: Job, kb_id: str, space_id: int, ready: Sequence[RowMapping]) -> RevisionDraft:
    return RevisionDraft(
        kb_id=kb_id,
        space_id=space_id,
        kind=RevisionKind.UPLOAD,
        job_id=job.id,
        opened=[Opening(version_id=row["id"], document_id=row["document_id"]) for row in ready],
        closed={row["open_id"]: row["document_id"] for row in ready if row["open_id"] is not None},
    )
