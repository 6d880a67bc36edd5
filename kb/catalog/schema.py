"""Bringing a database to this program's schema, and the identity of what is in it."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from pathlib import Path

from sqlalchemy import Connection, insert, inspect, select, text

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.errors import StartRefused

SCHEMA = "0007"  # newest step in kb/migrations/versions
MIGRATIONS = Path(__file__).resolve().parent.parent / "migrations"


@dataclass(frozen=True, kw_only=True, slots=True)
class Instance:
    """`id` names this store for ever; `epoch` is renewed when the database is restored from a backup."""

    id: str
    epoch: str


def find_schema(database: Database) -> str | None:
    """The schema step a database is at; None when it is empty. Raises Unavailable on a damaged file."""
    with database.read() as connection:
        return _find_schema(connection)


def migrate(database: Database) -> None:
    """Bring the database to SCHEMA in one transaction. Raises StartRefused (`catalog_newer`)."""
    with database.write() as connection:
        found = _find_schema(connection)
        if found == SCHEMA:
            return
        if found is not None and found > SCHEMA:
            raise StartRefused(
                "catalog_newer", f"the database is at step {found}, this program knows {SCHEMA}; upgrade it"
            )
        _run_steps(connection)


def read_instance(database: Database) -> Instance | None:
    """Who this database is; None before `create_instance`."""
    with database.read() as connection:
        row = connection.execute(select(t.instance)).one_or_none()
    return None if row is None else Instance(id=row.id, epoch=row.epoch)


def create_instance(database: Database) -> Instance:
    """Give a fresh database its identity."""
    fresh = Instance(id=uuid.uuid4().hex, epoch=uuid.uuid4().hex)
    with database.write() as connection:
        connection.execute(insert(t.instance).values(id=fresh.id, epoch=fresh.epoch))
    return fresh


def _find_schema(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    step: str | None = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    return step


def _run_steps(connection: Connection) -> None:
    # Imported only when there is something to do: every other start saves its 0.2 s.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
