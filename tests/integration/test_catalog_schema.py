"""One schema, written twice (tables and migrations): the two must be the same."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from kb.catalog import schema
from kb.catalog.database import Database
from kb.catalog.sources import Sources
from kb.catalog.tables import metadata
from kb.errors import StartRefused, Unavailable


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    database = Database(f"sqlite:///{tmp_path / 'catalog.sqlite3'}")
    yield database
    database.close()


def test_the_migrations_give_exactly_the_tables(database: Database) -> None:
    schema.migrate(database)
    with database.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []


def test_partial_and_autoincrement_are_in_the_migrations_too(database: Database, tmp_path: Path) -> None:
    """What the comparison does not look at."""
    schema.migrate(database)
    made = Database(f"sqlite:///{tmp_path / 'made.sqlite3'}")
    with made.write() as connection:
        metadata.create_all(connection)
    found = []
    for one in (database, made):
        with one.read() as connection:
            rows = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL").all()
        found.append({name: " ".join(sql.replace('"', "").split()) for name, sql in rows if "alembic" not in name})
    migrated, created = found
    assert migrated.keys() == created.keys()
    for name in migrated:
        assert ("AUTOINCREMENT" in migrated[name]) == ("AUTOINCREMENT" in created[name]), name
        assert migrated[name].partition("WHERE")[2] == created[name].partition("WHERE")[2], name
    made.close()


def test_schema_names_the_newest_step() -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [schema.SCHEMA]


def test_a_fresh_database_has_no_step_and_a_migrated_one_has(database: Database) -> None:
    assert schema.find_schema(database) is None
    schema.migrate(database)
    assert schema.find_schema(database) == schema.SCHEMA
    schema.migrate(database)
    assert schema.read_instance(database) is None
    made = schema.create_instance(database)
    assert schema.read_instance(database) == made


def test_a_newer_database_is_left_alone(database: Database) -> None:
    schema.migrate(database)
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(StartRefused) as refused:
        schema.migrate(database)
    assert (refused.value.code, refused.value.exit_code) == ("catalog_newer", 78)


def test_a_migration_that_is_cut_off_leaves_nothing(database: Database) -> None:
    def migrate_and_fail() -> None:
        with database.write() as connection:
            schema._run_steps(connection)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        migrate_and_fail()
    with database.read() as connection:
        assert inspect(connection).get_table_names() == []


def test_what_every_connection_is_set_to(database: Database) -> None:
    with database.read() as connection:
        found = [
            connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
        ]
    assert found == ["wal", 2, 1, 30_000]


def test_a_read_sees_one_snapshot_while_another_writes(database: Database) -> None:
    schema.migrate(database)
    with database.read() as connection:
        assert schema._find_schema(connection) == schema.SCHEMA
        schema.create_instance(database)
        assert connection.exec_driver_sql("SELECT count(*) FROM instance").scalar_one() == 0
    with database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM instance").scalar_one() == 1


def test_a_full_disk_is_said_so(database: Database) -> None:
    schema.migrate(database)

    def fill() -> None:
        with database.write() as connection:
            connection.exec_driver_sql("PRAGMA max_page_count = 1")
            for _ in range(100):
                connection.exec_driver_sql("INSERT INTO instance SELECT hex(randomblob(16)), hex(randomblob(3000))")

    with pytest.raises(Unavailable) as refused:
        fill()
    assert refused.value.code == "disk_full"


def test_a_source_of_the_step_before_is_a_folder_without_bounds(database: Database) -> None:
    config = Config()
    config.set_main_option("script_location", str(schema.MIGRATIONS))
    with database.write() as connection:
        config.attributes["connection"] = connection
        command.upgrade(config, "0005")
        made = "'2026-01-01 00:00:00'"
        for statement in (
            f"INSERT INTO knowledge_base VALUES ('k', 'k', '', 'auto', '{{}}', 0, {made}, NULL)",
            (
                "INSERT INTO source (id, kb_id, name, kind, uri, include, exclude, timezone, created_at, updated_at) "
                f"VALUES ('s', 'k', 'docs', 'folder', '/srv', '[]', '[]', 'UTC', {made}, {made})"
            ),
            (
                "INSERT INTO document (id, kb_id, source_id, path, created_at) "
                f"VALUES ('d', 'k', 's', 'docs/a.txt', {made})"
            ),
        ):
            connection.exec_driver_sql(statement)
    schema.migrate(database)
    source = Sources(database).get("s")
    assert (source.kind, source.max_pages, source.depth) == ("folder", None, None)
    with database.read() as connection:
        row = connection.exec_driver_sql("SELECT missed, missed_at, miss_code, checked_by FROM document").one()
    assert tuple(row) == (0, None, None, None)
