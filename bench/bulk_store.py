"""A store of many chunks, written straight into the catalog's tables: uploading a million would take an hour.

Documents are half Chinese, half English, of sentences that somebody wrote, drawn at random. Vectors are drawn around
2,000 centres, so that each has some hundred neighbours that are nearly alike: that is harder than what models give.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import random
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert, update
from texts import Texts, find_data

from api.bootstrap.store import Store
from kb.catalog import tables as t

NAME = "bulk"  # of the knowledge base
DIMENSION = 512
CENTRES = 2_000
SPREAD = 0.8  # of a row around its centre, in lengths
QUESTION_SPREAD = 0.6  # of a question around the row it asks for
CHUNKS_A_DOCUMENT = 20
DOCUMENTS_A_BATCH = 500
CHINESE_CHARACTERS, ENGLISH_CHARACTERS = 150, 400  # of a chunk, about 100 tokens of `builtin`
ENGLISH = re.compile(r"[A-Z][^.!?\n]{30,250}[.!?](?= |\n|$)")
SEED = 11

Rows = NDArray[np.float32]


@dataclass(frozen=True, kw_only=True, slots=True)
class Bulk:
    """`texts` and `vectors` of the chunks, by chunk id − 1; `vectors` has shape (n, DIMENSION), float16."""

    kb_id: str
    document_ids: Sequence[str]
    texts: Sequence[str]
    vectors: NDArray[np.float16]


def unit(rows: Rows) -> Rows:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


def draw(source: np.random.Generator, count: int) -> Rows:
    """Rows whose length is about 1."""
    return source.normal(size=(count, DIMENSION)).astype(np.float32) / np.sqrt(DIMENSION, dtype=np.float32)


def make_vectors(count: int) -> NDArray[np.float16]:
    source = np.random.default_rng(SEED)
    centres = draw(source, CENTRES)
    vectors = np.empty((count, DIMENSION), dtype=np.float16)
    for start in range(0, count, 50_000):
        size = min(50_000, count - start)
        rows = centres[source.integers(0, CENTRES, size)] + SPREAD * draw(source, size)
        vectors[start : start + size] = unit(rows).astype(np.float16)
    return vectors


def make_questions(bulk: Bulk, count: int) -> tuple[list[str], Rows]:
    """Stretches of chunks, and vectors near those chunks' own."""
    chosen = random.Random(SEED).sample(range(len(bulk.texts)), count)
    texts = [bulk.texts[i][4:60].strip() if bulk.texts[i].isascii() else bulk.texts[i][4:24] for i in chosen]
    near = bulk.vectors[chosen].astype(np.float32)
    return texts, unit(near + QUESTION_SPREAD * draw(np.random.default_rng(SEED + 1), count))


def read_english() -> list[str]:
    found: list[str] = []
    for path in sorted((find_data() / "qa").glob("*_en.corpus.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [sentence for line in lines for sentence in ENGLISH.findall(json.loads(line)["text"])]
    return found or [f"This is sentence {i} about matter {i * 7919 % 4096} of the archive." for i in range(20_000)]


def iter_documents(count: int) -> Iterator[list[str]]:
    """The chunks of each document; their joined text is the document's."""
    chinese, english, source = Texts(SEED), read_english(), random.Random(SEED)
    for number in range(count):
        if number % 2:
            yield [_draw_sentences(source, english, ENGLISH_CHARACTERS) for _ in range(CHUNKS_A_DOCUMENT)]
        else:
            text = chinese.make_document(CHINESE_CHARACTERS * CHUNKS_A_DOCUMENT)
            starts = range(0, len(text), CHINESE_CHARACTERS)
            yield [text[start : start + CHINESE_CHARACTERS] for start in starts][:CHUNKS_A_DOCUMENT]


def _draw_sentences(source: random.Random, sentences: Sequence[str], characters: int) -> str:
    text = ""
    while len(text) < characters:
        text += source.choice(sentences) + " "
    return text


def fill_store(store: Store, name: str, count: int) -> Bulk:
    """A knowledge base of the `builtin` model with `count` chunks at revision 1."""
    kb = store.create_knowledge_base(name, embedding_model="builtin")
    head = store.catalog.feed.get_head(kb.id)
    vectors, texts, ids = make_vectors(count), [], []
    batch: list[tuple[str, list[str]]] = []
    documents = count // CHUNKS_A_DOCUMENT
    for number, chunks in enumerate(iter_documents(documents), 1):
        batch.append((f"{number:032x}", chunks))
        if len(batch) == DOCUMENTS_A_BATCH or number == documents:
            first = len(texts) + 1
            texts += [chunk for _, parts in batch for chunk in parts]
            ids += [document for document, _ in batch]
            _write_batch(store, (kb.id, head.space_id, first), batch, vectors)
            batch = []
    now = datetime.now(UTC)
    row = {"kb_id": kb.id, "number": 1, "space_id": head.space_id, "created_at": now, "added": documents,
           "changed": 0, "removed": 0}  # fmt: skip
    with store.catalog.database.write() as connection:
        connection.execute(insert(t.revision), row)
        connection.execute(update(t.knowledge_base).where(t.knowledge_base.c.id == kb.id).values(head_revision=1))
    return Bulk(kb_id=kb.id, document_ids=ids, texts=texts, vectors=vectors)


def _write_batch(
    store: Store, keys: tuple[str, int, int], batch: list[tuple[str, list[str]]], vectors: NDArray[np.float16]
) -> None:
    kb_id, space_id, chunk_id = keys
    now, first_version = datetime.now(UTC), (chunk_id - 1) // CHUNKS_A_DOCUMENT + 1
    rows: dict[str, list[dict[str, Any]]] = {
        "document": [],
        "version": [],
        "publication": [],
        "chunk": [],
        "vector": [],
    }
    for version_id, (document_id, chunks) in enumerate(batch, first_version):
        text_sha = _write_text(store, "".join(chunks))
        path = f"archive/{version_id // 1000:04}/{version_id:07}.txt"
        rows["document"].append({"id": document_id, "kb_id": kb_id, "path": path, "created_at": now})
        rows["version"].append(
            {"id": version_id, "document_id": document_id, "number": 1, "job_id": "bulk", "sha256": text_sha,
             "text_sha": text_sha, "size": 1, "media_type": "text/plain", "title": None, "language": "zh",
             "encoding": "utf-8", "pages": 1, "coverage": 1.0, "ledger": [], "headings": [], "metadata": {},
             "chunk_count": len(chunks), "state": "published", "created_at": now, "updated_at": now}
        )  # fmt: skip
        rows["publication"].append({"version_id": version_id, "document_id": document_id, "since_revision": 1})
        start = 0
        for ordinal, chunk in enumerate(chunks):
            sha = hashlib.sha256(f"{chunk_id}".encode()).hexdigest()
            rows["chunk"].append(
                {"id": chunk_id, "space_id": space_id, "version_id": version_id, "ordinal": ordinal, "start": start,
                 "end": start + len(chunk), "page_start": 1, "page_end": 1, "heading": None, "tokens": 100,
                 "input_sha": sha}
            )  # fmt: skip
            value = vectors[chunk_id - 1].astype("<f2").tobytes()
            rows["vector"].append({"space_id": space_id, "input_sha": sha, "value": value})
            start, chunk_id = start + len(chunk), chunk_id + 1
    with store.catalog.database.write() as connection:
        for name, values in rows.items():
            connection.execute(insert(getattr(t, name)), values)


def _write_text(store: Store, text: str) -> str:
    """Without the fsync that an upload waits for."""
    data = text.encode()
    sha = hashlib.sha256(data).hexdigest()
    path: Path = store.texts.blobs.path(sha)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    return sha
