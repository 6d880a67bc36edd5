"""The encoders of this machine, and the one behind an embedding server, by the name a knowledge base keeps."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

from ingest.encoders.builtin import BuiltinEncoder
from ingest.encoders.embedding_client import EmbeddingClient
from ingest.encoders.model_folder import find_model_folder
from ingest.encoders.remote import open_remote
from ingest.encoders.sentence_transformer import EncoderSettings, load_sentence_transformer
from kb.ports import Encoder


class EncoderShelf:
    """`kb.ports.EncoderSource`. Loads each model once, at first use. A failure is not remembered: it may come later.

    `folders` are searched for a model's name before the Hugging Face cache; the model of `remote` is looked for nowhere
    else. Thread-safe; a load holds up only those who want the same model.
    """

    def __init__(
        self,
        *,
        folders: Sequence[Path] = (),
        settings: EncoderSettings | None = None,
        remote: EmbeddingClient | None = None,
    ) -> None:
        self._folders = tuple(folders)
        self._settings = settings or EncoderSettings()
        self._remote = remote
        self._encoders: dict[str, Encoder] = {BuiltinEncoder.name: BuiltinEncoder()}
        self._loading: defaultdict[str, Lock] = defaultdict(Lock)
        self._lock = Lock()

    def get_encoder(self, name: str) -> Encoder:
        """`builtin`, the embedding server's model, or a model by its name or folder.

        Raises Unavailable (`embedding_unavailable`).
        """
        with self._lock:
            found = self._encoders.get(name)
            loading = self._loading[name]
        if found is not None:
            return found
        with loading:
            if name not in self._encoders:
                self._encoders[name] = self._load(name)
            return self._encoders[name]

    @property
    def remote(self) -> EmbeddingClient | None:
        """The embedding server, where one is set."""
        return self._remote

    def close(self) -> None:
        if self._remote is not None:
            self._remote.close()

    def _load(self, name: str) -> Encoder:
        if self._remote is not None and name == self._remote.server.model:
            return open_remote(self._remote)
        return load_sentence_transformer(name, find_model_folder(name, self._folders), self._settings)
