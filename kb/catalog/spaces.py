"""A second space beside the live one: filled from the stored texts, then put in its place by one revision.

    building ──swap──▶ live ──swap──▶ retired ──collect──▶ its rows are gone, the row stays for the revisions naming it
       └──────abandon──────────────▶ retired (retired_at null) ──collect──▶ gone

While it is built, uploads publish into the live space as ever. What they publish is found lacking here and taken along
by the next lap. Chunks are logged (`+`) at the head's revision in the transaction that writes them, and from then on
leave like those of the live space: at any moment the log of the building space sums to what it has of what answers. So
an index that was sealed before the swap, at a revision at which nothing lacked, is brought up by the log as any other.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, func, insert, literal, or_, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import check_fence
from kb.catalog.staging import insert_chunks
from kb.types import (
    ChunkToStage,
    Heading,
    Job,
    Page,
    PageVerdict,
    SpaceState,
)

GRACE = timedelta(hours=1)  # rows of a retired space stay so long: searches under way answer from it
STANDS_IN = GRACE / 2  # so long a search may begin on a state of it
IDS_A_STATEMENT = 500

_HAS_VECTOR = (t.vector.c.space_id == t.chunk.c.space_id) & (t.vector.c.input_sha == t.chunk.c.input_sha)


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSpace:
    """What chunks and vectors of a space are made by."""

    embedding_model: str
    fingerprint: str
    dimension: int
    chunk_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionToSplit:
    """A version that answers and has no chunks in the building space yet."""

    version_id: int
    path: str
    text_sha: str
    pages: Sequence[Page]
    headings: Sequence[Heading]


@dataclass(frozen=True, kw_only=True, slots=True)
class ChunkToEmbed:
    """A chunk of the building space whose string has no vector there yet."""

    chunk_id: int
    version_id: int
    text_sha: str
    start: int
    end: int
    heading: str | None
    input_sha: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Filling:
    """How far a space is: documents that answer, and those of them that lack nothing there."""

    total: int
    done: int


class Spaces:
    def __init__(self, database: Database) -> None:
        self._database = database

    # -- building -----------------------------------------------------------------------------------------------

    def open_building(self, job: Job, wanted: NewSpace) -> int:
        """The id of the job's building space: the one that is there, else a new one. One made by anything else than
        `wanted` is abandoned. Raises StaleLease."""
        kb_id = find_home(job)
        with self._database.write() as connection:
            check_fence(connection, job)
            found = connection.execute(select(t.space).where(*_building(kb_id))).one_or_none()
            if found is not None and (found.fingerprint, found.embedding_model) == (
                wanted.fingerprint,
                wanted.embedding_model,
            ):
                return int(found.id)
            abandon_spaces(connection, _building(kb_id))
            row = {
                "kb_id": kb_id,
                "embedding_model": wanted.embedding_model,
                "fingerprint": wanted.fingerprint,
                "dimension": wanted.dimension,
                "chunk_tokens": wanted.chunk_tokens,
                "state": SpaceState.BUILDING,
            }
            made: int = connection.execute(insert(t.space).values(row).returning(t.space.c.id)).scalar_one()
            return made

    def abandon_building(self, job: Job) -> None:
        """Give up the building space of the job's knowledge base, if there is one. Raises StaleLease."""
        with self._database.write() as connection:
            check_fence(connection, job)
            abandon_spaces(connection, _building(find_home(job)))

    def measure_filling(self, kb_id: str, space_id: int) -> Filling:
        query = select(func.count()).select_from(select_visible(kb_id, t.version.c.id).subquery())
        lacking = select(func.count()).select_from(select_lacking(kb_id, space_id).subquery())
        with self._database.read() as connection:
            total = connection.execute(query).scalar_one()
            return Filling(total=total, done=total - connection.execute(lacking).scalar_one())

    def list_unsplit(self, kb_id: str, space_id: int, limit: int, after: int = 0) -> list[VersionToSplit]:
        """Versions that answer and have no chunks in the space, by id; `after` is the last one already seen."""
        version = t.version.c
        query = (
            select_visible(kb_id, version.id, t.document.c.path, version.text_sha, version.ledger, version.headings)
            .where(version.id > after, ~_has_chunks(space_id))
            .order_by(version.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [_to_version(row) for row in connection.execute(query)]

    def stage_chunks(
        self, job: Job, space_id: int, versions: Mapping[int, Sequence[ChunkToStage]], reuse_from: int | None
    ) -> None:
        """Write the chunks of versions that still answer and lack them, and log them at the head.

        Vectors of strings that the space `reuse_from` has are copied from there. Version rows stay as they are: they
        tell of the live space. Raises StaleLease.
        """
        kb_id = find_home(job)
        with self._database.write() as connection:
            check_fence(connection, job)
            chosen = (t.version.c.id.in_(list(versions)), ~_has_chunks(space_id))
            kept = connection.execute(select_visible(kb_id, t.version.c.id).where(*chosen)).scalars().all()
            for version_id in kept:
                insert_chunks(connection, space_id, version_id, versions[version_id])
                crash.reach("stage.mid_rows")
            _log_at_head(connection, kb_id, space_id, kept)
            if reuse_from is not None:
                shas = {chunk.input_sha for version_id in kept for chunk in versions[version_id]}
                _copy_vectors(connection, reuse_from, space_id, sorted(shas))

    def list_unembedded(self, space_id: int, limit: int, after: int = 0) -> list[ChunkToEmbed]:
        """Chunks of the space that lack their vector, by id; `after` is the last one already seen."""
        names = ("version_id", "start", "end", "heading", "input_sha")
        query = (
            select(t.chunk.c.id.label("chunk_id"), *(t.chunk.c[name] for name in names), t.version.c.text_sha)
            .join(t.version, t.version.c.id == t.chunk.c.version_id)
            .outerjoin(t.vector, _HAS_VECTOR)
            .where(t.is_of_space(space_id), t.chunk.c.id > after, t.vector.c.input_sha.is_(None))
            .order_by(t.chunk.c.id)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [ChunkToEmbed(**row) for row in connection.execute(query).mappings()]

    def is_visible(self, kb_id: str, version_id: int) -> bool:
        """Whether the version still answers."""
        query = select_visible(kb_id, t.version.c.id).where(t.version.c.id == version_id)
        with self._database.read() as connection:
            return connection.execute(query).first() is not None


def find_home(job: Job) -> str:
    if job.kb_id is None:
        raise ValueError(f"job {job.id} belongs to no knowledge base")
    return job.kb_id


def _building(kb_id: str) -> tuple[ColumnElement[bool], ...]:
    return (t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.BUILDING)


def abandon_spaces(connection: Connection, chosen: tuple[ColumnElement[bool], ...]) -> int:
    """It never answered, so that no grace is needed: `retired_at` stays null."""
    return connection.execute(update(t.space).where(*chosen).values(state=SpaceState.RETIRED)).rowcount


def select_visible(kb_id: str, *columns: Any) -> Select[Any]:  # noqa: ANN401
    """Versions that answer now."""
    return (
        select(*columns)
        .select_from(t.version)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .join(t.publication, t.publication.c.version_id == t.version.c.id)
        .where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None))
        .where(t.publication.c.until_revision.is_(None))
    )


def _has_chunks(space_id: int) -> ColumnElement[bool]:
    """One is enough: all of them were written together."""
    return select(t.chunk.c.id).where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id).exists()


def select_lacking(kb_id: str, space_id: int) -> Select[Any]:
    """Versions that answer and lack their chunks in the space, or a vector of one."""
    bare = (
        select(t.chunk.c.id)
        .select_from(t.chunk.outerjoin(t.vector, _HAS_VECTOR))
        .where(t.chunk.c.version_id == t.version.c.id, t.chunk.c.space_id == space_id, t.vector.c.input_sha.is_(None))
        .exists()
    )
    return select_visible(kb_id, t.version.c.id).where(or_(~_has_chunks(space_id), bare))


def _to_version(row: Any) -> VersionToSplit:  # noqa: ANN401
    return VersionToSplit(
        version_id=row.id,
        path=row.path,
        text_sha=row.text_sha,
        pages=[Page(number=n, start=s, end=e, verdict=PageVerdict(v)) for n, s, e, v in row.ledger or ()],
        headings=read_headings(row.headings),
    )


def read_headings(stored: Sequence[Sequence[Any]] | None) -> list[Heading]:
    """As a loader found them; none of a version before they were kept."""
    return [Heading(start=start, end=end, level=level, title=title) for start, end, level, title in stored or ()]


def _log_at_head(connection: Connection, kb_id: str, space_id: int, version_ids: Sequence[int]) -> None:
    columns = ["kb_id", "revision", "space_id", "op", "chunk_id"]
    head = select(t.knowledge_base.c.head_revision).where(t.knowledge_base.c.id == kb_id).scalar_subquery()
    for first in range(0, len(version_ids), IDS_A_STATEMENT):
        mine = t.chunk.c.version_id.in_(version_ids[first : first + IDS_A_STATEMENT])
        rows = select(literal(kb_id), head, t.chunk.c.space_id, literal("+"), t.chunk.c.id)
        rows = rows.where(mine, t.chunk.c.space_id == space_id).order_by(t.chunk.c.id)
        connection.execute(insert(t.change_log).from_select(columns, rows))


def _copy_vectors(connection: Connection, source: int, target: int, input_shas: Sequence[str]) -> None:
    vector = t.vector.c
    for first in range(0, len(input_shas), IDS_A_STATEMENT):
        batch = input_shas[first : first + IDS_A_STATEMENT]
        rows = select(literal(target), vector.input_sha, vector.value)
        rows = rows.where(vector.space_id == source, vector.input_sha.in_(batch))
        copied = sqlite_insert(t.vector).from_select(["space_id", "input_sha", "value"], rows)
        connection.execute(copied.on_conflict_do_nothing())
