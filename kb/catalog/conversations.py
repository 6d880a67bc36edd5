"""Conversations: kept, listed, forgotten. No document's text outlives the document here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    RowMapping,
    ScalarSelect,
    Select,
    delete,
    func,
    insert,
    null,
    select,
    update,
)

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.errors import NotFound
from kb.types import Conversation, KeptCitation, KeptTurn, NewTurn

MOST_TURNS = 200  # a conversation keeps its newest ones
LONGEST_TITLE = 80
SLICE = 200  # conversations a transaction takes out

_CITATION = ("number", "kb_id", "document_id", "path", "version", "page_start", "page_end", "start", "end", "quote")


class Conversations:
    def __init__(self, database: Database) -> None:
        self._database = database

    def list_conversations(
        self, limit: int, before: int | None = None, kb_id: str | None = None
    ) -> list[tuple[int, Conversation]]:
        """Newest first, each with its place in that order; `before` is the last place seen."""
        query = _described().order_by(t.conversation.c.seq.desc()).limit(limit)
        if before is not None:
            query = query.where(t.conversation.c.seq < before)
        if kb_id is not None:
            bases = t.conversation_base.c
            query = query.where(t.conversation.c.id.in_(select(bases.conversation_id).where(bases.kb_id == kb_id)))
        with self._database.read() as connection:
            rows = connection.execute(query).mappings().all()
            bases_of = _fetch_bases(connection, [row["id"] for row in rows])
        return [(row["seq"], _to_conversation(row, bases_of[row["id"]])) for row in rows]

    def get(self, conversation_id: str) -> tuple[Conversation, list[KeptTurn]]:
        """With its turns, oldest first. Raises NotFound (`conversation_not_found`)."""
        with self._database.read() as connection:
            query = _described().where(t.conversation.c.id == conversation_id)
            row = connection.execute(query).mappings().one_or_none()
            if row is None:
                raise _not_found(conversation_id)
            bases = _fetch_bases(connection, [conversation_id])[conversation_id]
            return _to_conversation(row, bases), _fetch_turns(connection, conversation_id, MOST_TURNS)

    def list_latest(self, conversation_id: str, kb_ids: Sequence[str], limit: int) -> list[KeptTurn]:
        """Its newest turns, oldest first. Raises NotFound (`conversation_not_found`), also for one with other
        knowledge bases: who may read those is another question."""
        with self._database.read() as connection:
            bases = _fetch_bases(connection, [conversation_id])[conversation_id]
            if not bases or set(bases) != set(kb_ids):
                raise _not_found(conversation_id)
            return _fetch_turns(connection, conversation_id, limit)

    def keep(self, new: NewTurn) -> bool:
        """Add a turn; False when the conversation or one of its knowledge bases was deleted meanwhile.

        What was read may have been deleted while the answer was written: its text is not kept then.
        """
        with self._database.write() as connection:
            if not (_begin(connection, new) if new.is_first else _touch(connection, new)):
                return False
            _insert_turn(connection, new)
            told = {one.document_id for one in new.turn.citations}.union(new.turn.read)
            alive = select(t.document.c.id).where(t.document.c.id.in_(told), t.document.c.deleted_at.is_(None))
            forget_quotes(connection, sorted(told.difference(connection.execute(alive).scalars())))
            _drop_oldest(connection, new.conversation_id)
            return True

    def delete(self, conversation_id: str) -> None:
        """Raises NotFound (`conversation_not_found`)."""
        with self._database.write() as connection:
            chosen = t.conversation.c.id == conversation_id
            if connection.execute(select(t.conversation.c.id).where(chosen)).first() is None:
                raise _not_found(conversation_id)
            _delete(connection, chosen)

    def forget_idle(self, older_than: datetime) -> int:
        """Delete up to SLICE conversations that nobody went on with since; their number."""
        with self._database.write() as connection:
            idle = select(t.conversation.c.id).where(t.conversation.c.updated_at < older_than).limit(SLICE)
            ids = connection.execute(idle).scalars().all()
            if ids:
                _delete(connection, t.conversation.c.id.in_(ids))
            return len(ids)


def forget_quotes(connection: Connection, document_ids: Sequence[str]) -> None:
    """Take the text of deleted documents out of every turn that cites or was written from them: quotes, and answers,
    which may repeat it.

    What stays says that there was an answer, and which documents it cited. Inside the caller's transaction.
    """
    for first in range(0, len(document_ids), 500):
        gone = document_ids[first : first + 500]
        cited, read = t.citation.c.document_id.in_(gone), t.reading.c.document_id.in_(gone)
        message_ids = select(t.citation.c.message_id).where(cited).union(select(t.reading.c.message_id).where(read))
        turns = t.message.c.id.in_(message_ids)
        # a model may have taken words of the answers before into the query
        told = {"answer": None, "unsupported": null(), "query": t.message.c.question}
        connection.execute(update(t.message).where(turns).values(told))
        connection.execute(update(t.citation).where(cited).values(quote=None))
        connection.execute(delete(t.reading).where(read))


def forget_conversations(connection: Connection, kb_id: str) -> None:
    """Delete every conversation with a knowledge base. Inside the caller's transaction."""
    bases = t.conversation_base.c
    ids = connection.execute(select(bases.conversation_id).where(bases.kb_id == kb_id)).scalars().all()
    for first in range(0, len(ids), 500):
        _delete(connection, t.conversation.c.id.in_(ids[first : first + 500]))


def is_cited() -> ColumnElement[bool]:
    """That a kept turn cites a version: it must open as it was."""
    cited = t.citation.c
    return (
        select(cited.message_id)
        .where(cited.document_id == t.version.c.document_id, cited.version == t.version.c.number)
        .exists()
    )


def _begin(connection: Connection, new: NewTurn) -> bool:
    kb = t.knowledge_base.c
    alive = select(func.count()).where(kb.id.in_(new.kb_ids), kb.deleted_at.is_(None))
    if connection.execute(alive).scalar_one() != len(set(new.kb_ids)):
        return False
    title, now = " ".join(new.turn.question.split())[:LONGEST_TITLE], new.turn.created_at
    row = {"id": new.conversation_id, "title": title, "created_at": now, "updated_at": now}
    connection.execute(insert(t.conversation).values(row))
    rows = [{"conversation_id": new.conversation_id, "kb_id": kb_id} for kb_id in dict.fromkeys(new.kb_ids)]
    connection.execute(insert(t.conversation_base), rows)
    return True


def _touch(connection: Connection, new: NewTurn) -> bool:
    chosen = t.conversation.c.id == new.conversation_id
    touched = connection.execute(update(t.conversation).where(chosen).values(updated_at=new.turn.created_at))
    return touched.rowcount == 1


def _insert_turn(connection: Connection, new: NewTurn) -> None:
    turn = new.turn
    row = {
        "conversation_id": new.conversation_id,
        "question": turn.question,
        "query": turn.query,
        "answer": turn.answer,
        "refused": turn.refused,
        "model": turn.model[:255],
        "created_at": turn.created_at,
        "unsupported": null() if turn.unsupported is None else [[start, end] for start, end in turn.unsupported],
    }
    key = connection.execute(insert(t.message).values(row)).inserted_primary_key
    if key is None:
        return
    if turn.citations:
        rows = [{"message_id": key[0], **{name: getattr(one, name) for name in _CITATION}} for one in turn.citations]
        connection.execute(insert(t.citation), rows)
    if turn.read:
        read = [{"message_id": key[0], "document_id": document_id} for document_id in sorted(set(turn.read))]
        connection.execute(insert(t.reading), read)


def _drop_oldest(connection: Connection, conversation_id: str) -> None:
    message = t.message.c
    newest = select(message.id).where(message.conversation_id == conversation_id).order_by(message.id.desc())
    last_kept = connection.execute(newest.offset(MOST_TURNS - 1).limit(1)).scalar_one_or_none()
    if last_kept is not None:
        _delete_turns(connection, (message.conversation_id == conversation_id) & (message.id < last_kept))


def _delete(connection: Connection, chosen: ColumnElement[bool]) -> None:
    ids = select(t.conversation.c.id).where(chosen)
    _delete_turns(connection, t.message.c.conversation_id.in_(ids))
    connection.execute(delete(t.conversation_base).where(t.conversation_base.c.conversation_id.in_(ids)))
    connection.execute(delete(t.conversation).where(chosen))


def _delete_turns(connection: Connection, chosen: ColumnElement[bool]) -> None:
    turns = select(t.message.c.id).where(chosen)
    for table in (t.citation, t.reading):
        connection.execute(delete(table).where(table.c.message_id.in_(turns)))
    connection.execute(delete(t.message).where(chosen))


def _count_turns() -> ScalarSelect[Any]:
    return select(func.count()).where(t.message.c.conversation_id == t.conversation.c.id).scalar_subquery()


def _described() -> Select[Any]:
    return select(t.conversation, _count_turns().label("turns"))


def _fetch_bases(connection: Connection, conversation_ids: Sequence[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {conversation_id: [] for conversation_id in conversation_ids}
    rows = select(t.conversation_base).where(t.conversation_base.c.conversation_id.in_(conversation_ids))
    for row in connection.execute(rows):
        found[row.conversation_id].append(row.kb_id)
    return found


def _fetch_turns(connection: Connection, conversation_id: str, limit: int) -> list[KeptTurn]:
    message = t.message.c
    newest = select(t.message).where(message.conversation_id == conversation_id).order_by(message.id.desc())
    rows = connection.execute(newest.limit(limit)).mappings().all()[::-1]
    cited: dict[int, list[KeptCitation]] = {row["id"]: [] for row in rows}
    read: dict[int, list[str]] = {row["id"]: [] for row in rows}
    if rows:
        within = (message.conversation_id == conversation_id) & (message.id >= rows[0]["id"])
        query = select(t.citation).join(t.message, message.id == t.citation.c.message_id).where(within)
        for row in connection.execute(query.order_by(t.citation.c.number)).mappings():
            cited[row["message_id"]].append(KeptCitation(**{name: row[name] for name in _CITATION}))
        for row in connection.execute(select(t.reading).where(t.reading.c.message_id.in_(read))).mappings():
            read[row["message_id"]].append(row["document_id"])
    return [replace(_to_turn(row, cited[row["id"]]), read=read[row["id"]]) for row in rows]


def _to_turn(row: RowMapping, citations: Sequence[KeptCitation]) -> KeptTurn:
    names = ("question", "query", "answer", "refused", "model", "created_at")
    places = row["unsupported"]
    unsupported = None if places is None else [(start, end) for start, end in places]
    return KeptTurn(citations=citations, unsupported=unsupported, **{name: row[name] for name in names})


def _to_conversation(row: RowMapping, kb_ids: Sequence[str]) -> Conversation:
    names = ("id", "title", "turns", "created_at", "updated_at")
    return Conversation(kb_ids=kb_ids, **{name: row[name] for name in names})


def _not_found(conversation_id: str) -> NotFound:
    reason = f"there is no conversation {conversation_id[:64]!r} with these knowledge bases"
    return NotFound("conversation_not_found", f"{reason}; ask without conversation_id to begin one")
