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

from ingest.encoders.model_faults import find_transformer
from ingest.encoders.model_folder import check_model_folder, choose_instruction, fingerprint_folder, say_unavailable
from ingest.encoders.openvino_model import compile_transformer
from kb.model_weights import list_weights, read_header
from kb.processor import batch_by_length, choose_budget, choose_device, choose_dtype, pad_rows, quiet_openmp
from kb.text import replace_surrogates
from kb.types import Counts, Offsets, Vectors

SLICE = 1 << 12  # characters tokenised in one go when counting
FALLBACK_LENGTH = 512
PLAIN = frozenset({"bert", "roberta", "xlm-roberta"})
PROBE = "a"


@dataclass(frozen=True, kw_only=True, slots=True)
class EncoderSettings:
    """How a model is run. `auto` takes the GPU if there is one, and bf16 where the processor computes in it.

    `batch_tokens` counts padding. On a CPU small batches win, since what a layer gives stays in the cache: with 1,024
    tokens 10 % faster than with 2,048, with fewer no faster. A GPU needs enough to be busy.
    """

    backend: str = "torch"  # or openvino, on the CPU
    device: str = "auto"
    dtype: str = "auto"  # or float32, bfloat16, float16
    batch_tokens: int | None = None  # 1,024 on a CPU, 16,384 on a GPU


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
    converted = settings.backend == "openvino"
    device = "cpu" if converted else choose_device(settings.device)
    dtype = choose_dtype(device) if settings.dtype == "auto" else settings.dtype
    try:
        model = SentenceTransformer(str(folder), device=device, local_files_only=True, trust_remote_code=False)
        model = model.to(torch.float32 if converted else getattr(torch, dtype)).eval()
    except (OSError, ValueError, KeyError, TypeError, RuntimeError, SafetensorError) as error:
        raise say_unavailable(name, f"{folder} cannot be loaded ({type(error).__name__})") from error
    check_filled(name, folder, model[0].auto_model)
    budget = settings.batch_tokens or choose_budget(device)
    encoder = SentenceTransformerEncoder(model=model, name=name, folder=folder, batch_tokens=budget)
    if converted:
        convert_transformer(name, model, dtype)
    encoder.embed_texts([PROBE])  # weights that are no numbers are said now, not by the first document
    return encoder


def convert_transformer(name: str, model: Any, dtype: str) -> None:  # noqa: ANN401  untyped there
    """Let OpenVINO compute what the transformer of `model` did. Raises Unavailable (`embedding_unavailable`)."""
    import torch

    class Traceable(torch.nn.Module):
        def __init__(self, transformer: torch.nn.Module) -> None:
            super().__init__()
            self.transformer = transformer

        def forward(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
            found: torch.Tensor = self.transformer(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return found

    mask = torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0]])
    example = {"input_ids": torch.full_like(mask, model.tokenizer.unk_token_id or 0), "attention_mask": mask}
    try:
        compiled = compile_transformer(Traceable(model[0].auto_model), example, dtype)
    except ImportError as error:
        raise say_unavailable(
            name, "needs `pip install 'kb-server[bge,openvino]'`, or KB_ENCODER_BACKEND=torch"
        ) from error
    except RuntimeError as error:
        raise say_unavailable(name, f"OpenVINO cannot convert it ({type(error).__name__})") from error

    def forward(features: dict[str, Any], **_: object) -> dict[str, Any]:
        vectors = compiled.run({key: features[key].numpy() for key in example})
        return {**features, "token_embeddings": torch.from_numpy(vectors)}

    model[0].forward = forward
    model[0].auto_model.to("meta")  # gives its memory back


def check_filled(name: str, folder: Path, transformer: Any) -> None:  # noqa: ANN401  untyped there
    """Raises Unavailable when a part of the model is not among the weights: it would be random numbers, anew each time.

    For the architectures of bge, whose tensors are called in the file as in the model; others may be converted.
    """
    weights = list_weights(folder / find_transformer(folder))
    if transformer.config.model_type not in PLAIN or any(path.suffix != ".safetensors" for path in weights):
        return
    kept = {tensor for path in weights for tensor in read_header(path)[1]}
    kept = {tensor.removeprefix(f"{transformer.base_model_prefix}.") for tensor in kept}
    kept |= {tensor.replace("LayerNorm.gamma", "LayerNorm.weight") for tensor in kept}
    kept |= {tensor.replace("LayerNorm.beta", "LayerNorm.bias") for tensor in kept}
    lost = sorted(part for part, _ in transformer.named_parameters() if part not in kept and "pooler" not in part)
    if lost:
        raise say_unavailable(name, f"the weights in {folder} lack {len(lost)} tensors, {lost[0]} among them")


class SentenceTransformerEncoder:
    """`kb.ports.Encoder`. Thread-safe: the tokenizer, which is not, is used under a lock; the model is only read."""

    lexical_leads = False

    def __init__(self, *, model: Any, name: str, folder: Path, batch_tokens: int) -> None:  # noqa: ANN401  untyped there
        self.name = name
        self._model = model
        self._device = model.device
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
            key: torch.tensor(pad_rows(ids, filling.get(key, 0)), device=self._device) for key, ids in rows.items()
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
