"""The web pages of a source as the catalog has them, and what a sync finds out about them.

What a server said of a page stands with the version it said it of (`origin`), so that a night that publishes nothing
leaves nothing to be sent back as if it had. Within a night the rows are the progress: pages that a job staged, and
pages that it found to be as they were (`checked_by`), are not asked again by whoever takes it up.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, and_, bindparam, delete, func, insert, select, update

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.leases import Progress, report_progress
from kb.catalog.origins import describe_origin, read_origin
from kb.catalog.pauses import find_pause
from kb.catalog.purge import delete_versions
from kb.catalog.source_files import fetch_source_name, stage_file
from kb.catalog.spaces import read_headings
from kb.types import (
    AsidePage,
    Job,
    KnownPage,
    PageContent,
    PageMiss,
    PageOrigin,
    PagesSeen,
    SourceFile,
    StagedPage,
    VersionState,
)

IDS_A_STATEMENT = 500


@dataclass(frozen=True, kw_only=True, slots=True)
class PageBatch:
    """Pages to record together. `unchanged` are document ids."""

    source_id: str
    files: Sequence[SourceFile]
    unchanged: Sequence[str]
    progress: Progress


class SourcePages:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_known(self, source_id: str) -> dict[str, KnownPage]:
        """Every document of the source by its address; one that a user deleted only while no other has it.

        Raises NotFound (`source_not_found`)."""
        found: dict[str, KnownPage] = {}
        with self._database.read() as connection:
            fetch_source_name(connection, source_id)
            for row in connection.execute(_known(source_id)).mappings():  # with all their links they are many
                if row["deleted_at"] is None or row["path"] not in found:
                    found[row["path"]] = _to_known(row)
        return found

    def list_aside(self, source_id: str) -> dict[str, AsidePage]:
        """Pages that the last sync met and that are no documents."""
        query = select(t.source_page).where(t.source_page.c.source_id == source_id)
        with self._database.read() as connection:
            return {row["url"]: _to_aside(row) for row in connection.execute(query).mappings()}

    def list_staged(self, job: Job) -> dict[str, StagedPage]:
        """What the job staged so far, by address."""
        with self._database.read() as connection:
            return {page.url: page for page in _list_staged(connection, job)}

    def record(self, job: Job, batch: PageBatch) -> dict[str, str]:
        """Stage new and changed pages, whose bytes are durable, and note which are as they were.

        Answers address → code for those that cannot be staged: `path_taken` by a document that is not the source's.
        Raises StaleLease, NotFound (`source_not_found`).
        """
        with self._database.write() as connection:
            report_progress(connection, job, batch.progress)
            fetch_source_name(connection, batch.source_id)
            staged = {file.path: stage_file(connection, job, batch.source_id, file) for file in batch.files}
            for ids in _in_batches(batch.unchanged):
                seen = update(t.document).where(t.document.c.id.in_(ids)).values(checked_by=job.id)
                connection.execute(seen)
        return {path: "path_taken" for path, is_staged in staged.items() if not is_staged}


def find_same(connection: Connection, job: Job) -> dict[int, StagedPage]:
    """Pages that the job staged and whose text, title and headings are those of the version that answers."""
    return {page.version_id: page for page in _list_staged(connection, job) if page.same_as is not None}


def settle_pages(connection: Connection, job: Job, source_id: str, seen: PagesSeen) -> list[str]:
    """Inside the transaction that publishes: what the next night goes by. Answers the documents whose pages say again
    what their live version says."""
    same = find_same(connection, job)
    _keep_origins(connection, {page.same_as: page.origin for page in same.values() if page.same_as is not None})
    delete_versions(connection, list(same))
    _keep_origins(connection, _list_open(connection, seen.refreshed))
    fresh = {"missed": 0, "missed_at": None, "miss_code": None, "failures": 0, "retry_at": None}
    for ids in _in_batches(seen.came):
        connection.execute(update(t.document).where(t.document.c.id.in_(ids)).values(fresh))
    for document_id, miss in seen.missed.items():
        _note_miss(connection, document_id, miss, seen.at)
    connection.execute(delete(t.source_page).where(t.source_page.c.source_id == source_id))
    if seen.aside:
        connection.execute(insert(t.source_page), [_describe_aside(source_id, page) for page in seen.aside])
    return [*seen.refreshed, *(page.document_id for page in same.values())]


def _known(source_id: str) -> Select[Any]:
    live, newest, other = t.version.alias("live"), t.version.alias("newest"), t.version.alias("other")
    document = t.document.c
    is_open = (t.publication.c.document_id == document.id) & t.publication.c.until_revision.is_(None)
    number = select(func.max(other.c.number)).where(other.c.document_id == document.id).scalar_subquery()
    failed = and_(
        newest.c.document_id == document.id,
        newest.c.number == number,
        newest.c.state == VersionState.FAILED,
        document.removed_revision.is_(None),  # of a hidden one it is history
    )
    content = ("sha256", "size", "media_type", "origin", "text_sha", "title", "headings", "error_code")
    columns = [one.c[name].label(f"{one.name}_{name}") for one in (live, newest) for name in content]
    return (
        select(t.document, *columns)
        .outerjoin(t.publication, is_open)
        .outerjoin(live, live.c.id == t.publication.c.version_id)
        .outerjoin(newest, failed)
        .where(document.source_id == source_id)
        .order_by(document.deleted_at.is_not(None))
    )


def _to_known(row: RowMapping) -> KnownPage:
    live, failed = _to_content(row, "live"), _to_content(row, "newest")
    return KnownPage(
        document_id=row["id"],
        url=row["path"],
        origin=_to_origin(row["live_origin"] if failed is None else row["newest_origin"]),
        live=live,
        live_origin=_to_origin(row["live_origin"]),
        text_sha=row["live_text_sha"],
        face=_hash_face(row["live_title"], row["live_headings"]),
        failed=failed,
        failed_code=row["newest_error_code"],
        failures=row["failures"],
        retry_at=row["retry_at"],
        missed=row["missed"],
        missed_at=row["missed_at"],
        miss_code=row["miss_code"],
        checked_by=row["checked_by"],
        deleted=row["deleted_at"] is not None,
    )


def _to_content(row: RowMapping, which: str) -> PageContent | None:
    if row[f"{which}_sha256"] is None:
        return None
    return PageContent(**{name: row[f"{which}_{name}"] for name in ("sha256", "size", "media_type")})


def _to_origin(kept: Mapping[str, Any] | None) -> PageOrigin | None:
    return None if kept is None else read_origin(kept)


def _to_aside(row: RowMapping) -> AsidePage:
    kept = dict(row["origin"])
    copy_of = kept.pop("copy_of", None)
    return AsidePage(url=row["url"], code=row["code"], origin=read_origin(kept), copy_of=copy_of)


def _describe_aside(source_id: str, page: AsidePage) -> dict[str, Any]:
    kept = describe_origin(page.origin) | ({} if page.copy_of is None else {"copy_of": page.copy_of})
    return {"source_id": source_id, "url": page.url, "code": page.code, "origin": kept}


def _list_staged(connection: Connection, job: Job) -> list[StagedPage]:
    live = t.version.alias("live")
    is_open = (t.publication.c.document_id == t.version.c.document_id) & t.publication.c.until_revision.is_(None)
    compared = ("id", "text_sha", "title", "headings")
    query = (
        select(t.version, t.document.c.path, *(live.c[name].label(f"live_{name}") for name in compared))
        .join(t.document, t.document.c.id == t.version.c.document_id)
        .outerjoin(t.publication, is_open)
        .outerjoin(live, live.c.id == t.publication.c.version_id)
        .where(t.version.c.job_id == job.id, t.version.c.state == VersionState.STAGED, t.version.c.origin.is_not(None))
    )
    return [_to_staged(row) for row in connection.execute(query).mappings()]


def _to_staged(row: RowMapping) -> StagedPage:
    is_same = row["text_sha"] is not None and all(
        row[name] == row[f"live_{name}"] for name in ("text_sha", "title", "headings")
    )
    return StagedPage(
        version_id=row["id"],
        document_id=row["document_id"],
        url=row["path"],
        text_sha=row["text_sha"],
        origin=read_origin(row["origin"]),
        same_as=row["live_id"] if is_same else None,
        face=_hash_face(row["title"], row["headings"]),
    )


def _hash_face(title: str | None, headings: Sequence[Sequence[Any]] | None) -> str | None:
    names = [title or "", *(heading.title for heading in read_headings(headings))]
    return hashlib.sha256("\n".join(names).encode()).hexdigest() if any(names) else None


def _list_open(connection: Connection, origins: Mapping[str, PageOrigin]) -> dict[int, PageOrigin]:
    """By the open version of each document."""
    found: dict[int, PageOrigin] = {}
    publication = t.publication.c
    for ids in _in_batches(list(origins)):
        is_open = (publication.document_id.in_(ids), publication.until_revision.is_(None))
        rows = connection.execute(select(publication.version_id, publication.document_id).where(*is_open))
        found.update((row.version_id, origins[row.document_id]) for row in rows)
    return found


def _keep_origins(connection: Connection, origins: Mapping[int, PageOrigin]) -> None:
    if origins:
        keep = update(t.version).where(t.version.c.id == bindparam("key")).values(origin=bindparam("said"))
        connection.execute(keep, [{"key": key, "said": describe_origin(one)} for key, one in origins.items()])


def _note_miss(connection: Connection, document_id: str, miss: PageMiss, now: datetime) -> None:
    document = t.document.c
    values: dict[str, Any] = {"miss_code": miss.code}
    if miss.counts:
        values |= {"missed": document.missed + 1, "missed_at": now}
    if not miss.is_gone:
        failures: int = connection.execute(select(document.failures).where(document.id == document_id)).scalar_one()
        values |= {"failures": failures + 1, "retry_at": now + find_pause(failures + 1)}
    connection.execute(update(t.document).where(document.id == document_id).values(values))


def _in_batches(ids: Sequence[str]) -> list[Sequence[str]]:
    return [ids[first : first + IDS_A_STATEMENT] for first in range(0, len(ids), IDS_A_STATEMENT)]
