"""A bge model, or any other that sentence-transformers can load, from a folder on this machine.

The encoders' only door to torch and sentence-transformers. Both are imported at the first load: they cost seconds and
half a gigabyte.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import deepcopy
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ingest.encoders.model_folder import check_model_folder, choose_instruction, fingerprint_folder, say_unavailable
from kb.processor import batch_by_length, choose_device, choose_dtype, pad_rows, quiet_openmp
from kb.text import replace_surrogates
from kb.types import Counts, Offsets, Vectors

SLICE = 1 << 12  # characters tokenised in one go when counting
FALLBACK_LENGTH = 512


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """How a model is run. `auto` takes the GPU if there is one, and bf16 where the processor computes in it."""

    device: str = "auto"
    dtype: str = "auto"  # or float32, bfloat16, float16
    batch_tokens: int = 2048  # padding included; small batches win on a CPU


def load_sentence_transformer(name: str, folder: Path, settings: EncoderSettings) -> SentenceTransformerEncoder:
    """The model in `folder`, called `name`.

    Raises Unavailable (`embedding_unavailable`): at once when the folder will not do.
    """
    check_model_folder(name, folder)
    quiet_openmp()
    try:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import SentenceTransformer
        from transformers.utils import logging
    except ImportError as error:
        raise say_unavailable(name, "needs `pip install 'kb-server[bge]'`") from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    device = choose_device(settings.device)
    dtype = choose_dtype(device) if settings.dtype == "auto" else settings.dtype
    try:
        model = SentenceTransformer(str(folder), device=device, local_files_only=True, trust_remote_code=False)
        model = model.to(getattr(torch, dtype)).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise say_unavailable(name, f"{folder} cannot be loaded ({type(error).__name__})") from error
    return SentenceTransformerEncoder(model=model, name=name, folder=folder, batch_tokens=settings.batch_tokens)


class SentenceTransformerEncoder:
    """`kb.ports.Encoder`. Thread-safe: the tokenizer, which is not, is used under a lock; the model is only read."""

    lexical_leads = False

    def __init__(self, *, model: Any, name: str, folder: Path, batch_tokens: int) -> None:  # noqa: ANN401  untyped there
        self.name = name
        self._model = model
        self._tokenizer = model.tokenizer
        self._counting = copy_backend(model.tokenizer)
        self._lock = Lock()
        self._batch_tokens = batch_tokens
        self._instruction = choose_instruction(name, folder)
        self._length = int(min(model.max_seq_length or FALLBACK_LENGTH, self._tokenizer.model_max_length))
        self.dimension = int(model.get_embedding_dimension())
        self.max_tokens = self._length - int(self._tokenizer.num_special_tokens_to_add())
        self.fingerprint = fingerprint_folder(folder, self._instruction)

    def embed_texts(self, texts: Sequence[str]) -> Vectors:
        """Shape (len(texts), dimension). Longer texts than `max_tokens` are cut off there."""
        vectors = np.zeros((len(texts), self.dimension), dtype=np.float32)
        if texts:
            tokens = self._tokenise(texts)
            lengths = [len(ids) for ids in tokens["input_ids"]]
            for batch in batch_by_length(lengths, self._batch_tokens):
                vectors[batch] = self._run_model({key: [rows[at] for at in batch] for key, rows in tokens.items()})
        return vectors

    def embed_question(self, question: str) -> Vectors:
        return self.embed_texts([self._instruction + question])

    def count_spans(self, text: str, cuts: Offsets) -> Counts:
        """Tokenises `text` once, in slices that depend on the text alone, so that spans add up however it is cut."""
        edges = slice_text(text)
        parts = [replace_surrogates(text[first:last]) for first, last in pairwise(edges)]
        places = np.asarray(cuts, dtype=np.int64)
        if not parts or len(places) < 2:
            return np.zeros(max(0, len(places) - 1))
        found = self._counting.encode_batch(parts, add_special_tokens=False)
        starts = np.concatenate([read_starts(one) + edge for edge, one in zip(edges, found, strict=False)])
        before = np.searchsorted(np.sort(starts), places)
        before[0], before[-1] = 0, len(starts)
        return np.diff(before).astype(np.float64)

    def _tokenise(self, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        whole = [replace_surrogates(text).strip() for text in texts]
        with self._lock:
            tokens = self._tokenizer(whole, truncation=True, max_length=self._length, padding=False)
        return {key: tokens[key] for key in self._tokenizer.model_input_names if key in tokens}

    def _run_model(self, rows: dict[str, list[list[int]]]) -> Vectors:
        import torch

        filling = {"input_ids": self._tokenizer.pad_token_id or 0}
        features = {
            key: torch.tensor(pad_rows(ids, filling.get(key, 0)), device=self._model.device)
            for key, ids in rows.items()
        }
        try:
            with torch.inference_mode():
                found = self._model(features)["sentence_embedding"].float().cpu().numpy()
        except RuntimeError as error:  # out of memory, a lost device
            raise say_unavailable(self.name, f"the model failed ({type(error).__name__})") from error
        norms = np.linalg.norm(found, axis=1, keepdims=True)
        if not np.isfinite(norms).all() or (norms == 0).any():
            raise say_unavailable(self.name, "the model gave vectors that are no numbers or zero")
        unit: Vectors = (found / norms).astype(np.float32)
        return unit


def copy_backend(tokenizer: Any) -> Any:  # noqa: ANN401  untyped there
    """The tokenizer's compiled part, by itself: never told to cut or pad, so that threads may share it."""
    backend = deepcopy(tokenizer.backend_tokenizer)
    backend.no_truncation()
    backend.no_padding()
    return backend


def read_starts(encoding: Any) -> NDArray[np.int64]:  # noqa: ANN401  untyped there
    """Offset of each token's first character."""
    offsets = encoding.offsets
    return np.fromiter(chain.from_iterable(offsets), dtype=np.int64, count=2 * len(offsets))[::2]


def slice_text(text: str) -> list[int]:
    """Offsets 0 … len(text) about SLICE apart, before white space where there is some near."""
    edges = [0]
    while len(text) - edges[-1] > SLICE:
        goal = edges[-1] + SLICE
        edge = max(text.rfind("\n", goal - SLICE // 2, goal), text.rfind(" ", goal - SLICE // 2, goal))
        edges.append(edge if edge > 0 else goal)
    return [*edges, len(text)] if text else edges
