"""The composition root: the only place that names concrete classes. Nothing here runs before it is called."""

from __future__ import annotations

import logging
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution

from ingest.encoders.shelf import EncoderShelf
from ingest.loaders import LoadLimits
from ingest.parsing import ParserLimits, ParserPool
from ingest.pipeline import Outcome, UploadPipeline
from ingest.splitter import SplitterSettings
from ingest.worker import Worker
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.database import Database
from kb.catalog.jobs import NewJob
from kb.catalog.knowledge_bases import NewKnowledgeBase
from kb.config import Settings
from kb.data_folder import DataFolder
from kb.errors import Conflict, InvalidInput, NotFound, StartRefused
from kb.garbage import Garbage
from kb.ports import EncoderSource
from kb.types import Job, JobKind, JobState, KnowledgeBase, Lane
from retrieval.answer import Answerer, AnswerLimits, AnswerWriter
from retrieval.chat import ChatServer, OpenAIChatModel
from retrieval.chat_writer import ChatWriter
from retrieval.extractive import ExtractiveWriter
from retrieval.generations import find_kb_folder, find_space_folder, list_revisions, seal_generation
from retrieval.search import Searcher
from retrieval.state import IndexShelf

# What a hub calls its models: one owner, one name. A request must not make the server open folders of its choice.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """What server, worker and check share: the record of the knowledge bases and the files it names."""

    settings: Settings
    folder: DataFolder
    catalog: Catalog
    blobs: BlobStore
    texts: TextStore
    encoders: EncoderSource
    garbage: Garbage

    def create_knowledge_base(
        self, name: str, description: str = "", language: str = "auto", embedding_model: str | None = None
    ) -> KnowledgeBase:
        """Raises Conflict (`knowledge_base_exists`), InvalidInput (`bad_embedding_model`), Unavailable."""
        model = embedding_model or self.settings.embedding
        if model not in ("builtin", self.settings.embedding) and not HUB_NAME.fullmatch(model):
            reason = (
                f"{model[:255]!r} is neither `builtin`, a model's name like BAAI/bge-base-zh-v1.5, nor KB_EMBEDDING"
            )
            raise InvalidInput("bad_embedding_model", reason)
        encoder = self.encoders.get_encoder(model)
        splitter = SplitterSettings(target_tokens=self.settings.chunk_tokens)
        return self.catalog.knowledge_bases.create(
            NewKnowledgeBase(
                name=name,
                description=description,
                language=language,
                embedding_model=model,
                fingerprint=f"{encoder.fingerprint}+{splitter.fingerprint}",
                dimension=encoder.dimension,
                chunk_tokens=self.settings.chunk_tokens,
            )
        )

    def delete_documents(self, kb_id: str, ids: Sequence[str] = (), path_prefix: str | None = None) -> int:
        """Purge documents and, at once, the files that nobody else names; the number deleted."""
        purged = self.catalog.documents.delete(kb_id, ids, path_prefix)
        self.garbage.collect(purged)
        self.seal_if_due(kb_id)
        return purged.documents

    def seal_if_due(self, kb_id: str) -> None:
        """Queue a new index generation once the log has grown by enough since the last one.

        It spares a server from replaying the log, and takes out of the index files what was deleted.
        """
        head = self.catalog.feed.get_head(kb_id)
        sealed = list_revisions(find_space_folder(self.folder.indexes, kb_id, head.space_id))
        changes = self.catalog.feed.count_changes(head.space_id, max(sealed, default=0))
        if changes >= self.settings.seal_changes:
            self.catalog.jobs.enqueue(
                NewJob(kind=JobKind.SEAL, lane=Lane.BULK, kb_id=kb_id, dedupe_key=f"seal:{kb_id}")
            )

    def close(self) -> None:
        self.catalog.close()


@dataclass(frozen=True, kw_only=True, slots=True)
class Services:
    """What the HTTP server answers from."""

    store: Store
    indexes: IndexShelf
    searcher: Searcher
    answerer: Answerer
    chat: OpenAIChatModel | None

    def close(self) -> None:
        self.indexes.close()
        self.store.close()


def open_store(settings: Settings, folder: DataFolder, database: Database) -> Store:
    """`database` comes from `folder`: opened by its holder or attached to."""
    blobs, texts = BlobStore(folder.blobs), TextStore(folder.texts)
    catalog = Catalog(database, blobs, texts)
    return Store(
        settings=settings,
        folder=folder,
        catalog=catalog,
        blobs=blobs,
        texts=texts,
        encoders=EncoderShelf(),
        garbage=Garbage(catalog, blobs, texts),
    )


def build_services(store: Store) -> Services:
    """Everything a question needs."""
    settings, catalog = store.settings, store.catalog
    indexes = IndexShelf(catalog.feed, store.folder.indexes)
    searcher = Searcher(indexes, catalog.feed, store.texts, store.encoders)
    chat = _build_chat(settings)
    writer: AnswerWriter = ChatWriter(chat) if chat else ExtractiveWriter()
    limits = AnswerLimits(question_characters=settings.max_question_characters)
    answerer = Answerer(searcher, writer, limits, catalog.documents)
    return Services(store=store, indexes=indexes, searcher=searcher, answerer=answerer, chat=chat)


def _build_chat(settings: Settings) -> OpenAIChatModel | None:
    if settings.llm_base_url is None or settings.llm_model is None:
        return None
    key = settings.llm_api_key.get_secret_value() if settings.llm_api_key else None
    server = ChatServer(
        base_url=settings.llm_base_url, model=settings.llm_model, api_key=key, profile=settings.llm_profile
    )
    return OpenAIChatModel(server)


def build_worker(store: Store) -> tuple[Worker, ParserPool]:
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
    indexing = Indexing(store, pipeline)
    handlers = {
        JobKind.UPLOAD: indexing.run_upload,
        JobKind.SEAL: indexing.run_seal,
        JobKind.PURGE: indexing.run_purge,
    }
    return Worker(store.catalog.jobs, handlers, indexing.keep_house, settings.lease_seconds), pool


class Indexing:
    """Handlers of the worker's jobs: where ingest and retrieval meet."""

    def __init__(self, store: Store, pipeline: UploadPipeline) -> None:
        self._store = store
        self._pipeline = pipeline

    def run_upload(self, job: Job, is_stopping: Callable[[], bool]) -> Outcome | None:
        outcome = self._pipeline.run(job, is_stopping)
        if outcome is not None and job.kb_id is not None:
            self._store.seal_if_due(job.kb_id)
        return outcome

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


def check_chat(settings: Settings) -> None:
    """Raises StartRefused (`bad_setting`) for a chat server without the name of its model."""
    if settings.llm_base_url is not None and settings.llm_model is None:
        raise StartRefused("bad_setting", "KB_LLM_BASE_URL is set but KB_LLM_MODEL is not: name the model it serves")


def _is_installed(name: str) -> bool:
    try:
        distribution(name)
    except PackageNotFoundError:
        return False
    return True


def check_faiss(is_installed: Callable[[str], bool] = _is_installed) -> None:
    """Raises StartRefused (`faiss_missing`, `faiss_conflict`): both builds install the module `faiss`."""
    found = [name for name in ("faiss-cpu", "faiss-gpu") if is_installed(name)]
    if not found:
        raise StartRefused("faiss_missing", "no faiss is installed; install kb-server[cpu] or kb-server[gpu]")
    if len(found) > 1:
        reason = (
            f"{' and '.join(found)} are both installed and break each other; uninstall both, then install one extra"
        )
        raise StartRefused("faiss_conflict", reason)
