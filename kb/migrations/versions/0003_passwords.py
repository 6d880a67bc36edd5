"""Passwords of encrypted PDFs, kept with a staged version until it is read."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("version", sa.Column("secret", sa.Text()))
