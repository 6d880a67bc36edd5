"""The weights in a model's folder: which files they are, and whether they are there at all."""

from __future__ import annotations

from pathlib import Path

WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
POINTER = b"version https://git-lfs"


def list_weights(folder: Path) -> list[Path]:
    found = {path for pattern in WEIGHTS for path in folder.glob(pattern)}
    return sorted(path for path in found if path.is_file())


def find_weights_fault(folder: Path) -> str | None:
    """Why nothing can be loaded from `folder`, None when there are weights in it."""
    weights = list_weights(folder)
    if not weights:
        return f"{folder} holds no weights"
    for path in weights:
        with path.open("rb") as file:
            if file.read(len(POINTER)) == POINTER:
                return f"{path} is a Git LFS pointer, not weights"
    return None
