"""Sources: create, find, change, delete, and the two ways that lead to a sync job: a request and the schedule.

When a schedule comes round is worked out by the caller; here it is written down in one transaction with the job that
it starts, so that of several schedulers exactly one starts it.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, RowMapping, and_, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.documents import purge_documents, under
from kb.catalog.jobs import NewJob, cancel_jobs, enqueue_job, find_live_job
from kb.catalog.knowledge_bases import check_alive
from kb.catalog.purge import Purged
from kb.errors import Conflict, NotFound
from kb.types import JobKind, Lane, Source, SourceKind

LISTED_BY = ("uri", "include", "exclude", "depth")  # a listing holds for these alone

Plan = Callable[[str | None, str], datetime | None]  # schedule and time zone → when it comes round next


@dataclass(frozen=True, kw_only=True, slots=True)
class NewSource:
    kb_id: str
    name: str
    kind: SourceKind
    uri: str
    include: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    max_pages: int | None = None
    depth: int | None = None
    schedule: str | None = None
    timezone: str = "UTC"
    next_run: datetime | None = None


class Sources:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewSource) -> Source:
        """Raises NotFound (knowledge base deleted meanwhile), Conflict (`source_exists`, `path_taken`)."""
        now = datetime.now(UTC)
        row = {name: getattr(new, name) for name in NewSource.__dataclass_fields__}
        row |= {"id": uuid.uuid4().hex, "include": list(new.include), "exclude": list(new.exclude)}
        with self._database.write() as connection:
            check_alive(connection, new.kb_id)
            try:
                connection.execute(insert(t.source).values(**row, created_at=now, updated_at=now))
            except IntegrityError:
                reason = f"a source named {new.name!r} exists already in this knowledge base; choose another name"
                raise Conflict("source_exists", reason) from None
            if new.kind is SourceKind.FOLDER:
                _claim_paths(connection, new, row["id"])
            return _fetch(connection, row["id"])

    def get(self, source_id: str) -> Source:
        """Raises NotFound (`source_not_found`)."""
        with self._database.read() as connection:
            return _fetch(connection, source_id)

    def find(self, kb_id: str, name_or_id: str) -> Source:
        """Raises NotFound (`source_not_found`). A name may look like another one's id; the id wins."""
        named = or_(t.source.c.id == name_or_id, t.source.c.name == name_or_id)
        query = select(t.source).where(t.source.c.kb_id == kb_id, named)
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
        row = next((row for row in rows if row["id"] == name_or_id), rows[0] if rows else None)
        if row is None:
            raise _not_found(name_or_id)
        return _to_source(row)

    def list_sources(self, kb_id: str, limit: int, after: str = "") -> list[Source]:
        """In order of name; `after` is the last name already seen."""
        query = select(t.source).where(t.source.c.kb_id == kb_id, t.source.c.name > after)
        with self._database.read() as connection:
            return [
                _to_source(row) for row in connection.execute(query.order_by(t.source.c.name).limit(limit)).mappings()
            ]

    def update(self, source_id: str, changes: Mapping[str, Any], plan: Plan) -> Source:
        """`changes` may hold `uri`, `include`, `exclude`, `max_pages`, `depth`, `schedule` and `timezone`.

        Raises NotFound.
        """
        with self._database.write() as connection:
            before = _fetch(connection, source_id)
            after = replace(before, **changes)
            if after == before:
                return before
            values = {**changes, "updated_at": datetime.now(UTC)}
            if (after.schedule, after.timezone) != (before.schedule, before.timezone):
                values["next_run"] = plan(after.schedule, after.timezone)
            if any(getattr(after, name) != getattr(before, name) for name in LISTED_BY):
                values["listing_sha"] = None
            connection.execute(update(t.source).where(t.source.c.id == source_id).values(**values))
            return _fetch(connection, source_id)

    def delete(self, source_id: str, *, keep_documents: bool = False) -> Purged:
        """Purge its documents with it, or keep them as if they had been uploaded. A sync under way is cancelled.

        The caller removes files that nobody else names. Raises NotFound.
        """
        with self._database.write() as connection:
            source = _fetch(connection, source_id)
            cancel_jobs(connection, t.job.c.dedupe_key == _name_job(source_id), "the source was deleted")
            mine = (t.document.c.source_id == source_id, t.document.c.deleted_at.is_(None))
            purged = Purged()
            if keep_documents:
                kept = {"source_id": None, "missed": 0, "missed_at": None, "miss_code": None}
                connection.execute(update(t.document).where(*mine).values(kept))
            else:
                ids = connection.execute(select(t.document.c.id).where(*mine)).scalars().all()
                purged = purge_documents(connection, source.kb_id, ids)
            connection.execute(t.source_page.delete().where(t.source_page.c.source_id == source_id))
            connection.execute(t.source.delete().where(t.source.c.id == source_id))
        return purged

    def request_sync(self, source_id: str, *, force: bool = False, include_deleted: bool = False) -> str:
        """The job's id: a new one, or that of the sync which is queued or running already. Raises NotFound."""
        with self._database.write() as connection:
            source = _fetch(connection, source_id)
            wishes = {"force": force, "include_deleted": include_deleted}
            return find_live_job(connection, _name_job(source_id)) or _enqueue(connection, source, wishes)

    def list_scheduled(self) -> list[Source]:
        """Every source that has a schedule."""
        query = select(t.source).where(t.source.c.schedule.is_not(None), _is_alive(t.source.c.kb_id))
        with self._database.read() as connection:
            return [_to_source(row) for row in connection.execute(query).mappings()]

    def start_due(self, source: Source, now: datetime, next_run: datetime) -> str | None:
        """Start what the schedule names, unless another scheduler did; the new job's id.

        While a sync of the source is queued or running no other is started, and only `next_run` moves on.
        """
        with self._database.write() as connection:
            if not _move(connection, source, {"next_run": next_run, "last_due": now}):
                return None
            if find_live_job(connection, _name_job(source.id)) is not None:
                return None
            return _enqueue(connection, source, {})

    def move_next_run(self, source: Source, next_run: datetime) -> None:
        """For a clock that went back: what was run by the time it showed before is forgotten."""
        with self._database.write() as connection:
            _move(connection, source, {"next_run": next_run, "last_due": None})


def list_source_names(connection: Connection, kb_id: str) -> set[str]:
    """The first folders of paths that belong to folder sources."""
    folders = (t.source.c.kb_id == kb_id, t.source.c.kind == SourceKind.FOLDER)
    return set(connection.execute(select(t.source.c.name).where(*folders)).scalars())


def _is_alive(kb_id: Any) -> ColumnElement[bool]:  # noqa: ANN401 - a value or a column
    alive = and_(t.knowledge_base.c.id == kb_id, t.knowledge_base.c.deleted_at.is_(None))
    return select(t.knowledge_base.c.id).where(alive).exists()


def _claim_paths(connection: Connection, new: NewSource, source_id: str) -> None:
    """Raises Conflict (`path_taken`). Documents that an earlier source left hidden are taken over: they hold paths."""
    here = (t.document.c.kb_id == new.kb_id, t.document.c.deleted_at.is_(None), under(f"{new.name}/"))
    hidden = and_(t.document.c.source_id.is_(None), t.document.c.removed_revision.is_not(None))
    taken = connection.execute(select(t.document.c.path).where(*here, ~hidden).limit(1)).scalar_one_or_none()
    if taken is not None:
        reason = f"the documents of a source {new.name!r} begin with {new.name + '/'!r}, and {taken!r} is there already"
        raise Conflict("path_taken", f"{reason}; choose another name or delete what is there")
    connection.execute(update(t.document).where(*here, hidden).values(source_id=source_id))


def _move(connection: Connection, source: Source, values: Mapping[str, datetime | None]) -> bool:
    """Compare and set: False when another scheduler moved it on, or a user changed or deleted it."""
    asked = (source.next_run, source.schedule, source.timezone)
    as_read = (t.source.c.next_run, t.source.c.schedule, t.source.c.timezone)
    same = [column.is_not_distinct_from(value) for column, value in zip(as_read, asked, strict=True)]
    moved = update(t.source).where(t.source.c.id == source.id, *same, _is_alive(source.kb_id)).values(**values)
    return connection.execute(moved).rowcount == 1


def _enqueue(connection: Connection, source: Source, wishes: Mapping[str, bool]) -> str:
    params = {"source_id": source.id, **{name: True for name, wished in wishes.items() if wished}}
    key = _name_job(source.id)
    new = NewJob(kind=JobKind.SYNC, lane=Lane.BULK, kb_id=source.kb_id, dedupe_key=key, params=params)
    return enqueue_job(connection, new)


def _name_job(source_id: str) -> str:
    return f"sync:{source_id}"


def _fetch(connection: Connection, source_id: str) -> Source:
    row = connection.execute(select(t.source).where(t.source.c.id == source_id)).mappings().one_or_none()
    if row is None:
        raise _not_found(source_id)
    return _to_source(row)


def _to_source(row: RowMapping) -> Source:
    return Source(**{**row, "kind": SourceKind(row["kind"])})


def _not_found(name_or_id: str) -> NotFound:
    return NotFound("source_not_found", f"there is no source {name_or_id[:255]!r} in this knowledge base")
