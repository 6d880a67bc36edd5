"""Content that is known already need not be read and embedded again: a moved file, one that came back, a copy."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import Connection, RowMapping, func, insert, literal, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import check_fence
from kb.catalog.staging import keep_date
from kb.types import Job, StagedVersion, VersionState

# What reading a file tells of a version; equal bytes tell the same.
_TOLD = ("text_sha", "title", "language", "encoding", "pages", "coverage", "ledger", "headings", "chunk_count")
_CHUNK = ("ordinal", "start", "end", "page_start", "page_end", "heading", "tokens", "input_sha")


class KnownContent:
    def __init__(self, database: Database) -> None:
        self._database = database

    def copy(self, job: Job, space_id: int, versions: Sequence[StagedVersion]) -> list[int]:
        """Give staged versions the chunks of a version with equal bytes in the same space; the ids of those that had
        one. Their vectors are there already, since a vector belongs to a string. Raises StaleLease.
        """
        copied: list[int] = []
        with self._database.write() as connection:
            check_fence(connection, job)
            for version in versions:
                donor = _find_donor(connection, space_id, version)
                if donor is not None and _is_there(connection, version.version_id):
                    _copy(connection, space_id, donor, version.version_id)
                    copied.append(version.version_id)
        return copied


def _find_donor(connection: Connection, space_id: int, version: StagedVersion) -> RowMapping | None:
    chunks = (
        select(func.count())
        .where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id)
        .scalar_subquery()
    )
    kept = t.version.c.state.in_((VersionState.PUBLISHED, VersionState.SUPERSEDED))
    query = (
        select(t.version)
        .where(t.version.c.sha256 == version.sha256, t.version.c.media_type == version.media_type, kept)
        .where(chunks > 0, chunks == t.version.c.chunk_count)
        .order_by(t.version.c.id.desc())
        .limit(1)
    )
    return connection.execute(query).mappings().one_or_none()


def _is_there(connection: Connection, version_id: int) -> bool:
    """A purge may have taken it since it was listed."""
    return connection.execute(select(t.version.c.id).where(t.version.c.id == version_id)).first() is not None


def _copy(connection: Connection, space_id: int, donor: RowMapping, version_id: int) -> None:
    told = {name: donor[name] for name in _TOLD}
    connection.execute(update(t.version).where(t.version.c.id == version_id).values(told))
    if isinstance(date := donor["metadata"].get("date"), str):
        keep_date(connection, version_id, date)
    columns = [t.chunk.c[name] for name in _CHUNK]
    rows = (
        select(literal(space_id), literal(version_id), *columns)
        .where(t.chunk.c.version_id == donor["id"], t.chunk.c.space_id == space_id)
        .order_by(t.chunk.c.ordinal)
    )
    connection.execute(insert(t.chunk).from_select(["space_id", "version_id", *_CHUNK], rows))
