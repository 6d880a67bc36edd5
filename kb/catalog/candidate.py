"""The feed of a knowledge base as it would be: what the gate's indexes are built from. Nothing here is written.

A CandidateFeed has one revision more than the catalog, which exists here alone: the head that was found, less what the
candidate closes, with what it opens, in the candidate's space. Its head stands at the revision found until `advance`
moves it on, as publishing would. Thus whatever keeps up with a feed can be asked before and after.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache
from typing import Any

from sqlalchemy import Connection, Select, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.feed import IDS_A_STATEMENT, VISIBLE_FIELDS, CatalogFeed, select_chunks, visible_at
from kb.errors import NotFound
from kb.ports import OrdinalRange
from kb.types import Candidate, ChangeSet, Filter, Head, IndexRow, StoredChunk, VisibleChunk


class Candidates:
    def __init__(self, database: Database, feed: CatalogFeed) -> None:
        self._database = database
        self._feed = feed

    def open_feed(self, candidate: Candidate) -> CandidateFeed:
        """Raises NotFound (`knowledge_base_not_found`, also for a space that is not its own)."""
        head = self._feed.get_head(candidate.kb_id)
        return CandidateFeed(self._database, self._feed, candidate, head)


class CandidateFeed:
    """`kb.ports.IndexFeed`, of one candidate. Its head is moved by one thread; else thread-safe as the catalog's."""

    def __init__(self, database: Database, feed: CatalogFeed, candidate: Candidate, head: Head) -> None:
        self._database = database
        self._feed = feed
        self._candidate = candidate
        self._found = self._head = head
        self._opened = frozenset(candidate.opened)
        self._closed = frozenset(candidate.closed) - self._opened
        with database.read() as connection:
            self._after = _find_head(connection, candidate, head.revision + 1)
            self._came = _list_chunks(connection, candidate.space_id, candidate.opened)
            self._went = _list_chunks(connection, candidate.space_id, sorted(self._closed))

    def advance(self) -> None:
        """From now on the head is the candidate's."""
        self._head = self._after

    def get_head(self, kb_id: str) -> Head:
        if kb_id != self._candidate.kb_id:
            raise NotFound("knowledge_base_not_found", f"this feed has no knowledge base {kb_id!r}")
        return self._head

    def get_epoch(self) -> str:
        return self._feed.get_epoch()

    def list_changes(self, space_id: int, after: int, upto: int) -> ChangeSet:
        past = self._feed.list_changes(space_id, after, min(upto, self._found.revision))
        if not after <= self._found.revision < upto or space_id != self._candidate.space_id:
            return past
        came, went, added, removed = (set(ids) for ids in (self._came, self._went, past.added, past.removed))
        return ChangeSet(
            added=sorted((added - went) | (came - removed)), removed=sorted((removed - came) | (went - added))
        )

    def iter_rows(self, space_id: int, revision: int, batch: int = 1000) -> Iterator[list[IndexRow]]:
        if revision <= self._found.revision:
            yield from self._feed.iter_rows(space_id, revision, batch)
            return
        with self._database.read() as connection:
            visible = _list_visible_chunks(connection, space_id, self._found.revision)
        wanted = sorted(visible - set(self._went) | set(self._came))
        for first in range(0, len(wanted), batch):
            if rows := self._feed.get_rows(space_id, wanted[first : first + batch]):
                yield rows

    def stands_in(self, kb_id: str, space_id: int, after: int, upto: int) -> bool:
        """Never: what is judged is the candidate's own state."""
        del kb_id, space_id, after, upto
        return False

    def get_rows(self, space_id: int, chunk_ids: Sequence[int]) -> list[IndexRow]:
        return self._feed.get_rows(space_id, chunk_ids)

    def list_visible(
        self, kb_id: str, revision: int, chunk_ids: Sequence[int], only: Filter | None = None
    ) -> dict[int, VisibleChunk]:
        found = self._feed.list_visible(kb_id, min(revision, self._found.revision), chunk_ids, only)
        if revision <= self._found.revision:
            return found
        kept = {key: chunk for key, chunk in found.items() if chunk.version_id not in self._closed}
        rest = [chunk_id for chunk_id in chunk_ids if chunk_id not in found]
        return kept | self._list_opened(kb_id, rest, only or Filter())

    def _list_opened(self, kb_id: str, chunk_ids: Sequence[int], only: Filter) -> dict[int, VisibleChunk]:
        """Those of `chunk_ids` that are of a version about to become visible."""
        found: dict[int, VisibleChunk] = {}
        with self._database.read() as connection:
            for first in range(0, len(chunk_ids), IDS_A_STATEMENT):
                values = {"kb": kb_id, "ids": chunk_ids[first : first + IDS_A_STATEMENT]}
                for metadata, *row, language in connection.execute(_any_chunks(), values):
                    chunk = VisibleChunk(**dict(zip(VISIBLE_FIELDS, row, strict=True)))
                    same = not only.list_differing(metadata)
                    inside = chunk.path.startswith(only.path_prefix or "") and only.language in (None, "", language)
                    if chunk.version_id in self._opened and same and inside:
                        found[chunk.id] = chunk
        return found

    def list_neighbours(self, space_id: int, ranges: Sequence[OrdinalRange]) -> list[list[StoredChunk]]:
        return self._feed.list_neighbours(space_id, ranges)


@cache
def _any_chunks() -> Select[Any]:
    """Metadata, the fields of VisibleChunk, language: of chunks of any version, visible or not."""
    return select_chunks(t.version.c.metadata, t.chunk).add_columns(t.version.c.language)


def _find_head(connection: Connection, candidate: Candidate, revision: int) -> Head:
    space = t.space.c
    query = select(space.dimension, space.embedding_model).where(
        space.id == candidate.space_id, space.kb_id == candidate.kb_id
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        reason = f"there is no knowledge base {candidate.kb_id!r} with the space {candidate.space_id}"
        raise NotFound("knowledge_base_not_found", reason)
    return Head(
        revision=revision,
        space_id=candidate.space_id,
        dimension=row.dimension,
        embedding_model=row.embedding_model,
    )


def _list_chunks(connection: Connection, space_id: int, version_ids: Sequence[int]) -> list[int]:
    """Ids of the versions' chunks in a space."""
    found: list[int] = []
    for first in range(0, len(version_ids), IDS_A_STATEMENT):
        part = version_ids[first : first + IDS_A_STATEMENT]
        query = select(t.chunk.c.id).where(t.chunk.c.space_id == space_id, t.chunk.c.version_id.in_(part))
        found += connection.execute(query).scalars()
    return found


def _list_visible_chunks(connection: Connection, space_id: int, revision: int) -> set[int]:
    """Ids of a space's chunks whose version is visible at `revision`."""
    query = (
        select(t.chunk.c.id)
        .join(t.publication, t.publication.c.version_id == t.chunk.c.version_id)
        .where(t.chunk.c.space_id == space_id, *visible_at(revision))
    )
    return set(connection.execute(query).scalars())
