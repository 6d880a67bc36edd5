"""Conversations: their turns and what each answer cited."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "conversation",
        sa.Column("seq", KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("title", sa.Text(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_conversation")),
        sa.UniqueConstraint("id", name=op.f("uq_conversation_id")),
        sqlite_autoincrement=True,
    )
    op.create_table(
        "conversation_base",
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("kb_id", sa.String(length=32), nullable=False),
        _refer("conversation_base", "conversation_id", "conversation.id"),
        _refer("conversation_base", "kb_id", "knowledge_base.id"),
        sa.PrimaryKeyConstraint("conversation_id", "kb_id", name=op.f("pk_conversation_base")),
    )
    op.create_index("ix_conversation_base_kb_id", "conversation_base", ["kb_id"])
    _create_message()
    _create_citation()


def _refer(table: str, column: str, target: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint([column], [target], name=op.f(f"fk_{table}_{column}"))


def _create_message() -> None:
    op.create_table(
        "message",
        sa.Column("id", KEY, autoincrement=True, nullable=False),
        sa.Column("conversation_id", sa.String(length=32), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("query", sa.Text(), nullable=False),
        sa.Column("answer", sa.Text()),
        sa.Column("refused", sa.Boolean(), nullable=False),
        sa.Column("model", sa.String(length=255), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        _refer("message", "conversation_id", "conversation.id"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_message")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_message_conversation_id", "message", ["conversation_id"])


def _create_citation() -> None:
    op.create_table(
        "citation",
        sa.Column("message_id", KEY, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("kb_id", sa.String(length=32), nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("page_start", sa.Integer(), nullable=False),
        sa.Column("page_end", sa.Integer(), nullable=False),
        sa.Column("start", sa.Integer(), nullable=False),
        sa.Column("end", sa.Integer(), nullable=False),
        sa.Column("quote", sa.Text()),
        _refer("citation", "message_id", "message.id"),
        sa.PrimaryKeyConstraint("message_id", "number", name=op.f("pk_citation")),
    )
    op.create_index("ix_citation_document_id_version", "citation", ["document_id", "version"])


def downgrade() -> None:
    for table in ("citation", "message", "conversation_base", "conversation"):
        op.drop_table(table)
