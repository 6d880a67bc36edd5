"""What server, worker and check share: the record of the knowledge bases and the files it names."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from time import time

from ingest.encoders.embedding_client import EmbeddingClient, EmbeddingServer
from ingest.encoders.sentence_transformer import EncoderSettings
from ingest.encoders.shelf import EncoderShelf
from ingest.splitter import SplitterSettings
from kb.blobs import BlobStore, TextStore
from kb.catalog.catalog import Catalog
from kb.catalog.database import Database
from kb.catalog.jobs import NewJob
from kb.catalog.knowledge_bases import NewKnowledgeBase
from kb.config import Settings, is_server, read_hub_settings
from kb.data_folder import DataFolder
from kb.errors import InvalidInput, StartRefused
from kb.garbage import Garbage
from kb.ports import Encoder
from kb.types import JobKind, KnowledgeBase, Lane, Source
from retrieval.generations import find_newest, find_space_folder

# What a hub calls its models: one owner, one name. A request must not make the server open folders of its choice.
HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
LEAST_SHARE = 50  # a fiftieth of the chunks must have changed: writing a million anew takes minutes of a processor
OLDEST_SEALED_S = 24 * 3600.0  # what was deleted stays in the two newest generations, so two days at most


@dataclass(frozen=True, kw_only=True, slots=True)
class Store:
    """Open while its process lives; `close` gives the database connections back."""

    settings: Settings
    folder: DataFolder
    catalog: Catalog
    blobs: BlobStore
    texts: TextStore
    encoders: EncoderShelf
    garbage: Garbage

    def create_knowledge_base(
        self,
        name: str,
        description: str = "",
        language: str = "auto",
        embedding_model: str | None = None,
        chunk_tokens: int | None = None,
    ) -> KnowledgeBase:
        """Model and chunk size are the server's where none is named.

        Raises Conflict (`knowledge_base_exists`), InvalidInput (`bad_embedding_model`), Unavailable.
        """
        model = embedding_model or self.settings.default_model
        encoder = self._find_encoder(model)
        splitter = SplitterSettings(target_tokens=chunk_tokens or self.settings.chunk_tokens)
        return self.catalog.knowledge_bases.create(
            NewKnowledgeBase(
                name=name,
                description=description,
                language=language,
                embedding_model=model,
                fingerprint=splitter.name_space(encoder.fingerprint),
                dimension=encoder.dimension,
                chunk_tokens=splitter.target_tokens,
            )
        )

    def _find_encoder(self, model: str) -> Encoder:
        """Raises InvalidInput (`bad_embedding_model`), Unavailable (`embedding_unavailable`)."""
        if model not in ("builtin", self.settings.default_model) and not HUB_NAME.fullmatch(model):
            reason = (
                f"{model[:255]!r} is neither `builtin`, a model's name like BAAI/bge-base-zh-v1.5, nor KB_EMBEDDING"
            )
            raise InvalidInput("bad_embedding_model", reason)
        return self.encoders.get_encoder(model)

    def start_reindex(self, kb_id: str, mode: str, embedding_model: str | None = None, gate: bool = True) -> str:  # noqa: FBT001
        """The id of the job; of the one under way, when there is one: a knowledge base has one at a time.

        Raises InvalidInput (`bad_embedding_model`), Unavailable (`embedding_unavailable`).
        """
        if embedding_model is not None:
            if mode != "full":
                raise InvalidInput("bad_embedding_model", "another embedding model takes the mode `full`")
            self._find_encoder(embedding_model)
        params = {"mode": mode, "embedding_model": embedding_model, "gate": gate}
        new = NewJob(kind=JobKind.REINDEX, lane=Lane.BULK, kb_id=kb_id, dedupe_key=f"reindex:{kb_id}", params=params)
        return self.catalog.jobs.enqueue_or_find(new)

    def delete_documents(self, kb_id: str, ids: Sequence[str] = (), path_prefix: str | None = None) -> int:
        """Purge documents and, at once, the files that nobody else names; the number deleted."""
        purged = self.catalog.documents.delete(kb_id, ids, path_prefix)
        self.garbage.collect(purged)
        self.seal_if_due(kb_id)
        return purged.documents

    def delete_source(self, source: Source, *, keep_documents: bool) -> None:
        """Delete a source with its documents, or without. Raises NotFound."""
        self.garbage.collect(self.catalog.sources.delete(source.id, keep_documents=keep_documents))
        self.seal_if_due(source.kb_id)

    def seal_if_due(self, kb_id: str) -> None:
        """Queue a new index generation once the log has grown by enough since the last one: by `seal_changes` chunks
        and by a fiftieth of those sealed, since all of them are written again; or by any after a day.

        It spares a server from replaying the log, and takes out of the index files what was deleted. One with tokens of
        another form counts for none.
        """
        head = self.catalog.feed.get_head(kb_id)
        newest = find_newest(find_space_folder(self.folder.indexes, kb_id, head.space_id))
        changes = self.catalog.feed.count_changes(head.space_id, newest.revision if newest else 0)
        needed = self.settings.seal_changes
        if newest is not None:
            is_old = time() - newest.sealed_at > OLDEST_SEALED_S
            needed = 1 if is_old else max(needed, newest.count // LEAST_SHARE)
        if changes >= needed:
            self.catalog.jobs.enqueue(
                NewJob(kind=JobKind.SEAL, lane=Lane.BULK, kb_id=kb_id, dedupe_key=f"seal:{kb_id}")
            )

    def close(self) -> None:
        self.encoders.close()
        self.catalog.close()


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
        encoders=build_encoders(settings),
        garbage=Garbage(catalog, blobs, texts),
    )


def build_encoders(settings: Settings) -> EncoderShelf:
    """The caller closes it."""
    return EncoderShelf(
        folders=list_model_folders(settings),
        settings=EncoderSettings(backend=settings.encoder_backend),
        remote=_build_remote(settings),
    )


def list_model_folders(settings: Settings) -> tuple[Path, ...]:
    """Where a model's name is looked for before the Hugging Face cache."""
    return (settings.models_folder, *read_hub_settings().modelscope_folders)


def _build_remote(settings: Settings) -> EmbeddingClient | None:
    if not is_server(settings.embedding):
        return None
    key = settings.embedding_api_key.get_secret_value() if settings.embedding_api_key else None
    server = EmbeddingServer(base_url=settings.embedding, model=settings.default_model, api_key=key or None)
    return EmbeddingClient(server)


def check_embedding(settings: Settings) -> None:
    """Raises StartRefused (`bad_setting`) for an embedding server without its model, or a model without its server."""
    model = settings.embedding_model
    if is_server(settings.embedding):
        if model is None or model == "builtin":
            reason = "KB_EMBEDDING is a server's address but KB_EMBEDDING_MODEL names no model of it"
            raise StartRefused("bad_setting", f"{reason}: set it to one that it serves")
    elif model is not None:
        reason = "KB_EMBEDDING_MODEL is set but KB_EMBEDDING is no http(s)://…/v1"
        raise StartRefused("bad_setting", f"{reason}: name the server, or unset the model")
