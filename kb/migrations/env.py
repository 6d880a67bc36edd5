"""Alembic's entry: runs on the connection handed over by `kb.catalog.schema`; there is no alembic.ini."""

from alembic import context

from kb.catalog import tables

connection = context.config.attributes["connection"]
# render_as_batch: SQLite cannot alter most things in place, Alembic then copies the table.
context.configure(
    connection=connection,
    target_metadata=tables.instance.metadata,
    render_as_batch=True,
    transaction_per_migration=False,
)
context.run_migrations()
