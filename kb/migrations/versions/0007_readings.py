"""Which documents the words of a kept answer may come from, cited or not."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "reading",
        sa.Column("message_id", KEY, nullable=False),
        sa.Column("document_id", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_reading_message_id")),
        sa.PrimaryKeyConstraint("message_id", "document_id", name=op.f("pk_reading")),
    )
    op.create_index("ix_reading_document_id", "reading", ["document_id"])
