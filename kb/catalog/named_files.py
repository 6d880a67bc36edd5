"""Which files the versions name: what must be on the disk, and what may be there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from sqlalchemy import RowMapping, func, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.types import VersionState

A_PAGE = 500
KEEPS_TEXT = (VersionState.PUBLISHED, VersionState.SUPERSEDED)


@dataclass(frozen=True, kw_only=True, slots=True)
class NamedFiles:
    """The files of one version. `text_end` is the last character that a page or chunk of it points at.

    `text_sha` is None while there is no text to be kept: a staged or failed version may have lost it.
    """

    version_id: int
    sha256: str
    size: int
    text_sha: str | None
    text_end: int


def iter_named_files(database: Database) -> Iterator[list[NamedFiles]]:
    """Every version's files in pages, a short transaction each."""
    last = 0
    ends = select(func.max(t.chunk.c.end)).where(t.chunk.c.version_id == t.version.c.id).scalar_subquery()
    columns = (t.version.c.id, t.version.c.sha256, t.version.c.size, t.version.c.text_sha, t.version.c.state)
    query = select(*columns, t.version.c.ledger, ends.label("chunk_end")).order_by(t.version.c.id).limit(A_PAGE)
    while True:
        with database.read() as connection:
            rows = connection.execute(query.where(t.version.c.id > last)).mappings().all()
        if not rows:
            return
        last = rows[-1]["id"]
        yield [_to_named_files(row) for row in rows]


def count_versions(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(t.version)).scalar_one()


def has_version(database: Database, version_id: int) -> bool:
    """Whether the version is still there: a purge may have taken it since it was listed."""
    with database.read() as connection:
        return connection.execute(select(t.version.c.id).where(t.version.c.id == version_id)).first() is not None


def list_unnamed_blobs(database: Database, sha256s: Sequence[str]) -> list[str]:
    """Those of at most A_PAGE hashes that no version names as its bytes."""
    return _list_unnamed(database, sha256s, "sha256")


def list_unnamed_texts(database: Database, text_shas: Sequence[str]) -> list[str]:
    """Those of at most A_PAGE hashes that no version names as its extracted text."""
    return _list_unnamed(database, text_shas, "text_sha")


def _list_unnamed(database: Database, shas: Sequence[str], column: str) -> list[str]:
    query = select(t.version.c[column]).where(t.version.c[column].in_(shas))
    with database.read() as connection:
        named = set(connection.execute(query).scalars())
    return [sha for sha in shas if sha not in named]


def _to_named_files(row: RowMapping) -> NamedFiles:
    pages = [end for _, _, end, _ in row["ledger"] or ()]
    return NamedFiles(
        version_id=row["id"],
        sha256=row["sha256"],
        size=row["size"],
        text_sha=row["text_sha"] if row["state"] in KEEPS_TEXT else None,
        text_end=max([row["chunk_end"] or 0, *pages]),
    )
