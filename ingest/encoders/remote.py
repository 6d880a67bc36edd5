"""An embedding model behind a server of the OpenAI protocol: vLLM, llama-server, Ollama, OpenAI itself.

    clean texts → batches → a few requests in flight → vectors of unit length in the order of the texts

The server has the tokenizer, so that tokens are counted by the estimate of `kb.tokens`, which may be too low for its
window. A text that it does not take is sent by itself, then without its last quarter, again and again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ingest.encoders.builtin import estimate_spans
from ingest.encoders.embedding_answer import Numbers, scale_to_unit
from ingest.encoders.embedding_client import EmbeddingClient
from ingest.encoders.model_folder import choose_by_family
from kb.errors import DocumentFailed
from kb.model_server import TextsRefused
from kb.text import replace_surrogates
from kb.types import Counts, Offsets, Vectors

BATCH_TEXTS = 32  # what text-embeddings-inference takes at most, unless it is told otherwise
BATCH_CHARACTERS = 40_000
IN_FLIGHT = 4
LONGEST_TEXT = 32_000  # characters; no model of ours reads more
CUTS = 12  # times that a quarter is cut off: a thirtieth is left
PROBE = "知识库 knowledge base"

Send = Callable[[Sequence[str]], Vectors]


def open_remote(client: EmbeddingClient) -> RemoteEncoder:
    """Asks the server for one vector. Raises Unavailable (`embedding_unavailable`) when it does not give it."""
    return RemoteEncoder(client=client, dimension=probe_dimension(client))


def probe_dimension(client: EmbeddingClient) -> int:
    try:
        return int(client.embed([PROBE], client.server.for_questions).shape[1])
    except TextsRefused as refusal:
        fault = f"{refusal} to a short text; is KB_EMBEDDING_MODEL an embedding model?"
        raise client.say(fault) from None


class RemoteEncoder:
    """`kb.ports.Encoder`. Thread-safe: it holds no state but the client's."""

    lexical_leads = False
    max_tokens = 512  # the smallest window in use; what a server's own is, no field tells that all of them know

    def __init__(self, *, client: EmbeddingClient, dimension: int) -> None:
        self._client = client
        self.name = client.server.model
        self.dimension = dimension
        self._instruction = choose_by_family(self.name)
        # Where the server is does not count, so that it may be moved.
        told = "\0".join([self.name, str(dimension), self._instruction])
        self.fingerprint = f"http-{hashlib.sha256(told.encode()).hexdigest()[:24]}"

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). What the server does not take of a text is cut off at its end.

        Raises Unavailable (`embedding_unavailable`), DocumentFailed (`embedding_refused`) when it takes nothing of one.
        """
        whole = [clean_text(text) for text in texts]
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        vectors[:, 0] = 1.0  # of texts without a character, which servers refuse
        batches = list(batch_texts(whole))
        try:
            with ThreadPoolExecutor(IN_FLIGHT, thread_name_prefix="embed") as pool:
                found = pool.map(lambda batch: self._embed_batch([whole[at] for at in batch]), batches)
                for batch, part in zip(batches, found, strict=True):
                    vectors[batch] = part
        except TextsRefused as refusal:
            probe_dimension(self._client)  # the text is to blame only while another one is taken
            reason = f"the embedding server {refusal} to a text of this document, however short it was cut"
            raise DocumentFailed("embedding_refused", reason) from None
        return vectors

    def embed_question(self, question: str) -> Vectors:
        try:
            return embed_shortened([clean_text(self._instruction + question)], self._ask_question)
        except TextsRefused as refusal:
            raise self._client.say(f"{refusal} to a question") from None

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        """Equals `kb.tokens.estimate_tokens` of every span."""
        return estimate_spans(text, cuts)

    def _embed_batch(self, texts: Sequence[str]) -> Vectors:
        return embed_shortened(texts, self._ask_texts)

    def _ask_texts(self, texts: Sequence[str]) -> Vectors:
        return self._check(self._client.embed(texts, self._client.server.for_texts))

    def _ask_question(self, texts: Sequence[str]) -> Vectors:
        return self._check(self._client.embed(texts, self._client.server.for_questions))

    def _check(self, vectors: Numbers) -> Vectors:
        if vectors.shape[1] != self.dimension:
            fault = f"sent vectors of dimension {vectors.shape[1]} where it sent {self.dimension} before"
            raise self._client.say(f"{fault}; if it has another model now, restart and re-index")
        try:
            return scale_to_unit(vectors)
        except ValueError as fault:
            raise self._client.say(str(fault)) from None


def embed_shortened(texts: Sequence[str], send: Send) -> Vectors:
    """Halves what is refused until the text at fault is alone, and shortens that one. Raises TextsRefused."""
    try:
        return send(texts)
    except TextsRefused as refusal:
        if len(texts) == 1:
            return _embed_cut(texts[0], send, refusal)
    half = len(texts) // 2
    return np.concatenate([embed_shortened(texts[:half], send), embed_shortened(texts[half:], send)])


def _embed_cut(text: str, send: Send, refusal: TextsRefused) -> Vectors:
    for _ in range(CUTS):
        text = text[: len(text) * 3 // 4].rstrip()
        if not text:
            break
        try:
            return send([text])
        except TextsRefused as again:
            refusal = again
    raise refusal


def clean_text(text: str) -> str:
    return replace_surrogates(text).strip()[:LONGEST_TEXT]


def batch_texts(texts: Sequence[str]) -> Iterator[list[int]]:
    """Indexes of the texts that are not empty, in runs that one request may hold."""
    batch: list[int] = []
    size = 0
    for index, text in enumerate(texts):
        if not text:
            continue
        if batch and (len(batch) == BATCH_TEXTS or size + len(text) > BATCH_CHARACTERS):
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += len(text)
    if batch:
        yield batch
