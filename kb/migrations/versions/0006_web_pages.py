"""Web pages as sources: how far a crawl goes, what a server said of each page, and pages that stopped coming."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.add_column("source", sa.Column("max_pages", sa.Integer()))
    op.add_column("source", sa.Column("depth", sa.Integer()))
    op.add_column("version", sa.Column("origin", sa.JSON()))
    op.add_column("document", sa.Column("missed", sa.Integer(), nullable=False, server_default="0"))
    op.add_column("document", sa.Column("missed_at", TIME))
    op.add_column("document", sa.Column("miss_code", sa.String(length=64)))
    op.add_column("document", sa.Column("checked_by", sa.String(length=32)))
    op.create_table(
        "source_page",
        sa.Column("source_id", sa.String(length=32), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("code", sa.String(length=64), nullable=False),
        sa.Column("origin", sa.JSON(), nullable=False),
        sa.ForeignKeyConstraint(["source_id"], ["source.id"], name=op.f("fk_source_page_source_id")),
        sa.PrimaryKeyConstraint("source_id", "url", name=op.f("pk_source_page")),
    )


def downgrade() -> None:
    op.drop_table("source_page")
    for table, names in (
        ("document", ("checked_by", "miss_code", "missed_at", "missed")),
        ("version", ("origin",)),
        ("source", ("depth", "max_pages")),
    ):
        with op.batch_alter_table(table) as batch:
            for name in names:
                batch.drop_column(name)
