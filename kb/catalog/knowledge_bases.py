"""Knowledge bases: create, find, rename, delete. A deleted one frees its name at once; a purge job takes the rest."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, Select, bindparam, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from kb.catalog import tables as t
from kb.catalog.conversations import forget_conversations
from kb.catalog.database import Database
from kb.catalog.jobs import NewJob, cancel_jobs, enqueue_job
from kb.catalog.prompts import read_prompt
from kb.catalog.refusals import read_refusal
from kb.errors import Conflict, NotFound
from kb.types import JobKind, KnowledgeBase, Lane, SafetyLimits, SpaceState

WISH = "wanted_chunk_tokens"  # in the settings, once somebody asked for a size


@dataclass(frozen=True, kw_only=True, slots=True)
class NewKnowledgeBase:
    name: str
    description: str
    language: str
    embedding_model: str
    fingerprint: str  # of encoder and splitter together: what makes two chunks' vectors belong to one space
    dimension: int
    chunk_tokens: int


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBaseSettings:
    """What a worker needs to know to fill the live space."""

    kb_id: str
    space_id: int
    embedding_model: str
    fingerprint: str
    dimension: int
    chunk_tokens: int
    wanted_chunk_tokens: int  # by the next full re-index


@dataclass(frozen=True, kw_only=True, slots=True)
class KnowledgeBaseKey:
    """A knowledge base without its counts, which cost a walk over its documents: what every request needs."""

    id: str
    name: str
    embedding_model: str


class KnowledgeBases:
    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, new: NewKnowledgeBase) -> KnowledgeBase:
        """Raises Conflict (`knowledge_base_exists`)."""
        kb_id = uuid.uuid4().hex
        with self._database.write() as connection:
            row = {
                "id": kb_id,
                "name": new.name,
                "description": new.description,
                "language": new.language,
                "settings": {"embedding_model": new.embedding_model, "chunk_tokens": new.chunk_tokens},
                "head_revision": 0,
                "created_at": datetime.now(UTC),
            }
            try:
                connection.execute(insert(t.knowledge_base).values(row))
            except IntegrityError:
                raise _name_taken(new.name) from None
            connection.execute(
                insert(t.space).values(
                    kb_id=kb_id,
                    embedding_model=new.embedding_model,
                    fingerprint=new.fingerprint,
                    dimension=new.dimension,
                    state=SpaceState.LIVE,
                    chunk_tokens=new.chunk_tokens,
                )
            )
            return _fetch(connection, kb_id)

    def get(self, name_or_id: str) -> KnowledgeBase:
        """Raises NotFound (`knowledge_base_not_found`)."""
        with self._database.read() as connection:
            return _fetch(connection, name_or_id)

    def find(self, name_or_id: str) -> KnowledgeBaseKey:
        """The same without counts. Raises NotFound (`knowledge_base_not_found`)."""
        with self._database.read() as connection:
            rows = connection.execute(_KEY, {"wanted": name_or_id}).all()
        row = next((row for row in rows if row.id == name_or_id), rows[0] if rows else None)
        if row is None:
            raise _not_found(name_or_id)
        return KnowledgeBaseKey(id=row.id, name=row.name, embedding_model=row.embedding_model)

    def list_knowledge_bases(self, limit: int, after: str = "") -> list[KnowledgeBase]:
        """In order of name; `after` is the last name already seen."""
        query = _described().where(t.knowledge_base.c.name > after).order_by(t.knowledge_base.c.name).limit(limit)
        with self._database.read() as connection:
            return [_to_knowledge_base(row) for row in connection.execute(query).mappings()]

    def update(
        self,
        kb_id: str,
        changes: Mapping[str, str],
        limits: Mapping[str, float] | None = None,
        chunk_tokens: int | None = None,
    ) -> KnowledgeBase:
        """`changes` may hold `name` and `description`, `limits` fields of SafetyLimits; the others stay as they are.

        `chunk_tokens` is a wish: what answers keeps its chunks until the next full re-index.

        Raises NotFound (`knowledge_base_not_found`), Conflict (`knowledge_base_exists`).
        """
        with self._database.write() as connection:
            _fetch(connection, kb_id)
            values: dict[str, Any] = dict(changes)
            settings = _fetch_settings(connection, kb_id)
            changed = _write_limits(settings, limits) if limits else settings
            if chunk_tokens is not None:
                changed = {**changed, WISH: chunk_tokens}
            if changed != settings:
                values["settings"] = changed
            if values:
                try:
                    connection.execute(update(t.knowledge_base).where(t.knowledge_base.c.id == kb_id).values(**values))
                except IntegrityError:
                    raise _name_taken(changes.get("name", "")) from None
            return _fetch(connection, kb_id)

    def get_limits(self, kb_id: str) -> SafetyLimits:
        """Raises NotFound (`knowledge_base_not_found`)."""
        with self._database.read() as connection:
            return _read_limits(_fetch_settings(connection, kb_id))

    def delete(self, kb_id: str) -> None:
        """Gone for every reader when this returns; rows and files follow in a purge job. Raises NotFound."""
        with self._database.write() as connection:
            found = _fetch(connection, kb_id)
            now = datetime.now(UTC)
            connection.execute(update(t.knowledge_base).where(t.knowledge_base.c.id == found.id).values(deleted_at=now))
            forget_conversations(connection, found.id)
            cancel_jobs(connection, t.job.c.kb_id == found.id, "the knowledge base was deleted")
            enqueue_job(
                connection, NewJob(kind=JobKind.PURGE, lane=Lane.BULK, kb_id=found.id, dedupe_key=f"purge:{found.id}")
            )

    def list_source_ids(self, kb_id: str) -> list[str]:
        query = select(t.source.c.id).where(t.source.c.kb_id == kb_id).order_by(t.source.c.name)
        with self._database.read() as connection:
            return list(connection.execute(query).scalars())

    def get_settings(self, kb_id: str) -> KnowledgeBaseSettings:
        """Raises NotFound (`knowledge_base_not_found`)."""
        query = (
            select(t.space, t.knowledge_base.c.settings)
            .join(t.knowledge_base, t.knowledge_base.c.id == t.space.c.kb_id)
            .where(t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
            .where(t.knowledge_base.c.deleted_at.is_(None))
        )
        with self._database.read() as connection:
            row = connection.execute(query).mappings().one_or_none()
        if row is None:
            raise _not_found(kb_id)
        return KnowledgeBaseSettings(
            kb_id=kb_id,
            space_id=row["id"],
            embedding_model=row["embedding_model"],
            fingerprint=row["fingerprint"],
            dimension=row["dimension"],
            chunk_tokens=row["chunk_tokens"],
            wanted_chunk_tokens=_read_wish(row),
        )


# What every question asks first is put together once: building it anew costs more than answering it.
_KEY = (
    select(t.knowledge_base.c.id, t.knowledge_base.c.name, t.space.c.embedding_model)
    .join(t.space, (t.space.c.kb_id == t.knowledge_base.c.id) & (t.space.c.state == SpaceState.LIVE))
    .where(t.knowledge_base.c.deleted_at.is_(None))
    .where((t.knowledge_base.c.id == bindparam("wanted")) | (t.knowledge_base.c.name == bindparam("wanted")))
)


def _described() -> Select[Any]:
    kb, space = t.knowledge_base, t.space
    document = t.document.c
    mine = (document.kb_id == kb.c.id, document.deleted_at.is_(None), document.removed_revision.is_(None))
    is_open = (t.publication.c.document_id == t.document.c.id) & t.publication.c.until_revision.is_(None)
    documents = select(func.count()).select_from(t.document).where(*mine).correlate(kb).scalar_subquery()
    chunks = (
        select(func.sum(t.version.c.chunk_count))
        .select_from(t.document)
        .join(t.publication, is_open)
        .join(t.version, t.version.c.id == t.publication.c.version_id)
        .where(*mine)
        .correlate(kb)
        .scalar_subquery()
    )
    live = (space.c.embedding_model, space.c.dimension, space.c.chunk_tokens)
    return (
        select(kb, *live, documents.label("documents"), chunks.label("chunks"))
        .join(space, (space.c.kb_id == kb.c.id) & (space.c.state == SpaceState.LIVE))
        .where(kb.c.deleted_at.is_(None))
    )


def _fetch(connection: Connection, name_or_id: str) -> KnowledgeBase:
    kb = t.knowledge_base
    query = _described().where((kb.c.id == name_or_id) | (kb.c.name == name_or_id))
    rows = connection.execute(query).mappings().all()
    # A name may look like another one's id; the id wins.
    rows = [row for row in rows if row["id"] == name_or_id] or list(rows)
    if not rows:
        raise _not_found(name_or_id)
    return _to_knowledge_base(rows[0])


def _fetch_settings(connection: Connection, kb_id: str) -> Mapping[str, Any]:
    kb = t.knowledge_base.c
    query = select(kb.settings).where(kb.id == kb_id, kb.deleted_at.is_(None))
    settings: Mapping[str, Any] | None = connection.execute(query).scalar_one_or_none()
    if settings is None:
        raise _not_found(kb_id)
    return settings


def _read_limits(settings: Mapping[str, Any]) -> SafetyLimits:
    """What was set; the defaults for the rest."""
    given = dict(settings.get("gate", {}))
    if "vanish_share" in settings:
        given["vanish_share"] = settings["vanish_share"]
    return replace(SafetyLimits(), **given)


def _write_limits(settings: Mapping[str, Any], limits: Mapping[str, float]) -> dict[str, Any]:
    """The settings with these limits: those of the gate under `gate`, as the HTTP interface shows them."""
    gate = {name: value for name, value in limits.items() if name != "vanish_share"}
    rest = {name: value for name, value in limits.items() if name == "vanish_share"}
    return {**settings, "gate": {**settings.get("gate", {}), **gate}, **rest}


def _read_wish(row: RowMapping) -> int:
    """What the next full re-index aims at: what the live space does, unless another size is wished for."""
    wish: int = row["settings"].get(WISH, row["chunk_tokens"])
    return wish


def _to_knowledge_base(row: RowMapping) -> KnowledgeBase:
    return KnowledgeBase(
        id=row["id"],
        name=row["name"],
        description=row["description"],
        language=row["language"],
        embedding_model=row["embedding_model"],
        dimension=row["dimension"],
        chunk_tokens=row["chunk_tokens"],
        wanted_chunk_tokens=_read_wish(row),
        revision=row["head_revision"],
        documents=row["documents"] or 0,
        chunks=row["chunks"] or 0,
        limits=_read_limits(row["settings"]),
        refusal=read_refusal(row["settings"], row["embedding_model"]),
        prompt=read_prompt(row["settings"]),
        created_at=row["created_at"],
    )


def check_alive(connection: Connection, kb_id: str) -> None:
    """Raises NotFound (`knowledge_base_not_found`): a request may find it deleted when its turn to write comes."""
    alive = select(t.knowledge_base.c.id).where(t.knowledge_base.c.id == kb_id, t.knowledge_base.c.deleted_at.is_(None))
    if connection.execute(alive).scalar_one_or_none() is None:
        raise _not_found(kb_id)


def _not_found(name_or_id: str) -> NotFound:
    return NotFound("knowledge_base_not_found", f"there is no knowledge base {name_or_id[:255]!r}")


def _name_taken(name: str) -> Conflict:
    return Conflict("knowledge_base_exists", f"a knowledge base named {name!r} exists already; choose another name")
