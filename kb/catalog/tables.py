"""The tables. One definition of the schema; `kb/migrations` brings older files up to it, a test compares the two."""

from __future__ import annotations

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    ColumnElement,
    Float,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from kb.catalog import source_tables
from kb.catalog.columns import Key, UtcTime, metadata

source, source_page = source_tables.source, source_tables.source_page

instance = Table(
    "instance",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("epoch", String(32), nullable=False),  # renewed by a restore of the database
)

knowledge_base = Table(
    "knowledge_base",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("description", Text, nullable=False),
    Column("language", String(8), nullable=False),
    Column("settings", JSON, nullable=False),
    Column("head_revision", Key, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("deleted_at", UtcTime),
)
Index("uq_knowledge_base_name_live", knowledge_base.c.name, unique=True, sqlite_where=text("deleted_at IS NULL"),
      postgresql_where=text("deleted_at IS NULL"))  # fmt: skip

space = Table(
    "space",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), nullable=False, index=True),
    Column("embedding_model", String(255), nullable=False),
    Column("fingerprint", String(255), nullable=False),
    Column("dimension", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("chunk_tokens", Integer, nullable=False, server_default="100"),  # what its splitter aims at
    Column("retired_at", UtcTime),  # its chunks and vectors stay for a grace time
    sqlite_autoincrement=True,
)

document = Table(
    "document",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), nullable=False),
    Column("source_id", String(32), index=True),
    Column("path", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("deleted_at", UtcTime),
    Column("removed_revision", Key),  # a sync took it away then: hidden, until a sync or a restore brings it back
    Column("failures", Integer, nullable=False, server_default="0"),  # in a row, of the same content
    Column("retry_at", UtcTime),  # content that failed is not tried again before
    Column("missed", Integer, nullable=False, server_default="0"),  # nights in a row that its page did not come
    Column("missed_at", UtcTime),  # the last of them
    Column("miss_code", String(64)),  # why it did not come
    Column("checked_by", String(32)),  # the last job that found its page to be as it was
)
Index("uq_document_path_live", document.c.kb_id, document.c.path, unique=True,
      sqlite_where=text("deleted_at IS NULL"), postgresql_where=text("deleted_at IS NULL"))  # fmt: skip

job = Table(
    "job",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("kind", String(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("kb_id", String(32), index=True),
    Column("dedupe_key", String(255)),
    Column("state", String(16), nullable=False, index=True),
    Column("stage", String(32), nullable=False),
    Column("done", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    Column("failed", Integer, nullable=False),
    Column("message", Text, nullable=False),
    Column("params", JSON),  # what was asked of it
    Column("result", JSON),  # what came of it
    Column("error_code", String(64)),
    Column("attempts", Integer, nullable=False),
    Column("owner", String(128)),
    Column("fence", Integer, nullable=False),
    Column("lease_until", Float),  # seconds since the epoch; of a queued job: not to be claimed before
    Column("created_at", UtcTime, nullable=False),
    Column("started_at", UtcTime),
    Column("finished_at", UtcTime),
    sqlite_autoincrement=True,
)
Index("uq_job_dedupe_key_live", job.c.dedupe_key, unique=True,
      sqlite_where=text("state IN ('queued', 'running')"),
      postgresql_where=text("state IN ('queued', 'running')"))  # fmt: skip

version = Table(
    "version",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("document_id", ForeignKey("document.id"), nullable=False),
    Column("number", Integer, nullable=False),
    Column("job_id", String(32), nullable=False, index=True),
    Column("sha256", String(64), nullable=False, index=True),
    Column("text_sha", String(64), index=True),
    Column("size", BigInteger, nullable=False),
    Column("media_type", String(128), nullable=False),
    Column("title", Text),
    Column("language", String(16)),
    Column("encoding", String(32)),
    Column("pages", Integer),
    Column("coverage", Float),
    Column("ledger", JSON),
    Column("headings", JSON),  # as the loader found them; null: of a version before they were kept
    Column("chunk_count", Integer, nullable=False),
    Column("metadata", JSON, nullable=False),
    Column("stat", String(64)),  # of the source's file that held these bytes when it was last looked at
    Column(
        "origin", JSON(none_as_null=True)
    ),  # what the server said of the web page that held them, and what the page said of others
    Column("secret", Text),  # the password that a staged PDF is read with; gone with that state
    Column("state", String(16), nullable=False),
    Column("error_code", String(64)),
    Column("error_detail", Text),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    UniqueConstraint("document_id", "number"),
    sqlite_autoincrement=True,
)

publication = Table(
    "publication",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("version_id", ForeignKey("version.id"), nullable=False, index=True),
    Column("document_id", ForeignKey("document.id"), nullable=False, index=True),  # deleting a document looks here
    Column("since_revision", Key, nullable=False),
    Column("until_revision", Key),
    sqlite_autoincrement=True,
)
Index("uq_publication_open", publication.c.document_id, unique=True,
      sqlite_where=text("until_revision IS NULL"), postgresql_where=text("until_revision IS NULL"))  # fmt: skip

revision = Table(
    "revision",
    metadata,
    Column("kb_id", ForeignKey("knowledge_base.id"), primary_key=True),
    Column("number", Key, primary_key=True),
    Column("space_id", ForeignKey("space.id"), nullable=False),
    Column("kind", String(16), nullable=False, server_default="upload"),
    Column("created_at", UtcTime, nullable=False),
    Column("job_id", String(32)),
    Column("added", Integer, nullable=False),
    Column("changed", Integer, nullable=False),
    Column("removed", Integer, nullable=False),
    Column("gate", JSON),
    Column("gone_at", UtcTime),  # when retention took a version that was visible then: it cannot be restored since
)

chunk = Table(
    "chunk",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("space_id", ForeignKey("space.id"), nullable=False),
    Column("version_id", ForeignKey("version.id"), nullable=False),
    Column("ordinal", Integer, nullable=False),
    Column("start", Integer, nullable=False),
    Column("end", Integer, nullable=False),
    Column("page_start", Integer, nullable=False),
    Column("page_end", Integer, nullable=False),
    Column("heading", Text),
    Column("tokens", Integer, nullable=False),
    Column("input_sha", String(64), nullable=False),
    UniqueConstraint("version_id", "space_id", "ordinal"),
    Index("ix_chunk_space_id_input_sha", "space_id", "input_sha"),
    sqlite_autoincrement=True,  # an id given twice would point an old vector at another document's chunk
)

vector = Table(
    "vector",
    metadata,
    Column("space_id", ForeignKey("space.id"), primary_key=True),
    Column("input_sha", String(64), primary_key=True),
    Column("value", LargeBinary, nullable=False),  # float16, little-endian, `space.dimension` numbers
)

change_log = Table(
    "change_log",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), nullable=False),
    Column("revision", Key, nullable=False),
    Column("space_id", ForeignKey("space.id"), nullable=False),
    Column("op", String(1), nullable=False),
    Column("chunk_id", Key, nullable=False),
    Index("ix_change_log_space_id_revision", "space_id", "revision"),
    sqlite_autoincrement=True,
)

idempotency_key = Table(
    "idempotency_key",
    metadata,
    Column("kb_id", ForeignKey("knowledge_base.id"), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("request_sha", String(64), nullable=False),
    Column("answer", JSON, nullable=False),
    Column("created_at", UtcTime, nullable=False),
)

golden_question = Table(
    "golden_question",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), nullable=False, index=True),
    Column("question", Text, nullable=False),
    Column("paths", JSON, nullable=False),  # documents one of which must be found; none: any
    Column("answers", JSON, nullable=False),  # strings one of which the passage must hold; none: any
    Column("created_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

conversation = Table(
    "conversation",
    metadata,
    Column("seq", Key, primary_key=True, autoincrement=True),
    Column("id", String(32), nullable=False, unique=True),
    Column("title", Text, nullable=False),
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

conversation_base = Table(
    "conversation_base",
    metadata,
    Column("conversation_id", ForeignKey("conversation.id"), primary_key=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), primary_key=True, index=True),
)

message = Table(
    "message",
    metadata,
    Column("id", Key, primary_key=True, autoincrement=True),
    Column("conversation_id", ForeignKey("conversation.id"), nullable=False, index=True),
    *(Column(name, Text, nullable=False) for name in ("question", "query")),
    Column("answer", Text),  # null: taken out with a document that it rested on
    Column("unsupported", JSON),  # [[start, end], …] in the answer; null: not known, or the answer is gone
    Column("refused", Boolean, nullable=False),
    Column("model", String(255), nullable=False),
    Column("created_at", UtcTime, nullable=False),
    sqlite_autoincrement=True,
)

citation = Table(
    "citation",
    metadata,
    Column("message_id", ForeignKey("message.id"), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("kb_id", String(32), nullable=False),
    Column("document_id", String(32), nullable=False),  # no foreign key: it tells of a document that is gone
    Column("path", Text, nullable=False),
    *(Column(name, Integer, nullable=False) for name in ("version", "page_start", "page_end", "start", "end")),
    Column("quote", Text),  # null: the document was deleted
    Index("ix_citation_document_id_version", "document_id", "version"),
)

reading = Table(
    "reading",
    metadata,
    Column("message_id", ForeignKey("message.id"), primary_key=True),
    Column("document_id", String(32), primary_key=True, index=True),  # its words may be in the answer, cited or not
)


def is_of_space(space_id: int) -> ColumnElement[bool]:
    """Of chunks that are found by their ids or their version. Compared plainly, SQLite takes the space's index for it,
    and goes through all of its chunks: among a million a page of them by id took 17 s, 8 ms so."""
    return chunk.c.space_id + 0 == space_id
