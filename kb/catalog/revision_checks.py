"""What must hold of revisions: what answers at each, what the change log says of it, and which documents are hidden."""

from __future__ import annotations

from sqlalchemy import Connection, and_, case, func, or_, select

from kb.catalog import tables as t
from kb.catalog.database import Database
from kb.catalog.jobs import LIVE
from kb.findings import FindingLog
from kb.types import JobKind, SpaceState, VersionState


def check_knowledge_bases(database: Database, found: FindingLog) -> None:
    with database.read() as connection:
        rows = connection.execute(select(t.knowledge_base.c.id, t.knowledge_base.c.deleted_at)).all()
    for row in rows:
        with database.read() as connection:
            if row.deleted_at is not None:
                _check_purge(connection, found, row.id)
            else:
                _check_revisions(connection, found, row.id)
                _check_change_log(connection, found, row.id)
                _check_documents(connection, found, row.id)


def _check_purge(connection: Connection, found: FindingLog, kb_id: str) -> None:
    purging = select(t.job.c.id).where(t.job.c.kb_id == kb_id, t.job.c.kind == JobKind.PURGE, t.job.c.state.in_(LIVE))
    kept = select(t.knowledge_base.c.id).where(t.knowledge_base.c.id == kb_id, ~purging.exists())
    if connection.execute(kept).first() is not None:
        found.add("purge_missing", f"deleted knowledge base {kb_id} waits for a purge job that is not there")


def _check_revisions(connection: Connection, found: FindingLog, kb_id: str) -> None:
    kb, revision = t.knowledge_base, t.revision
    spaces = select(func.count()).where(t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
    query = (
        select(
            kb.c.head_revision,
            func.count(revision.c.number).label("count"),
            func.coalesce(func.min(revision.c.number), 1).label("first"),
            func.coalesce(func.max(revision.c.number), 0).label("last"),
            spaces.scalar_subquery().label("spaces"),
        )
        .select_from(kb.outerjoin(revision, revision.c.kb_id == kb.c.id))
        .where(kb.c.id == kb_id, kb.c.deleted_at.is_(None))
        .group_by(kb.c.id)
    )
    row = connection.execute(query).one_or_none()
    if row is None:  # deleted meanwhile
        return
    if (row.first, row.last, row.count) != (1, row.head_revision, row.head_revision):
        has = f"{row.count} revisions from {row.first} to {row.last}"
        found.add("revision_gap", f"knowledge base {kb_id} is at revision {row.head_revision} and has {has}")
    if row.spaces != 1:
        found.add("live_space_wrong", f"knowledge base {kb_id} has {row.spaces} live spaces instead of one")


def _check_change_log(connection: Connection, found: FindingLog, kb_id: str) -> None:
    """What an index replays must end at what a search may see: the net of the log is the set of visible chunks."""
    head = select(t.knowledge_base.c.head_revision).where(t.knowledge_base.c.id == kb_id).scalar_subquery()
    ahead = select(func.count()).where(t.change_log.c.kb_id == kb_id, t.change_log.c.revision > head)
    count = connection.execute(ahead).scalar_one()
    if count:
        found.add("change_log_ahead", f"knowledge base {kb_id}: {count} changes of revisions above its head")
    for space_id in connection.execute(
        select(t.space.c.id).where(t.space.c.kb_id == kb_id, t.space.c.state == SpaceState.LIVE)
    ).scalars():
        _check_net(connection, found, space_id)


def _check_net(connection: Connection, found: FindingLog, space_id: int) -> None:
    shown = (
        select(t.publication.c.id)
        .join(t.chunk, t.chunk.c.version_id == t.publication.c.version_id)
        .where(t.publication.c.until_revision.is_(None), t.chunk.c.space_id == space_id)
    )
    total = connection.execute(select(func.count()).select_from(shown.subquery())).scalar_one()
    net = func.sum(case((t.change_log.c.op == "+", 1), else_=-1))
    summed = (
        select(t.change_log.c.chunk_id, net.label("net"))
        .where(t.change_log.c.space_id == space_id)
        .group_by(t.change_log.c.chunk_id)
        .subquery()
    )
    visible = case((shown.where(t.chunk.c.id == summed.c.chunk_id).correlate(summed).exists(), 1), else_=0)
    agreeing = 0
    for row in connection.execute(select(summed, visible.label("visible")).where((summed.c.net != 0) | (visible == 1))):
        if row.net == row.visible:
            agreeing += 1
        else:
            is_visible = "visible" if row.visible else "not visible"
            found.add("change_log_wrong", f"chunk {row.chunk_id} is {is_visible} and the log sums to {row.net:+d}")
    unlogged = total - agreeing
    if unlogged > 0:
        found.add("change_log_wrong", f"space {space_id}: the log lacks {unlogged} of {total} visible chunks")


# -- documents ------------------------------------------------------------------------------------------------------


def _check_documents(connection: Connection, found: FindingLog, kb_id: str) -> None:
    """A document is hidden exactly when it had an answer and nothing of it answers, waits or has failed."""
    of_document = t.version.c.document_id == t.document.c.id
    is_open = and_(t.publication.c.document_id == t.document.c.id, t.publication.c.until_revision.is_(None))
    query = (
        select(
            t.document.c.id,
            t.document.c.removed_revision,
            t.knowledge_base.c.head_revision,
            select(t.publication.c.id).where(is_open).exists().label("open"),
            select(t.version.c.id).where(of_document).exists().label("known"),
            select(t.version.c.id)
            .where(of_document, t.version.c.state != VersionState.SUPERSEDED)
            .exists()
            .label("shown"),
        )
        .join(t.knowledge_base, t.knowledge_base.c.id == t.document.c.kb_id)
        .where(t.document.c.kb_id == kb_id, t.document.c.deleted_at.is_(None))
    )
    for row in connection.execute(query):
        removed = f"document {row.id} was removed at revision {row.removed_revision}"
        if not row.known:
            found.add("document_empty", f"document {row.id} has no version")
        elif row.removed_revision is None:
            if not (row.open or row.shown):
                found.add("removal_wrong", f"nothing of document {row.id} answers or waits, and it is not hidden")
        elif row.open:
            found.add("removal_wrong", f"{removed} and answers")
        elif row.removed_revision > row.head_revision:
            found.add("removal_wrong", f"{removed}, its knowledge base is at {row.head_revision}")


# -- versions, a page of ids (first, last] at a time ----------------------------------------------------------------


def check_publications(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    is_open = and_(t.publication.c.version_id == t.version.c.id, t.publication.c.until_revision.is_(None))
    query = (
        select(t.version.c.id, t.version.c.state, t.document.c.deleted_at, func.count(t.publication.c.id).label("open"))
        .select_from(t.version.join(t.document, t.document.c.id == t.version.c.document_id))
        .outerjoin(t.publication, is_open)
        .where(t.version.c.id > first, t.version.c.id <= last)
        .group_by(t.version.c.id, t.version.c.state, t.document.c.deleted_at)
    )
    for row in connection.execute(query):
        if row.open and row.deleted_at is not None:
            found.add("publication_of_deleted", f"version {row.id} is open, its document is deleted")
        if row.open != int(row.state == VersionState.PUBLISHED):
            found.add("publication_wrong", f"version {row.id} is {row.state} and has {row.open} open publications")


def check_overlaps(connection: Connection, found: FindingLog, first: int, last: int) -> None:
    """At no revision two versions of one document answer, and none at a revision that is not there yet."""
    one, other = t.publication.alias("one"), t.publication.alias("other")
    ends_behind = [or_(a.c.until_revision.is_(None), a.c.until_revision > b.c.since_revision)
                   for a, b in ((one, other), (other, one))]  # fmt: skip
    pairs = (
        select(one.c.document_id, one.c.version_id, other.c.version_id.label("other_id"))
        .join(other, and_(other.c.document_id == one.c.document_id, other.c.id > one.c.id))
        .where(one.c.version_id > first, one.c.version_id <= last, *ends_behind)
    )
    for row in connection.execute(pairs):
        both = f"versions {row.version_id} and {row.other_id} of document {row.document_id}"
        found.add("publication_overlap", f"{both} answer at the same revision")
    head = t.knowledge_base.c.head_revision
    ahead = (
        select(t.publication.c.version_id, head)
        .join(t.document, t.document.c.id == t.publication.c.document_id)
        .join(t.knowledge_base, t.knowledge_base.c.id == t.document.c.kb_id)
        .where(t.publication.c.version_id > first, t.publication.c.version_id <= last)
        .where(or_(t.publication.c.since_revision > head, t.publication.c.until_revision > head))
    )
    for version_id, number in connection.execute(ahead):
        found.add("publication_wrong", f"version {version_id} comes or goes above the head {number}")
