"""What must hold of kept conversations: whose they are, and that what they cite opens or was taken out of them."""

from __future__ import annotations

from sqlalchemy import Connection, and_, func, or_, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.findings import FindingLog

CITATIONS_A_PAGE = 2_000  # messages, by their ids


def check_conversations(database: Database, found: FindingLog) -> None:
    with database.read() as connection:
        _check_bases(connection, found)
        _check_readings(connection, found)
        last = connection.execute(select(func.max(t.citation.c.message_id))).scalar_one() or 0
    for first in range(0, last, CITATIONS_A_PAGE):
        with database.read() as connection:
            _check_citations(connection, found, first, first + CITATIONS_A_PAGE)


def _check_bases(connection: Connection, found: FindingLog) -> None:
    """A knowledge base takes its conversations with it in the transaction that deletes it. A row of one that is not
    there at all is `foreign_key_broken`, and so is a turn or a citation without its conversation."""
    base, kb = t.conversation_base.c, t.knowledge_base.c
    deleted = (
        select(base.conversation_id, base.kb_id)
        .join(t.knowledge_base, kb.id == base.kb_id)
        .where(kb.deleted_at.is_not(None))
    )
    for row in connection.execute(deleted):
        found.add(
            "conversation_of_deleted", f"conversation {row.conversation_id} is of deleted knowledge base {row.kb_id}"
        )
    has_base = select(base.kb_id).where(base.conversation_id == t.conversation.c.id).exists()
    for conversation_id in connection.execute(select(t.conversation.c.id).where(~has_base)).scalars():
        found.add(
            "conversation_of_none", f"conversation {conversation_id} is of no knowledge base: nobody can go on with it"
        )


def _check_readings(connection: Connection, found: FindingLog) -> None:
    """A deleted document takes these rows with it, and the answers that may repeat it."""
    read = t.reading.c
    query = (
        select(t.message.c.conversation_id, read.message_id, read.document_id)
        .join(t.message, t.message.c.id == read.message_id)
        .outerjoin(t.document, t.document.c.id == read.document_id)
        .where(or_(t.document.c.id.is_(None), t.document.c.deleted_at.is_not(None)))
    )
    for row in connection.execute(query):
        where = f"conversation {row.conversation_id}: turn {row.message_id}"
        found.add("quote_of_deleted", f"{where} may hold text of document {row.document_id}, which was deleted")


def _check_citations(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    """Text that is quoted is of a document that is there, in a version that opens; else it must have been taken out."""
    cited, version = t.citation.c, t.version.c
    opens = (
        select(version.id)
        .where(version.document_id == cited.document_id, version.number == cited.version, version.text_sha.is_not(None))
        .exists()
    )
    kept = or_(cited.quote.is_not(None), t.message.c.answer.is_not(None))
    is_there = and_(t.document.c.id.is_not(None), t.document.c.deleted_at.is_(None))
    query = (
        select(
            t.message.c.conversation_id,
            cited.message_id,
            cited.number,
            cited.document_id,
            cited.version,
            is_there.label("there"),
        )
        .join(t.message, t.message.c.id == cited.message_id)
        .outerjoin(t.document, t.document.c.id == cited.document_id)
        .where(cited.message_id > first, cited.message_id <= last, kept, or_(~is_there, ~opens))
    )
    for row in connection.execute(query):
        where = f"conversation {row.conversation_id}: [{row.number}] of turn {row.message_id}"
        if row.there:
            found.add(
                "cited_text_gone", f"{where} cites version {row.version} of document {row.document_id}, which is gone"
            )
        else:
            found.add("quote_of_deleted", f"{where} holds text of document {row.document_id}, which was deleted")
