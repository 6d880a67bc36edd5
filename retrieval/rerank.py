"""The reranker: a seam, and its implementation that runs a cross-encoder such as bge-reranker from a local folder.

A reranker reads the question and one text together, which an index cannot. The only door to torch and
sentence-transformers in `retrieval`; both are imported when the first question comes.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from kb.errors import Unavailable
from kb.model_weights import find_weights_fault
from kb.processor import batch_by_length, choose_device, choose_dtype, pad_rows, quiet_openmp
from kb.text import replace_surrogates

FALLBACK_LENGTH = 512
LONGEST_TOKEN = 16  # characters; ordinary text has 5 or fewer a token
SHAPE = "ForSequenceClassification"

Scores = NDArray[np.float64]


class Reranker(Protocol):
    """Says how well each text answers a question. Thread-safe."""

    @property
    def name(self) -> str: ...

    def score_texts(self, question: str, texts: Sequence[str]) -> Scores:
        """One number a text, in their order: finite, higher is nearer; numbers of two questions cannot be compared. Of
        question and text together only as much is read as the model takes.

        Raises Unavailable (`reranker_unavailable`).
        """
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class RerankerSettings:
    """How a model is run. `auto` takes the GPU if there is one, and bf16 where the processor computes in it."""

    device: str = "auto"
    dtype: str = "auto"  # or float32, bfloat16, float16
    batch_tokens: int = 2048  # padding included; small batches win on a CPU


def say_unavailable(name: str, reason: str) -> Unavailable:
    way_out = (
        f"put its folder on this machine and set KB_RERANKER to that folder, run `kb models pull {name}` where the "
        "network is, set KB_RERANKER to the server that runs it, or unset KB_RERANKER"
    )
    return Unavailable("reranker_unavailable", f"reranker {name!r}: {reason}; {way_out}")


class LocalReranker:
    """The model called `name`, loaded once, by the first question. A failure is not remembered: it may come later.

    `find_folder` says where the model of a name lies; it raises Unavailable when it is not on this machine.
    """

    def __init__(self, name: str, find_folder: Callable[[str], Path], settings: RerankerSettings | None = None) -> None:
        self.name = name
        self._find_folder = find_folder
        self._settings = settings or RerankerSettings()
        self._loading = Lock()
        self._model: CrossEncoderModel | None = None

    def score_texts(self, question: str, texts: Sequence[str]) -> Scores:
        return self._get_model().score_texts(question, texts) if texts else np.zeros(0)

    def close(self) -> None:
        """Nothing to give back."""

    def _get_model(self) -> CrossEncoderModel:
        with self._loading:
            if self._model is None:
                try:
                    folder = self._find_folder(self.name)
                except Unavailable:
                    reason = "no such folder, and it is not in the Hugging Face cache of this machine"
                    raise say_unavailable(self.name, reason) from None
                self._model = load_cross_encoder(self.name, folder, self._settings)
            return self._model


def check_reranker_folder(name: str, folder: Path) -> None:
    """Raises Unavailable (`reranker_unavailable`) when `folder` holds no weights, or those of something else.

    An embedding model would be given a head of random numbers, and every score would be noise without an error.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise say_unavailable(name, f"{folder / 'config.json'} cannot be read") from error
    told = config.get("architectures") if isinstance(config, dict) else None
    shapes = [str(shape) for shape in told] if isinstance(told, list) else []
    labels = config.get("id2label", {"0": ""}) if isinstance(config, dict) else {}
    if not shapes or not shapes[0].endswith(SHAPE) or not isinstance(labels, dict) or len(labels) != 1:
        reason = f"{folder} is of the architecture {', '.join(shapes) or 'unknown'} with {len(labels)} labels"
        raise say_unavailable(name, f"{reason}, a reranker is a …{SHAPE} with one")
    if (fault := find_weights_fault(folder)) is not None:
        raise say_unavailable(name, fault)


def load_cross_encoder(name: str, folder: Path, settings: RerankerSettings) -> CrossEncoderModel:
    """The model in `folder`, called `name`.

    Raises Unavailable (`reranker_unavailable`): at once when the folder will not do.
    """
    check_reranker_folder(name, folder)
    quiet_openmp()
    try:
        import torch
        from safetensors import SafetensorError
        from sentence_transformers import CrossEncoder
        from transformers.utils import logging
    except ImportError as error:
        raise say_unavailable(name, "needs `pip install 'kb-server[bge]'`") from error
    logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    device = choose_device(settings.device)
    dtype = choose_dtype(device) if settings.dtype == "auto" else settings.dtype
    try:
        model = CrossEncoder(str(folder), device=device, local_files_only=True, trust_remote_code=False)
        model = model.to(getattr(torch, dtype)).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise say_unavailable(name, f"{folder} cannot be loaded ({type(error).__name__})") from error
    return CrossEncoderModel(model=model, name=name, batch_tokens=settings.batch_tokens)


class CrossEncoderModel:
    """`Reranker`. Thread-safe: the tokenizer, which is not, is used under a lock; the model is only read."""

    def __init__(self, *, model: Any, name: str, batch_tokens: int) -> None:  # noqa: ANN401  untyped there
        self.name = name
        self._model = model
        self._tokenizer = model.tokenizer
        self._length = int(min(model.max_seq_length or FALLBACK_LENGTH, self._tokenizer.model_max_length))
        self._lock = Lock()
        self._batch_tokens = batch_tokens

    def score_texts(self, question: str, texts: Sequence[str]) -> Scores:
        tokens = self._tokenise(question, texts)
        lengths = [len(ids) for ids in tokens["input_ids"]]
        scores = np.zeros(len(texts))
        for batch in batch_by_length(lengths, self._batch_tokens):
            scores[batch] = self._run_model({key: [rows[at] for at in batch] for key, rows in tokens.items()})
        if not np.isfinite(scores).all():
            raise say_unavailable(self.name, "the model gave scores that are no numbers")
        return scores

    def _tokenise(self, question: str, texts: Sequence[str]) -> dict[str, list[list[int]]]:
        """Pairs cut to the model's length, token by token at the longer of the two.

        What is far beyond it is cut before: the tokenizer makes a piece of all that it cuts off, and then every pair of
        pieces of two long texts, which took it minutes.
        """
        longest = LONGEST_TOKEN * self._length
        questions = [replace_surrogates(question[:longest])] * len(texts)
        whole = [replace_surrogates(text[:longest]) for text in texts]
        with self._lock:
            tokens = self._tokenizer(
                questions, whole, truncation="longest_first", max_length=self._length, padding=False
            )
        return {key: tokens[key] for key in self._tokenizer.model_input_names if key in tokens}

    def _run_model(self, rows: dict[str, list[list[int]]]) -> Scores:
        import torch

        filling = {"input_ids": self._tokenizer.pad_token_id or 0}
        features = {
            key: torch.tensor(pad_rows(ids, filling.get(key, 0)), device=self._model.device)
            for key, ids in rows.items()
        }
        try:
            with torch.inference_mode():
                found = self._model.activation_fn(self._model(features)["scores"].float())
        except RuntimeError as error:  # out of memory, a lost device
            raise say_unavailable(self.name, f"the model failed ({type(error).__name__})") from error
        scores: Scores = found.reshape(-1).cpu().numpy().astype(np.float64)
        return scores
