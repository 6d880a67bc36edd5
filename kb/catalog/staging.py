"""Staging: chunks and vectors that nobody sees yet. Every transaction here asks for the job's fence first."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from sqlalchemy import ColumnElement, Connection, Table, bindparam, insert, select, update
from sqlalchemy.dialects.sqlite import insert as sqlite_insert

from kb import crash
from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import Progress, check_fence, report_progress
from kb.catalog.purge import delete_chunks
from kb.errors import DocumentFailed, Unavailable
from kb.types import ChunkToStage, Job, Page, PageVerdict, ParsedDocument, StagedVersion, Vectors, VersionState

ROWS_A_STATEMENT = 500

# Put together once: these run for every document, and building them anew costs more than running them.
_DESCRIBE_VERSION = update(t.version).where(t.version.c.id == bindparam("key"))
_INSERT_CHUNKS = insert(t.chunk)


@dataclass(frozen=True, kw_only=True, slots=True)
class VersionToStage:
    """A parsed and split version; its text is durable under `text_sha` before this is staged."""

    version_id: int
    parsed: ParsedDocument
    text_sha: str
    chunks: Sequence[ChunkToStage]


class Staging:
    def __init__(self, database: Database, text_exists: Callable[[str], bool]) -> None:
        self._database = database
        self._text_exists = text_exists

    def list_staged(self, job_id: str, limit: int, after: int = 0) -> list[StagedVersion]:
        """Versions of a job that wait to be indexed, oldest first; those of deleted documents are left out."""
        with self._database.read() as connection:
            return list_staged_versions(connection, t.version.c.job_id == job_id, limit, after)

    def stage_chunks(self, job: Job, space_id: int, versions: Sequence[VersionToStage]) -> list[str]:
        """Write chunk rows; the `input_sha`s that have no vector in the space yet, in order of first use.

        The rows come before the look-up, so that whoever collects garbage counts them as users of a vector.
        Raises StaleLease, Unavailable (`text_gone`).
        """
        with self._database.write() as connection:
            check_fence(connection, job)
            kept = _drop_deleted(connection, versions)
            delete_chunks(
                connection, [version.version_id for version in kept], space_id
            )  # what an earlier attempt left behind
            for version in kept:
                _write_chunks(connection, space_id, version)
                crash.reach("stage.mid_rows")
            self._check_texts(kept)
            wanted = dict.fromkeys(chunk.input_sha for version in kept for chunk in version.chunks)
            return _list_missing(connection, space_id, list(wanted))

    def _check_texts(self, versions: Sequence[VersionToStage]) -> None:
        """A purge of an equal text may have come between writing ours and naming it."""
        for version in versions:
            if not self._text_exists(version.text_sha):
                raise Unavailable(
                    "text_gone", f"the text of version {version.version_id} was collected; stage it again"
                )

    def stage_vectors(self, job: Job, space_id: int, input_shas: Sequence[str], vectors: Vectors) -> None:
        """`vectors` has shape (len(input_shas), dimension) and is kept as float16. Raises StaleLease.

        Vectors whose chunks were purged since `stage_chunks` asked for them are dropped: nobody would collect them.
        """
        if not input_shas:
            return
        values = np.ascontiguousarray(vectors, dtype="<f2")
        rows = [
            {"space_id": space_id, "input_sha": sha, "value": value.tobytes()}
            for sha, value in zip(input_shas, values, strict=True)
        ]
        with self._database.write() as connection:
            check_fence(connection, job)
            used = _list_known(connection, t.chunk, space_id, input_shas)
            rows = [row for row in rows if row["input_sha"] in used]
            if rows:
                connection.execute(sqlite_insert(t.vector).on_conflict_do_nothing(), rows)
        crash.reach("stage.done")

    def fail_versions(self, job: Job, failures: Mapping[int, DocumentFailed], progress: Progress) -> None:
        """Record why versions cannot be indexed, and that they are dealt with; whatever they had staged goes.

        One transaction, so that a job that is resumed counts each failure once. Raises StaleLease.
        """
        if not failures:
            return
        with self._database.write() as connection:
            report_progress(connection, job, progress)
            fail_versions(connection, failures)


def list_staged_versions(
    connection: Connection, chosen: ColumnElement[bool], limit: int, after: int
) -> list[StagedVersion]:
    """The chosen ones among the staged versions, oldest first; those of deleted documents are left out."""
    query = (
        select(t.version, t.document.c.path)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .where(chosen, t.version.c.state == VersionState.STAGED)
        .where(t.version.c.id > after, t.document.c.deleted_at.is_(None))
        .order_by(t.version.c.id)
        .limit(limit)
    )
    return [
        StagedVersion(
            version_id=row["id"],
            document_id=row["document_id"],
            path=row["path"],
            sha256=row["sha256"],
            media_type=row["media_type"],
            metadata=row["metadata"],
            password=row["secret"],
        )
        for row in connection.execute(query).mappings()
    ]


def fail_versions(connection: Connection, failures: Mapping[int, DocumentFailed]) -> None:
    """Record failures of staged versions inside the caller's transaction; whatever they had staged goes."""
    for version_id, failure in failures.items():
        delete_chunks(connection, [version_id])
        connection.execute(
            update(t.version)
            .where(t.version.c.id == version_id, t.version.c.state == VersionState.STAGED)
            .values(
                state=VersionState.FAILED,
                error_code=failure.code,
                error_detail=failure.detail,
                secret=None,
                chunk_count=0,
                updated_at=datetime.now(UTC),
                **_describe_verdicts(failure.verdicts),
            )
        )


def _describe_verdicts(verdicts: Sequence[PageVerdict]) -> dict[str, object]:
    """What is known of the pages of a file without a text: they lie nowhere in one. Nothing when none was looked at."""
    if not verdicts:
        return {}
    pages = [Page(number=number, start=0, end=0, verdict=verdict) for number, verdict in enumerate(verdicts, start=1)]
    return _describe_pages(ParsedDocument(text="", pages=pages))


def _describe_pages(parsed: ParsedDocument) -> dict[str, object]:
    return {
        "pages": len(parsed.pages),
        "coverage": parsed.coverage,
        "ledger": [[page.number, page.start, page.end, page.verdict] for page in parsed.pages],
    }


def _drop_deleted(connection: Connection, versions: Sequence[VersionToStage]) -> list[VersionToStage]:
    """Without the versions whose document was deleted meanwhile: their rows are gone."""
    ids = [version.version_id for version in versions]
    kept = set(connection.execute(select(t.version.c.id).where(t.version.c.id.in_(ids))).scalars())
    return [version for version in versions if version.version_id in kept]


def _write_chunks(connection: Connection, space_id: int, version: VersionToStage) -> None:
    parsed = version.parsed
    row = {
        "key": version.version_id,
        "text_sha": version.text_sha,
        "title": parsed.title,
        "language": parsed.language,
        "encoding": parsed.encoding,
        **_describe_pages(parsed),
        "headings": [[heading.start, heading.end, heading.level, heading.title] for heading in parsed.headings],
        "chunk_count": len(version.chunks),
        "updated_at": datetime.now(UTC),
    }
    connection.execute(_DESCRIBE_VERSION, row)
    if parsed.date is not None:
        keep_date(connection, version.version_id, parsed.date)
    insert_chunks(connection, space_id, version.version_id, version.chunks)


def keep_date(connection: Connection, version_id: int, date: str) -> None:
    """What a page says of its own day is metadata of a source's document that nobody described; of an upload, metadata
    is its sender's alone, by which it is told from the next one."""
    query = (
        select(t.version.c.metadata)
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .where(t.version.c.id == version_id, t.document.c.source_id.is_not(None))
    )
    found = connection.execute(query).scalar()
    if found is not None and "date" not in found:
        dated = {**found, "date": date}
        connection.execute(update(t.version).where(t.version.c.id == version_id).values(metadata=dated))


def insert_chunks(connection: Connection, space_id: int, version_id: int, chunks: Sequence[ChunkToStage]) -> None:
    """All chunks of a version in one space: who finds one there has them all."""
    if chunks:
        connection.execute(_INSERT_CHUNKS, [_to_row(space_id, version_id, item) for item in chunks])


def _to_row(space_id: int, version_id: int, item: ChunkToStage) -> dict[str, object]:
    chunk = item.chunk
    return {
        "space_id": space_id,
        "version_id": version_id,
        "ordinal": chunk.ordinal,
        "start": chunk.start,
        "end": chunk.end,
        "page_start": chunk.page_start,
        "page_end": chunk.page_end,
        "heading": chunk.heading,
        "tokens": chunk.tokens,
        "input_sha": item.input_sha,
    }


def _list_missing(connection: Connection, space_id: int, input_shas: Sequence[str]) -> list[str]:
    found = _list_known(connection, t.vector, space_id, input_shas)
    return [sha for sha in input_shas if sha not in found]


def _list_known(connection: Connection, table: Table, space_id: int, input_shas: Sequence[str]) -> set[str]:
    """Those of `input_shas` that rows of `table` (chunk or vector) in the space have."""
    found: set[str] = set()
    for first in range(0, len(input_shas), ROWS_A_STATEMENT):
        batch = input_shas[first : first + ROWS_A_STATEMENT]
        query = select(table.c.input_sha).where(table.c.space_id == space_id, table.c.input_sha.in_(batch))
        found.update(connection.execute(query).scalars())
    return found
