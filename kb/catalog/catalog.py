"""The catalog as one object: every noun's operations over one database."""

from __future__ import annotations

from kb.blobs import BlobStore, TextStore
from kb.catalog.candidate import Candidates
from kb.catalog.conversations import Conversations
from kb.catalog.database import Database
from kb.catalog.documents import Documents
from kb.catalog.feed import CatalogFeed
from kb.catalog.golden import GoldenQuestions
from kb.catalog.history import History
from kb.catalog.jobs import Jobs
from kb.catalog.knowledge_bases import KnowledgeBases
from kb.catalog.prompts import Prompts
from kb.catalog.publishing import Publisher
from kb.catalog.purge import Purges
from kb.catalog.refusals import Refusals
from kb.catalog.restoring import Restores
from kb.catalog.retired_spaces import RetiredSpaces
from kb.catalog.reuse import KnownContent
from kb.catalog.source_files import SourceFiles
from kb.catalog.source_pages import SourcePages
from kb.catalog.sources import Sources
from kb.catalog.spaces import Spaces
from kb.catalog.staging import Staging
from kb.catalog.swaps import Swaps
from kb.catalog.syncs import Syncs
from kb.catalog.traces import Traces
from kb.catalog.uploads import Uploads


class Catalog:
    """Thread-safe; one a process."""

    def __init__(self, database: Database, blobs: BlobStore, texts: TextStore) -> None:
        self.database = database
        self.knowledge_bases = KnowledgeBases(database)
        self.refusals = Refusals(database)
        self.prompts = Prompts(database)
        self.documents = Documents(database)
        self.uploads = Uploads(database, blobs.exists)
        self.jobs = Jobs(database)
        self.staging = Staging(database, texts.blobs.exists)
        self.spaces = Spaces(database)
        self.swaps = Swaps(database)
        self.retired_spaces = RetiredSpaces(database)
        self.publisher = Publisher(database)
        self.source_files = SourceFiles(database)
        self.source_pages = SourcePages(database)
        self.known_content = KnownContent(database)
        self.syncs = Syncs(database)
        self.purges = Purges(database)
        self.sources = Sources(database)
        self.history = History(database)
        self.restores = Restores(database)
        self.feed = CatalogFeed(database, texts)
        self.traces = Traces(database)
        self.golden = GoldenQuestions(database)
        self.conversations = Conversations(database)
        self.candidates = Candidates(database, self.feed)

    def close(self) -> None:
        self.database.close()
