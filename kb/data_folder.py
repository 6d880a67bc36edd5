"""The data directory: who holds it, and whether what lies in it belongs together.

    <data>/lock            flock of the one `kb serve` that holds the folder; its text says who
    <data>/instance        id of the store; the database carries the same one
    <data>/catalog.sqlite3 the truth
    <data>/blobs, texts    immutable files by hash
    <data>/indexes         caches
    <data>/models          pulled models, unless KB_MODELS_DIR names another folder

An empty or missing database beside existing files is a loss, not a fresh start: creating a new schema over it would
make every uploaded file unreachable without a word.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO, TypeVar

from kb.blobs import fsync_folder
from kb.catalog.database import Database
from kb.catalog.schema import SCHEMA, create_instance, find_schema, migrate, read_instance
from kb.config import Settings
from kb.errors import StartRefused, Unavailable

TRY_LATER = 75  # EX_TEMPFAIL

T = TypeVar("T")


class DataFolder:
    """Paths of one data directory, and the lock while it is held."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.blobs = root / "blobs"
        self.texts = root / "texts"
        self.indexes = root / "indexes"
        self._lock: BinaryIO | None = None

    def hold(self) -> None:
        """Take the folder for this process until it ends, even by kill -9.

        Raises StartRefused (`data_dir_owned`, exit code 75, naming the holder; `data_dir_unusable`, exit code 78).
        """
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle = (self.root / "lock").open("a+b")
        except OSError as error:
            raise StartRefused("data_dir_unusable", f"{self.root}: {error.strerror}; set KB_DATA_DIR") from None
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            handle.seek(0)
            owner = handle.read(64).decode("ascii", "replace").strip() or "another process"
            handle.close()
            reason = f"{self.root} is held by {owner}; stop it or set another KB_DATA_DIR"
            raise StartRefused("data_dir_owned", reason, exit_code=TRY_LATER) from None
        handle.truncate(0)
        handle.write(f"pid {os.getpid()}".encode())
        handle.flush()
        self._lock = handle

    def release(self) -> None:
        if self._lock is not None:
            self._lock.close()
            self._lock = None

    def open_database(self, settings: Settings) -> Database:
        """For the holder: migrate, give a fresh store its identity, refuse what does not belong together.

        Raises StartRefused (`catalog_lost`, `catalog_foreign`, `catalog_newer`, `catalog_damaged`).
        """
        self._check_not_lost(settings)
        database = Database(settings.sqlalchemy_url)
        self._guard(database, lambda: migrate(database))
        found = self._guard(database, lambda: read_instance(database))
        known = self._read_known()
        if found is None and known is not None:
            database.close()
            raise self._lost()
        instance = found or create_instance(database)
        if known is None:
            self._write_known(instance.id)
        elif known != instance.id:
            database.close()
            raise StartRefused(
                "catalog_foreign", f"the database is of store {instance.id}, {self.root} of store {known}"
            )
        return database

    def attach_database(self, settings: Settings) -> Database:
        """For workers and checks: the store must exist and belong together; nothing is created or migrated.

        Raises StartRefused (`data_dir_empty` and `catalog_older`, exit code 75; `catalog_lost`, `catalog_foreign`,
        `catalog_newer`, `catalog_damaged`).
        """
        known = self._read_known()
        if known is None:
            reason = f"{self.root} holds no store yet; start `kb serve` on it first"
            raise StartRefused("data_dir_empty", reason, exit_code=TRY_LATER)
        self._check_not_lost(settings)
        database = Database(settings.sqlalchemy_url)
        step = self._guard(database, lambda: find_schema(database))
        if step != SCHEMA:
            database.close()
            raise self._lost() if step is None else _refuse_schema(step)
        found = self._guard(database, lambda: read_instance(database))
        if found is None or found.id != known:
            database.close()
            raise StartRefused("catalog_foreign", f"the database does not belong to store {known} in {self.root}")
        return database

    def _guard(self, database: Database, step: Callable[[], T]) -> T:
        try:
            return step()
        except StartRefused:
            database.close()
            raise
        except Unavailable as error:
            database.close()
            code = "catalog_damaged" if error.code == "database_damaged" else error.code
            raise StartRefused(code, f"{error.detail}; restore the database from a backup") from error

    def _check_not_lost(self, settings: Settings) -> None:
        if settings.database_url is not None:
            return
        path = self.root / "catalog.sqlite3"
        size = path.stat().st_size if path.exists() else 0
        if size == 0 and (self._read_known() is not None or self._has_files()):
            raise self._lost()

    def _lost(self) -> StartRefused:
        reason = f"the database in {self.root} is missing or empty beside existing files; restore it from a backup"
        return StartRefused("catalog_lost", f"{reason}, or move the folder away to start anew")

    def _has_files(self) -> bool:
        return any(
            entry.name != "tmp" for folder in (self.blobs, self.texts) if folder.is_dir() for entry in folder.iterdir()
        )

    def _read_known(self) -> str | None:
        try:
            return (self.root / "instance").read_text("ascii").strip() or None
        except FileNotFoundError:
            return None

    def _write_known(self, instance_id: str) -> None:
        temporary = self.root / "instance.tmp"
        with temporary.open("w", encoding="ascii") as handle:
            handle.write(instance_id)
            handle.flush()
            os.fsync(handle.fileno())
        temporary.replace(self.root / "instance")
        fsync_folder(self.root)


def _refuse_schema(step: str) -> StartRefused:
    reason = f"the database is at step {step}, this program works with {SCHEMA}"
    if step > SCHEMA:
        return StartRefused("catalog_newer", f"{reason}; upgrade it")
    return StartRefused("catalog_older", f"{reason}; start `kb serve` to bring it up", exit_code=TRY_LATER)
