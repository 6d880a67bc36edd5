"""One database, two kinds of transaction: `read` sees one snapshot, `write` takes the write lock before it looks.

SQLite: a transaction that reads first and writes later fails at once when another wrote in between, whatever the busy
time-out says; hence BEGIN IMMEDIATE for every write. WAL with synchronous=FULL: what is committed survives a power cut.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Connection, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kb.errors import StartRefused, Unavailable

BUSY_MILLISECONDS = 30_000
_PRAGMAS = (
    "journal_mode=WAL",
    "synchronous=FULL",
    "foreign_keys=ON",
    "secure_delete=ON",  # a purge must not leave a document's title or chunks in freed pages
    f"busy_timeout={BUSY_MILLISECONDS}",
)


class Database:
    """Hands out transactions. Thread-safe."""

    def __init__(self, url: str) -> None:
        """Raises StartRefused (`bad_setting`) for a URL that SQLAlchemy cannot read or that is not SQLite yet."""
        try:
            backend = make_url(url).get_backend_name()
        except ArgumentError:
            raise StartRefused("bad_setting", "KB_DATABASE_URL is not a SQLAlchemy URL") from None
        if backend != "sqlite":
            raise StartRefused(
                "bad_setting", f"KB_DATABASE_URL: {backend} is not supported by this version; use sqlite"
            )
        self.engine = create_engine(
            url,
            pool_size=16,
            max_overflow=32,
            pool_timeout=10,
            hide_parameters=True,  # an error that is logged quotes no document and no password
        )
        event.listen(self.engine, "connect", _configure_sqlite)
        event.listen(self.engine, "begin", _begin)
        self._writer = self.engine.execution_options(kb_write=True)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """One snapshot. Raises Unavailable (`database_unavailable`)."""
        with _translated(), self.engine.begin() as connection:
            yield connection

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Commits on leaving, rolls back on any error. Raises Unavailable (`database_unavailable`, `disk_full`)."""
        with _translated(), self._writer.begin() as connection:
            yield connection

    def close(self) -> None:
        self.engine.dispose()


def _configure_sqlite(connection: sqlite3.Connection, record: object) -> None:
    del record
    connection.isolation_level = None  # we say BEGIN ourselves
    cursor = connection.cursor()
    for pragma in _PRAGMAS:
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    immediate = connection.get_execution_options().get("kb_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except OperationalError as error:
        cause = str(error.orig)
        if "full" in cause:
            raise Unavailable("disk_full", "the database cannot grow: the disk is full; free some space") from error
        raise Unavailable("database_unavailable", f"the database does not answer: {cause}") from error
    except DatabaseError as error:
        if "malformed" in str(error.orig) or "not a database" in str(error.orig):
            raise Unavailable("database_damaged", f"the database file is damaged: {error.orig}") from error
        raise
    except PoolTimeout as error:
        raise Unavailable("database_unavailable", "every connection to the database is busy; try again") from error
