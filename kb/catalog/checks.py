"""What must hold in SQL at any moment, whatever was killed when. Reads only; nothing is repaired.

Each question is asked in one statement, or in statements of one transaction, so that it sees one snapshot and a server
may go on writing meanwhile. Big tables are walked in pages by their key, a short transaction each: a reader that stays
for minutes would keep SQLite's log from being cut. The cost is linear in rows.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, Select, and_, func, or_, select, text, tuple_

from kb.catalog import tables as t
from kb.catalog.conversation_checks import check_conversations
from kb.catalog.database import Database
from kb.catalog.jobs import LIVE
from kb.catalog.revision_checks import check_knowledge_bases, check_overlaps, check_publications
from kb.errors import Unavailable
from kb.findings import FindingLog, OnProgress
from kb.types import SpaceState, VersionState

VERSIONS_A_PAGE = 500
VECTORS_A_PAGE = 5_000
NORM_TOLERANCE = 1e-2  # float16 keeps three digits


def check_catalog(database: Database, found: FindingLog, deep: bool, on_progress: OnProgress) -> None:  # noqa: FBT001
    """Every invariant of the rows. `deep` also looks at the numbers of every vector."""
    on_progress("database", 0, 1)
    if not _check_file(database, found):
        return
    on_progress("database", 1, 1)
    check_knowledge_bases(database, found)
    check_conversations(database, found)
    last = _read_number(database, select(func.max(t.version.c.id)))
    for first in range(0, last, VERSIONS_A_PAGE):
        on_progress("versions", first, last)
        with database.read() as connection:
            for check in VERSION_CHECKS:
                check(connection, found, first, first + VERSIONS_A_PAGE)
    total = _read_number(database, select(func.count()).select_from(t.vector))
    for number, page in enumerate(_iter_vectors(database, deep)):
        on_progress("vectors", min(total, number * VECTORS_A_PAGE), total)
        for row in page:
            _check_vector(found, row)


def _read_number(database: Database, query: Select[Any]) -> int:
    with database.read() as connection:
        return connection.execute(query).scalar_one() or 0


def _check_file(database: Database, found: FindingLog) -> bool:
    """The database file itself; False when it is not worth asking it anything else."""
    try:
        with database.read() as connection:
            faults = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(20)"))]
            broken = connection.execute(text("PRAGMA foreign_key_check")).all()
    except Unavailable as error:
        if error.code != "database_damaged":
            raise
        faults, broken = [error.detail], []
    faults = [fault for fault in faults if fault != "ok"]
    for fault in faults:
        found.add("database_damaged", fault)
    for row in broken:
        found.add("foreign_key_broken", f"row {row[1]} of {row[0]} names a row of {row[2]} that is not there")
    return not faults


# -- versions, a page of ids (first, last] at a time ----------------------------------------------------------------


def _check_counts(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    ordinal = t.chunk.c.ordinal
    own = and_(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == t.space.c.id)
    live = and_(t.space.c.kb_id == t.document.c.kb_id, t.space.c.state == SpaceState.LIVE)
    count = func.count(t.chunk.c.id)
    query = (
        select(t.version.c.id, t.version.c.chunk_count, count.label("count"), func.max(ordinal).label("last"))
        .select_from(t.version.join(t.document, t.document.c.id == t.version.c.document_id))
        .join(t.space, live)
        .outerjoin(t.chunk, own)
        .where(t.version.c.id > first, t.version.c.id <= last, t.version.c.state == VersionState.PUBLISHED)
        .group_by(t.version.c.id, t.version.c.chunk_count)
        .having(
            or_(count != t.version.c.chunk_count, count == 0, func.min(ordinal) != 0, func.max(ordinal) != count - 1)
        )
    )
    for row in connection.execute(query):
        has = f"{row.count} chunks up to ordinal {row.last}"
        found.add("chunk_count_wrong", f"version {row.id} is to have {row.chunk_count} chunks and has {has}")


def _check_offsets(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    own = (t.chunk.c.version_id, t.chunk.c.space_id)
    before = func.lag(t.chunk.c.end, 1, 0).over(partition_by=own, order_by=t.chunk.c.ordinal)
    rows = (
        select(t.chunk.c.id, t.chunk.c.version_id, t.chunk.c.start, t.chunk.c.end, before.label("before"))
        .where(t.chunk.c.version_id > first, t.chunk.c.version_id <= last)
        .subquery()
    )
    bad = or_(rows.c.start < rows.c.before, rows.c.end <= rows.c.start)
    for row in connection.execute(select(rows).where(bad)):
        place = f"[{row.start}, {row.end}) after {row.before}"
        found.add("chunk_offsets_wrong", f"chunk {row.id} of version {row.version_id} lies at {place}")


def _check_jobs(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    has_chunks = select(t.chunk.c.id).where(t.chunk.c.version_id == t.version.c.id).exists()
    lives = func.coalesce(t.job.c.state.in_(LIVE), False)
    query = (
        select(t.version.c.id, t.version.c.state, t.version.c.job_id)
        .outerjoin(t.job, t.job.c.id == t.version.c.job_id)
        .where(t.version.c.id > first, t.version.c.id <= last)
        .where(
            or_(
                and_(t.version.c.state == VersionState.STAGED, ~lives),
                and_(t.version.c.state == VersionState.FAILED, has_chunks),
            )
        )
    )
    for row in connection.execute(query):
        if row.state == VersionState.FAILED:
            found.add("chunk_of_failed", f"version {row.id} has failed and still has chunks")
        else:
            found.add(
                "staged_without_job", f"version {row.id} is staged, its job {row.job_id} is neither queued nor running"
            )


def _check_has_vectors(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    has_vector = and_(t.vector.c.space_id == t.chunk.c.space_id, t.vector.c.input_sha == t.chunk.c.input_sha)
    query = (
        select(t.chunk.c.id, t.chunk.c.version_id)
        .select_from(t.chunk.join(t.version, t.version.c.id == t.chunk.c.version_id))
        .join(t.space, and_(t.space.c.id == t.chunk.c.space_id, t.space.c.state == SpaceState.LIVE))
        .outerjoin(t.vector, has_vector)
        .where(t.chunk.c.version_id > first, t.chunk.c.version_id <= last, t.vector.c.input_sha.is_(None))
        .where(t.version.c.state == VersionState.PUBLISHED)
    )
    for row in connection.execute(query):
        found.add("chunk_without_vector", f"chunk {row.id} of published version {row.version_id} has no vector")


VERSION_CHECKS = (
    check_publications,
    check_overlaps,
    _check_counts,
    _check_offsets,
    _check_jobs,
    _check_has_vectors,
)


# -- vectors --------------------------------------------------------------------------------------------------------


def _iter_vectors(database: Database, deep: bool) -> Iterator[Sequence[Any]]:  # noqa: FBT001
    vector = t.vector.c
    used = select(t.chunk.c.id).where(t.chunk.c.space_id == vector.space_id, t.chunk.c.input_sha == vector.input_sha)
    columns = [vector.space_id, vector.input_sha, func.length(vector.value).label("size"), t.space.c.dimension]
    query = select(*columns, used.exists().label("used"), *([vector.value] if deep else []))
    query = query.join(t.space, t.space.c.id == vector.space_id)
    query = query.order_by(vector.space_id, vector.input_sha).limit(VECTORS_A_PAGE)
    last: tuple[int, str] = (0, "")
    while True:
        with database.read() as connection:
            page = connection.execute(query.where(tuple_(vector.space_id, vector.input_sha) > last)).all()
        if not page:
            return
        last = (page[-1].space_id, page[-1].input_sha)
        yield page


def _check_vector(found: FindingLog, row: Any) -> None:  # noqa: ANN401 - a row of _iter_vectors
    name = f"vector {row.input_sha[:12]}… of space {row.space_id}"
    if not row.used:
        found.add("vector_unused", f"{name} belongs to no chunk")
    if row.size != 2 * row.dimension:
        found.add("vector_size_wrong", f"{name} has {row.size} bytes instead of {2 * row.dimension}")
    elif "value" in row._fields:
        norm = float(np.linalg.norm(np.frombuffer(row.value, dtype="<f2").astype(np.float32)))
        if not abs(norm - 1) <= NORM_TOLERANCE:  # false for NaN as well
            found.add("vector_value_wrong", f"{name} has the norm {norm:.3f} instead of 1")
