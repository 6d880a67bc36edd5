"""Domain types: frozen, keyword-only, free of any framework. They are what crosses package borders."""

from kb.types.conversations import Conversation, KeptCitation, KeptTurn, NewTurn
from kb.types.documents import (
    ChunkToStage,
    Document,
    DocumentError,
    DocumentStatus,
    KnowledgeBase,
    Metadata,
    RevisionKind,
    SourceState,
    SpaceState,
    StagedVersion,
    StoredChunk,
    VersionState,
)
from kb.types.gate import Candidate, GateReport, SafetyLimits
from kb.types.golden import GoldenQuestion, NewGoldenQuestion
from kb.types.index import ChangeSet, Counts, Filter, Head, IndexRow, Match, Offsets, Vectors, VisibleChunk
from kb.types.jobs import Job, JobKind, JobState, Lane
from kb.types.pages import AsidePage, KnownPage, PageContent, PageMiss, PageOrigin, PagesSeen, StagedPage
from kb.types.parsed import Heading, Page, PageVerdict, ParsedDocument, TextChunk
from kb.types.refusal import RefusalRule, RelevanceMeasure
from kb.types.revisions import Revision, RevisionPaths
from kb.types.sources import Source, SourceKind
from kb.types.syncs import KnownFile, SourceFile, SyncChange
from kb.types.traces import AnsweringVersion, DocumentTrace

__all__ = [
    "AnsweringVersion",
    "AsidePage",
    "Candidate",
    "ChangeSet",
    "ChunkToStage",
    "Conversation",
    "Counts",
    "Document",
    "DocumentError",
    "DocumentStatus",
    "DocumentTrace",
    "Filter",
    "GateReport",
    "GoldenQuestion",
    "Head",
    "Heading",
    "IndexRow",
    "Job",
    "JobKind",
    "JobState",
    "KeptCitation",
    "KeptTurn",
    "KnowledgeBase",
    "KnownFile",
    "KnownPage",
    "Lane",
    "Match",
    "Metadata",
    "NewGoldenQuestion",
    "NewTurn",
    "Offsets",
    "Page",
    "PageContent",
    "PageMiss",
    "PageOrigin",
    "PageVerdict",
    "PagesSeen",
    "ParsedDocument",
    "RefusalRule",
    "RelevanceMeasure",
    "Revision",
    "RevisionKind",
    "RevisionPaths",
    "SafetyLimits",
    "Source",
    "SourceFile",
    "SourceKind",
    "SourceState",
    "SpaceState",
    "StagedPage",
    "StagedVersion",
    "StoredChunk",
    "SyncChange",
    "TextChunk",
    "Vectors",
    "VersionState",
    "VisibleChunk",
]
