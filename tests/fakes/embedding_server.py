"""An embedding server on loopback with the builtin encoder's vectors, and the faults a real one shows now and then."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
from fakes.model_server import Answer, ModelServer, send_error, send_json

from ingest.encoders.builtin import BuiltinEncoder

MODEL = "remote-model"


class EmbeddingServer(ModelServer):
    """`texts` and `sizes` are what the requests carried: every text, and how many a request."""

    def __init__(self) -> None:
        super().__init__()
        self.window: int | None = None  # characters; longer texts are refused, as vLLM does
        self.refuses: str | None = None  # texts that hold this are refused
        self.base64 = False
        self.scramble = True  # rows in another order than the texts
        self.change: Callable[[np.ndarray], np.ndarray] = lambda vectors: vectors * 3
        self.texts: list[str] = []
        self.sizes: list[int] = []

    def answer(self, key: str | None, path: str, body: Mapping[str, Any]) -> Answer:
        with self.lock:
            self.texts += body["input"]
            self.sizes.append(len(body["input"]))
        return super().answer(key, path, body)

    def serve(self, path: str, body: Mapping[str, Any]) -> Answer:
        texts = body["input"]
        if path != "/v1/embeddings" or body["model"] != MODEL:
            return send_error(404, "NotFoundError")
        if self.window is not None and max(map(len, texts)) > self.window:
            return send_error(400, "BadRequestError", "This model's maximum context length is 9 tokens.")
        if self.refuses is not None and any(self.refuses in text for text in texts):
            return send_error(400, "BadRequestError", "not this one")
        return send_vectors(
            self.change(BuiltinEncoder().embed_texts(texts)), in_base64=self.base64, scramble=self.scramble
        )


def send_vectors(vectors: np.ndarray, *, in_base64: bool = False, scramble: bool = False) -> Answer:
    rows = [
        {"object": "embedding", "index": at, "embedding": write(row, in_base64=in_base64)}
        for at, row in enumerate(vectors)
    ]
    if scramble:
        rows.reverse()
    return send_json({"object": "list", "data": rows, "model": MODEL, "usage": {"prompt_tokens": 1}})


def write(vector: np.ndarray, *, in_base64: bool) -> object:
    return base64.b64encode(vector.astype("<f4").tobytes()).decode() if in_base64 else vector.tolist()


@contextmanager
def serve_embeddings() -> Iterator[EmbeddingServer]:
    server = EmbeddingServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
