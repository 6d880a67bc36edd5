"""A server of `/v1/rerank` on loopback, and the faults a real one shows now and then."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from fakes.model_server import Answer, ModelServer, send_error, send_json
from fakes.rerankers import share_pairs

MODEL = "remote-reranker"


class RerankServer(ModelServer):
    """Scores as `share_pairs` does, best first, as real servers answer. `window` is how many characters of question and
    one text it takes; beyond that it refuses as vLLM does, or as llama-server when `refuses_late`. A `favourite` text
    is put before all others."""

    def __init__(self) -> None:
        super().__init__()
        self.window: int | None = None
        self.refuses_late = False
        self.favourite: str | None = None

    def serve(self, path: str, body: Mapping[str, Any]) -> Answer:
        question, texts = body["query"], body["documents"]
        if path != "/v1/rerank" or body["model"] != MODEL:
            return send_error(404, "NotFoundError")
        if not all([question, *texts]):
            return send_error(400, "BadRequestError", "empty")
        if self.window is not None and len(question) + max(map(len, texts)) > self.window:
            if self.refuses_late:
                return send_error(500, "server_error", "input (900 tokens) is too large to process. increase the batch")
            return send_error(400, "BadRequestError", "This model's maximum context length is 9 tokens.")
        scores = [1000.0 if text == self.favourite else share_pairs(question, text) for text in texts]
        return send_scores(scores[: body["top_n"]])


def send_scores(scores: Sequence[object]) -> Answer:
    rows = [{"index": at, "relevance_score": score, "document": {"text": "…"}} for at, score in enumerate(scores)]
    rows.sort(key=lambda row: str(row["relevance_score"]))
    return send_json({"id": "rerank-1", "model": MODEL, "usage": {"total_tokens": 1}, "results": rows})


@contextmanager
def serve_reranks() -> Iterator[RerankServer]:
    server = RerankServer()
    server.start()
    try:
        yield server
    finally:
        server.stop()
