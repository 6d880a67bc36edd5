"""Calls to one embedding server of the OpenAI protocol, and how patient they are. How it is reached and what its
refusals mean stands in `kb/model_server.py`."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ingest.encoders.embedding_answer import Numbers, read_vectors
from kb.errors import Unavailable
from kb.model_server import ModelClient, ModelServer, ModelTask, Patience

TASK = ModelTask(noun="embedding", path="embeddings", code="embedding_unavailable", setting="KB_EMBEDDING")

# A worker can wait, and its job is tried again. A search cannot: it answers from the words alone.
FOR_TEXTS = Patience(connect_s=5, read_s=120, total_s=300, attempts=4, pause_s=30)
FOR_QUESTIONS = Patience(connect_s=2, read_s=10, total_s=10, attempts=2, pause_s=0.5, away_s=5)


@dataclass(frozen=True, kw_only=True, slots=True)
class EmbeddingServer(ModelServer):
    for_texts: Patience = FOR_TEXTS
    for_questions: Patience = FOR_QUESTIONS


class EmbeddingClient:
    """Thread-safe. `sleep` and `clock` are handed in so that a test needs no time."""

    def __init__(
        self,
        server: EmbeddingServer,
        *,
        sleep: Callable[[float], None] = time.sleep,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.server = server
        self._client = ModelClient(server, TASK, sleep=sleep, clock=clock)

    def embed(self, texts: Sequence[str], patience: Patience) -> Numbers:
        """The vectors as sent, in the order of `texts`. Raises TextsRefused, Unavailable (`embedding_unavailable`)."""
        content = self._client.post({"input": list(texts)}, patience)
        try:
            return read_vectors(content, len(texts))
        except ValueError as fault:
            raise self.say(str(fault)) from None

    def check_reachable(self) -> None:
        """Whether the server answers at all. Raises Unavailable (`embedding_unavailable`)."""
        self._client.check_reachable()

    def say(self, fault: str) -> Unavailable:
        return self._client.say(fault)

    def close(self) -> None:
        self._client.close()
