"""The weights in a model's folder: which files they are, and whether they are whole. Imports no model library."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
POINTER = b"version https://git-lfs"
LONGEST_HEADER = 100_000_000  # bytes; safetensors' own limit


def list_weights(folder: Path) -> list[Path]:
    """The weights that are loaded: of a model in both forms the safetensors alone."""
    for pattern in WEIGHTS:
        found = sorted(path for path in folder.glob(pattern) if path.is_file())
        if found:
            return found
    return []


def find_weights_fault(folder: Path) -> str | None:
    """Why nothing can be loaded from `folder`, None when there are whole weights in it."""
    weights = list_weights(folder)
    missing = _list_missing_parts(folder)
    if not weights or missing:
        return f"{folder} lacks a part of the weights: {missing[0]}" if missing else f"{folder} holds no weights"
    for path in weights:
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return f"{path} is a Git LFS pointer, not weights"
        if path.suffix == ".safetensors" and not _is_whole(path):
            return f"{path} is cut short or damaged"
    return None


def _list_missing_parts(module: Path) -> list[str]:
    parts = read_object(module / "model.safetensors.index.json").get("weight_map")
    named = sorted({str(part) for part in parts.values()}) if isinstance(parts, dict) else []
    return [part for part in named if not (module / part).is_file()]


def _is_whole(path: Path) -> bool:
    """Whether a safetensors file is as long as its header says."""
    length, tensors = read_header(path)
    try:
        end = max(int(tensor["data_offsets"][1]) for tensor in tensors.values())
    except (TypeError, ValueError, KeyError, IndexError):
        return False
    return path.stat().st_size == 8 + length + end


def read_header(path: Path) -> tuple[int, dict[str, Any]]:
    """How long a safetensors file's header is, and its tensors by name; none when there is no header."""
    with path.open("rb") as file:
        start = file.read(8)
        length = struct.unpack("<Q", start)[0] if len(start) == 8 else LONGEST_HEADER
        found = parse_json(file.read(length)) if length < LONGEST_HEADER else None
    tensors = found if isinstance(found, dict) else {}
    return length, {name: tensor for name, tensor in tensors.items() if name != "__metadata__"}


def read_object(path: Path) -> dict[str, Any]:
    """The JSON object in `path`; empty when there is none."""
    found = read_json_or_none(path)
    return found if isinstance(found, dict) else {}


def read_json_or_none(path: Path) -> Any:  # noqa: ANN401  what JSON gives
    try:
        return parse_json(path.read_bytes())
    except OSError:
        return None


def parse_json(content: bytes) -> Any:  # noqa: ANN401  what JSON gives
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        return None
