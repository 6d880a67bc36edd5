"""The worker and the handlers of its jobs: where ingest and retrieval meet."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Callable
from datetime import UTC, datetime

from api.bootstrap.store import Store
from ingest.loaders import LoadLimits
from ingest.parsing import ParserLimits, ParserPool
from ingest.pipeline import Outcome, UploadPipeline
from ingest.reindex import Reindexer, ReindexTools
from ingest.splitter import SplitterSettings
from ingest.worker import Worker
from kb.errors import Conflict, NotFound
from kb.ports import Gate
from kb.types import Head, Job, JobKind, JobState
from retrieval.generations import find_kb_folder, find_space_folder, seal_generation

log = logging.getLogger(__name__)


def build_worker(store: Store, gate: Gate | None = None) -> tuple[Worker, ParserPool]:
    """A worker and the pool of parse children it reads through; the caller closes the pool."""
    settings = store.settings
    pool = ParserPool(
        ParserLimits(
            cpu_seconds=settings.parse_cpu_seconds,
            wall_seconds=settings.parse_seconds,
            memory_bytes=settings.parse_memory_bytes,
            load=LoadLimits(max_pages=settings.max_pages, max_characters=settings.max_characters),
        )
    )
    pipeline = UploadPipeline(store.catalog, store.blobs, store.texts, store.encoders, pool)
    indexing = Indexing(store, pipeline, gate)
    handlers = {
        JobKind.UPLOAD: indexing.run_upload,
        JobKind.SEAL: indexing.run_seal,
        JobKind.PURGE: indexing.run_purge,
        JobKind.REINDEX: indexing.run_reindex,
    }
    return Worker(store.catalog.jobs, handlers, indexing.keep_house, settings.lease_seconds), pool


class Indexing:
    """Handlers of the worker's jobs."""

    def __init__(self, store: Store, pipeline: UploadPipeline, gate: Gate | None = None) -> None:
        self._store = store
        self._pipeline = pipeline
        self._reindexer = Reindexer(
            ReindexTools(
                catalog=store.catalog,
                texts=store.texts,
                encoders=store.encoders,
                splitter=SplitterSettings(target_tokens=store.settings.chunk_tokens),
                seal=self._seal_space,
                gate=gate,
            )
        )

    def run_upload(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        outcome = self._pipeline.run(job, is_stopping)
        if outcome is not None and job.kb_id is not None:
            self._store.seal_if_due(job.kb_id)
        return outcome

    def run_reindex(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        outcome = self._reindexer.run(job, is_stopping)
        if outcome is not None and job.kb_id is not None:
            self._store.seal_if_due(job.kb_id)
        return outcome

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
        removed = self._store.garbage.sweep(self._store.settings.retention_days)
        if removed:
            log.info("garbage.swept files=%d", removed)
        self._collect_spaces()

    def _collect_spaces(self) -> None:
        """Take out spaces whose grace time is over or that no job builds any more: index files first, then rows."""
        retired = self._store.catalog.retired_spaces
        retired.abandon_orphans()
        for kb_id, space_id in retired.list_collectable(datetime.now(UTC)):
            shutil.rmtree(find_space_folder(self._store.folder.indexes, kb_id, space_id), ignore_errors=True)
            while retired.collect_slice(space_id):
                pass
            log.info("space.collected kb=%s space=%d", kb_id, space_id)
