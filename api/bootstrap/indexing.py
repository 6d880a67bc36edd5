"""The worker and the handlers of its jobs: where ingest and retrieval meet."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec

from api.bootstrap.sites import Web, build_page_intake, build_parser_pool, build_web
from api.bootstrap.store import Store
from ingest.indexing import Indexer
from ingest.parsing import ParserPool
from ingest.pipeline import Outcome, UploadPipeline
from ingest.reindex import Reindexer, ReindexTools
from ingest.restore import RestorePipeline
from ingest.sources.intake import FileIntake
from ingest.sources.page_sync import Crawler, PageSync
from ingest.sources.registry import Roots
from ingest.sources.schedule import Scheduler
from ingest.sources.sync import FolderSync
from ingest.worker import Worker
from kb.errors import Conflict, NotFound, StartRefused
from kb.ports import Gate
from kb.types import Head, Job, JobKind, JobState, SourceKind
from retrieval.candidate import CandidateIndexes
from retrieval.gate import GoldenGate
from retrieval.generations import find_kb_folder, find_space_folder
from retrieval.sealing import seal_generation

log = logging.getLogger(__name__)

KNOWLEDGE_BASES_A_PAGE = 100


def build_worker(store: Store, gate: Gate | None = None, web: Web | None = None) -> tuple[Worker, ParserPool]:
    """A worker and the pool of parse children it reads through; the caller closes the pool."""
    settings = store.settings
    pool = build_parser_pool(settings)
    crawler = (web or build_web(settings)).build_crawler(pool)
    indexer = Indexer(store.catalog, store.blobs, store.texts, store.encoders, pool)
    gate = gate or build_gate(store)
    indexing = Indexing(store, build_runners(store, indexer, gate, crawler), gate)
    handlers = {
        JobKind.SYNC: indexing.run_sync,
        JobKind.UPLOAD: indexing.run_upload,
        JobKind.RESTORE: indexing.run_restore,
        JobKind.SEAL: indexing.run_seal,
        JobKind.PURGE: indexing.run_purge,
        JobKind.REINDEX: indexing.run_reindex,
    }
    return Worker(store.catalog.jobs, handlers, indexing.keep_house, settings.lease_seconds), pool


def check_readers(readers: Mapping[str, str]) -> None:
    """Raises StartRefused (`bad_setting`) when the package of one is not installed.

    Nothing is imported: whether the class is there turns out in a parse child, at its first file (`reader_failed`).
    """
    for extension, named in readers.items():
        for package in ("llama_index", named.partition(":")[0].partition(".")[0]):
            if find_spec(package) is None:
                reason = f"KB_READERS: {extension}={named} needs the package {package}, which is not installed"
                raise StartRefused("bad_setting", reason)


def build_gate(store: Store) -> GoldenGate:
    """The gate that is asked before a change is published. It opens nothing before it is asked."""
    catalog = store.catalog
    indexes = CandidateIndexes(catalog.candidates, store.texts, store.encoders, store.folder.indexes)
    return GoldenGate(catalog.golden, catalog.knowledge_bases, indexes)


@dataclass(frozen=True, kw_only=True, slots=True)
class Runners:
    """Who runs the jobs that index."""

    upload: UploadPipeline
    restore: RestorePipeline
    folders: FolderSync
    pages: PageSync


def build_runners(store: Store, indexer: Indexer, gate: Gate, crawler: Crawler) -> Runners:
    settings = store.settings
    roots = Roots(allowed=settings.allowed_folders, data_dir=settings.data_dir)
    intake = FileIntake(store.blobs, settings.max_file_bytes, readers=settings.reader_classes.keys())
    return Runners(
        upload=UploadPipeline(store.catalog, indexer),
        restore=RestorePipeline(store.catalog, store.texts, indexer, gate),
        folders=FolderSync(store.catalog, indexer, intake, roots, gate),
        pages=PageSync(store.catalog, indexer, build_page_intake(store), crawler, gate),
    )


def build_scheduler(store: Store) -> Scheduler:
    """Starts what sources' schedules name; one runs in each worker process."""
    return Scheduler(store.catalog.sources, lambda: datetime.now(UTC))


class Indexing:
    """Handlers of the worker's jobs."""

    def __init__(self, store: Store, runners: Runners, gate: Gate) -> None:
        self._store = store
        self._runners = runners
        self._reindexer = Reindexer(
            ReindexTools(
                catalog=store.catalog,
                texts=store.texts,
                encoders=store.encoders,
                seal=self._seal_space,
                gate=gate,
            )
        )

    def run_upload(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        return self._seal_behind(job, self._runners.upload.run(job, is_stopping))

    def run_restore(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        return self._seal_behind(job, self._runners.restore.run(job, is_stopping))

    def _seal_behind(self, job: Job, outcome: Outcome | None) -> Outcome | None:
        if outcome is not None and job.kb_id is not None:
            self._store.seal_if_due(job.kb_id)
        return outcome

    def run_sync(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        source = self._store.catalog.sources.get(job.params["source_id"])
        runner = self._runners.folders if source.kind is SourceKind.FOLDER else self._runners.pages
        return self._seal_behind(job, runner.run(job, is_stopping, datetime.now(UTC)))

    def run_reindex(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        return self._seal_behind(job, self._reindexer.run(job, is_stopping))

    def _seal_space(self, kb_id: str, head: Head) -> None:
        try:
            seal_generation(self._store.catalog.feed, kb_id, self._store.folder.indexes, head)
        except Conflict as error:  # a worker that lost this job still writes it: servers then read the rows
            log.warning("reindex.not_sealed kb=%s code=%s", kb_id, error.code)

    def run_seal(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        del is_stopping  # a generation is written in seconds and thrown away when it is interrupted
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        try:
            revision = seal_generation(self._store.catalog.feed, job.kb_id, self._store.folder.indexes)
        except (Conflict, NotFound) as error:  # another process is sealing it, or it was deleted meanwhile
            return Outcome(state=JobState.SUCCEEDED, message=error.code)
        return Outcome(state=JobState.SUCCEEDED, message=f"sealed revision {revision}")

    def run_purge(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        if job.kb_id is None:
            raise ValueError(f"job {job.id} belongs to no knowledge base")
        while (purged := self._store.catalog.purges.purge_slice(job.kb_id)).versions:
            self._store.garbage.collect(purged)
            if is_stopping():
                return None
        shutil.rmtree(find_kb_folder(self._store.folder.indexes, job.kb_id), ignore_errors=True)
        self._store.catalog.purges.purge_knowledge_base(job.kb_id)
        return Outcome(state=JobState.SUCCEEDED)

    def keep_house(self) -> None:
        settings = self._store.settings
        removed = self._store.garbage.sweep(settings.retention_days, settings.retention_revisions)
        if removed:
            log.info("garbage.swept files=%d", removed)
        self._collect_spaces()
        self._forget_conversations()
        self._seal_due()

    def _forget_conversations(self) -> None:
        """After `conversation_days`; 0 stops keeping new ones, and what was kept before goes as well."""
        limit = datetime.now(UTC) - timedelta(days=self._store.settings.conversation_days)
        while self._store.catalog.conversations.forget_idle(limit):
            pass

    def _collect_spaces(self) -> None:
        """Take out spaces whose grace time is over or that no job builds any more: index files first, then rows."""
        retired = self._store.catalog.retired_spaces
        retired.abandon_orphans()
        for kb_id, space_id in retired.list_collectable(datetime.now(UTC)):
            shutil.rmtree(find_space_folder(self._store.folder.indexes, kb_id, space_id), ignore_errors=True)
            while retired.collect_slice(space_id):
                pass
            log.info("space.collected kb=%s space=%d", kb_id, space_id)

    def _seal_due(self) -> None:
        """Seal again what was sealed with tokens of another form, or set aside, where no upload may come for long."""
        last = ""
        while page := self._store.catalog.knowledge_bases.list_knowledge_bases(KNOWLEDGE_BASES_A_PAGE, last):
            last = page[-1].name
            for kb in page:
                with suppress(NotFound):  # deleted meanwhile
                    self._store.seal_if_due(kb.id)
