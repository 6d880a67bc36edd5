"""The tables of sources, which `kb/catalog/tables.py` has with all others."""

from __future__ import annotations

from sqlalchemy import JSON, Column, ForeignKey, Integer, String, Table, Text, UniqueConstraint

from kb.catalog.columns import UtcTime, metadata

source = Table(
    "source",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("kb_id", ForeignKey("knowledge_base.id"), nullable=False),
    Column("name", String(255), nullable=False),  # of a folder: the first folder of its documents' paths
    Column("kind", String(16), nullable=False),
    Column("uri", Text, nullable=False),
    Column("include", JSON, nullable=False),
    Column("exclude", JSON, nullable=False),
    Column("max_pages", Integer),  # of web pages; null: of a folder
    Column("depth", Integer),  # of a crawl, in links from the pages that are named
    Column("schedule", String(255)),
    Column("timezone", String(64), nullable=False),
    Column("next_run", UtcTime),
    Column("last_due", UtcTime),  # the scheduled moment that was run last: no moment is run twice
    Column("listing_sha", String(64)),  # of the listing the last run left nothing to do for; null: compare each file
    Column("created_at", UtcTime, nullable=False),
    Column("updated_at", UtcTime, nullable=False),
    UniqueConstraint("kb_id", "name"),
)

# Pages that the last sync met and that are no documents: copies of others, kinds that nothing reads.
source_page = Table(
    "source_page",
    metadata,
    Column("source_id", ForeignKey("source.id"), primary_key=True),
    Column("url", Text, primary_key=True),
    Column("code", String(64), nullable=False),  # why it is none
    Column("origin", JSON, nullable=False),  # as of a version
)
