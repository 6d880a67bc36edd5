"""Sources with schedules, revisions that can be restored, golden questions, a second space beside the live one."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

KEY = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("space", sa.Column("chunk_tokens", sa.Integer(), nullable=False, server_default="100"))
    op.add_column("space", sa.Column("retired_at", TIME))
    op.add_column("document", sa.Column("removed_revision", KEY))
    op.add_column("document", sa.Column("failures", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("document", sa.Column("retry_at", TIME))
    op.add_column("version", sa.Column("stat", sa.String(length=64)))
    op.create_index("ix_document_source_id", "document", ["source_id"])
    op.add_column("version", sa.Column("headings", sa.JSON()))
    op.add_column("job", sa.Column("params", sa.JSON()))
    op.add_column("job", sa.Column("result", sa.JSON()))
    op.add_column("job", sa.Column("error_code", sa.String(length=64)))
    op.add_column("revision", sa.Column("kind", sa.String(length=16), nullable=False, server_default="upload"))
    op.add_column("revision", sa.Column("gone_at", TIME))
    _create_source()
    _create_golden_question()
    _describe_old_rows()


def _create_source() -> None:
    op.create_table(
        "source",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kb_id", sa.String(length=32), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("uri", sa.Text(), nullable=False),
        sa.Column("include", sa.JSON(), nullable=False),
        sa.Column("exclude", sa.JSON(), nullable=False),
        sa.Column("schedule", sa.String(length=255)),
        sa.Column("timezone", sa.String(length=64), nullable=False),
        sa.Column("next_run", TIME),
        sa.Column("last_due", TIME),
        sa.Column("listing_sha", sa.String(length=64)),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["kb_id"], ["knowledge_base.id"], name=op.f("fk_source_kb_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_source")),
        sa.UniqueConstraint("kb_id", "name", name=op.f("uq_source_kb_id_name")),
    )


def _create_golden_question() -> None:
    op.create_table(
        "golden_question",
        sa.Column("seq", KEY, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("kb_id", sa.String(length=32), nullable=False),
        sa.Column("question", sa.Text(), nullable=False),
        sa.Column("paths", sa.JSON(), nullable=False),
        sa.Column("answers", sa.JSON(), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["kb_id"], ["knowledge_base.id"], name=op.f("fk_golden_question_kb_id")),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_golden_question")),
        sa.UniqueConstraint("id", name=op.f("uq_golden_question_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_golden_question_kb_id", "golden_question", ["kb_id"])


def _describe_old_rows() -> None:
    """What the new columns say of the rows that are there already."""
    op.execute("UPDATE revision SET kind = 'delete' WHERE job_id IS NULL")
    bases = sa.table("knowledge_base", sa.column("id", sa.String), sa.column("settings", sa.JSON))
    space = sa.table("space", sa.column("kb_id", sa.String), sa.column("chunk_tokens", sa.Integer))
    for row in op.get_bind().execute(sa.select(bases)).all():
        chunk_tokens = row.settings["chunk_tokens"]
        op.execute(sa.update(space).where(space.c.kb_id == row.id).values(chunk_tokens=chunk_tokens))


def downgrade() -> None:
    op.drop_table("golden_question")
    op.drop_table("source")
    op.drop_index("ix_document_source_id", "document")
    for table, names in (
        ("revision", ("gone_at", "kind")),
        ("job", ("error_code", "result", "params")),
        ("version", ("headings", "stat")),
        ("document", ("retry_at", "failures", "removed_revision")),
        ("space", ("retired_at", "chunk_tokens")),
    ):
        with op.batch_alter_table(table) as batch:
            for name in names:
                batch.drop_column(name)
