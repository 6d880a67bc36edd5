"""What is wrong with a model's folder, found before any model library is imported.

Two halves: `find_shape_fault` looks at the small files, so that a download can be refused before its gigabytes;
`kb.model_weights` at the weights, by their headers alone.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any

from kb.model_weights import find_weights_fault, read_json_or_none, read_object

TOKENIZERS = ("tokenizer.json", "vocab.txt", "vocab.json", "sentencepiece.bpe.model", "spiece.model", "tokenizer.model")
# Trained with the vector of the first token, made unit length: whatever else a folder of theirs says is wrong.
FIRST_TOKEN = re.compile(r"\bbge-(?:small|base|large|m3)\b")


class ModelUse(StrEnum):
    """What a folder is for."""

    EMBEDDING = "embedding"
    RERANKING = "reranking"


def find_use(folder: Path) -> ModelUse:
    """`reranking` for a classifier that describes no pooling; anything else is meant to embed."""
    config = read_object(folder / "config.json")
    kinds = config.get("architectures")
    classifies = isinstance(kinds, list) and any(str(kind).endswith("ForSequenceClassification") for kind in kinds)
    return ModelUse.RERANKING if classifies and not (folder / "modules.json").is_file() else ModelUse.EMBEDDING


def find_fault(folder: Path, names: Sequence[str] = ()) -> str | None:
    """Why the model in `folder`, known under `names` besides the folder's, cannot be used, or would be used wrongly."""
    return find_shape_fault(folder, names) or find_weights_fault(folder / find_transformer(folder))


def find_shape_fault(folder: Path, names: Sequence[str] = ()) -> str | None:
    if find_use(folder) is ModelUse.EMBEDDING:
        fault = _find_pooling_fault(folder, (*names, folder.name))
        if fault is not None:
            return fault
    transformer = folder / find_transformer(folder)
    if not read_object(transformer / "config.json"):
        return f"{folder} has no config.json that can be read"
    if not any((transformer / name).is_file() for name in TOKENIZERS):
        return f"{folder} holds no tokenizer"
    return None


def _find_pooling_fault(folder: Path, names: Sequence[str]) -> str | None:
    if not (folder / "modules.json").is_file():
        return f"{folder} has no modules.json, so that its pooling would be guessed"
    modules = read_modules(folder)
    if not modules:
        return f"{folder / 'modules.json'} cannot be read"
    pooling = read_pooling(folder)
    if not pooling:
        return f"{folder} describes no pooling"
    if not any(FIRST_TOKEN.search(name.lower().replace("___", ".")) for name in names):
        return None
    modes = list_pooling_modes(pooling)
    if modes != ["cls"]:
        return f"{folder} pools by {' and '.join(modes)}, which bge models do not: by the first token (cls)"
    if not any(str(module.get("type", "")).endswith("Normalize") for module in modules):
        return f"{folder} names no Normalize in modules.json, which bge models have"
    return None


def find_transformer(folder: Path) -> str:
    """The place within `folder` of what turns tokens into vectors: nearly always the folder itself."""
    modules = read_modules(folder)
    return str(modules[0].get("path", "")) if modules else ""


def read_modules(folder: Path) -> list[dict[str, Any]]:
    modules = read_json_or_none(folder / "modules.json")
    return [module for module in modules if isinstance(module, dict)] if isinstance(modules, list) else []


def read_pooling(folder: Path) -> dict[str, Any]:
    """The configuration of the pooling; empty when there is none."""
    found: Iterable[dict[str, Any]] = (
        read_object(folder / str(module.get("path", "")) / "config.json")
        for module in read_modules(folder)
        if str(module.get("type", "")).endswith("Pooling")
    )
    return next(iter(found), {})


def list_pooling_modes(pooling: dict[str, Any]) -> list[str]:
    """`cls`, `mean` …, in either way of writing them; the mean when nothing is said, as in sentence-transformers."""
    told = pooling.get("pooling_mode")
    if told is not None:
        return [str(mode) for mode in told] if isinstance(told, list) else [str(told)]
    marked = [name for name, on in pooling.items() if name.startswith("pooling_mode_") and on]
    return [name.removeprefix("pooling_mode_").removesuffix("_tokens").removesuffix("_token") for name in marked] or [
        "mean"
    ]
