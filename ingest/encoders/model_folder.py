"""A model's folder: where it is found, whether it can be trusted, what it is called inside. Imports no model library.

A folder is refused rather than guessed at: without `modules.json` sentence-transformers would pool by the mean and not
normalise, and the vectors would be wrong without an error.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ingest.encoders.model_faults import find_fault
from kb.errors import Unavailable
from kb.model_weights import list_weights

CHINESE_INSTRUCTION = "为这个句子生成表示以用于检索相关文章："
ENGLISH_INSTRUCTION = "Represent this sentence for searching relevant passages: "
FAMILY = re.compile(r"bge-(?:small|base|large)-(zh|en)")
INSTRUCTIONS = {"zh": CHINESE_INSTRUCTION, "en": ENGLISH_INSTRUCTION}

HUB_NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")

# Files that shape the vectors without being weights.
SHAPING = ("*.json", "*.txt", "*.model", "*/config.json")
# ModelScope's own description of a model: with it the same model would have two fingerprints.
NEUTRAL = frozenset({"configuration.json"})
SAMPLES, SAMPLE = 32, 1 << 16


def say_unavailable(name: str, reason: str) -> Unavailable:
    fetch = f"fetch it with `kb models pull {name}`, " if HUB_NAME.fullmatch(name) else ""
    way_out = (
        f"{fetch}put its folder on this machine and name that folder, set KB_EMBEDDING to the server that runs it, "
        "or use the embedding model `builtin`"
    )
    return Unavailable("embedding_unavailable", f"embedding model {name!r}: {reason}; {way_out}")


def find_model_folder(name: str, folders: Sequence[Path]) -> Path:
    """The folder of model `name`: itself a folder, below one of `folders`, or in the Hugging Face cache.

    Never asks the network. Raises Unavailable (`embedding_unavailable`).
    """
    # ModelScope writes a dot in a model's name as three underscores.
    below = [folder / spelling for folder in folders for spelling in (name, name.replace(".", "___"))]
    for folder in (Path(name), *below):
        if name and folder.is_dir():
            return folder
    try:  # comes with the `bge` extra, which not every server has
        from huggingface_hub import snapshot_download
        from huggingface_hub.errors import HFValidationError, LocalEntryNotFoundError
    except ImportError as error:
        raise say_unavailable(name, "no such folder, and `pip install 'kb-server[bge]'` was not run") from error
    try:
        return Path(snapshot_download(name, local_files_only=True))
    except LocalEntryNotFoundError as error:
        raise say_unavailable(name, "not on this machine") from error
    except HFValidationError as error:
        raise say_unavailable(name, "neither a folder nor a model's name") from error


def find_cache() -> Path | None:
    """The Hugging Face cache; None without the library that would look there."""
    try:
        from huggingface_hub.constants import HF_HUB_CACHE
    except ImportError:
        return None
    return Path(HF_HUB_CACHE)


def check_model_folder(name: str, folder: Path) -> None:
    """Raises Unavailable (`embedding_unavailable`) when `folder` would embed wrongly or not at all."""
    fault = find_fault(folder, (name,))
    if fault is not None:
        raise say_unavailable(name, fault)


def read_json(name: str, path: Path) -> Any:  # noqa: ANN401  what JSON gives
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise say_unavailable(name, f"{path} cannot be read") from error


def choose_instruction(name: str, folder: Path) -> str:
    """What goes before a question: the folder's own `query` prompt, else by the model's family; often nothing."""
    told = folder / "config_sentence_transformers.json"
    if told.is_file():
        config = read_json(name, told)
        prompts = config.get("prompts") if isinstance(config, dict) else None
        if isinstance(prompts, dict) and prompts.get("query"):
            return str(prompts["query"])
    return choose_by_family(name, folder.name)


def choose_by_family(*names: str) -> str:
    """What goes before a question to a model of one of these names, as far as a name tells."""
    found = (FAMILY.search(name.lower()) for name in names)
    return next((INSTRUCTIONS[family[1]] for family in found if family), "")


def fingerprint_folder(folder: Path, instruction: str) -> str:
    """Hash of what shapes the vectors: configuration and vocabulary whole, of weights the sizes and samples of bytes.

    Where the folder lies does not count, so that a model may be moved.
    """
    digest = hashlib.sha256(instruction.encode())
    shaping = {path for pattern in SHAPING for path in folder.glob(pattern) if path.name not in NEUTRAL}
    for path in sorted(path for path in shaping if path.is_file()):
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0".encode())
        digest.update(path.read_bytes())
    for path in sorted({*list_weights(folder), *(found for part in folder.iterdir() for found in list_weights(part))}):
        size = path.stat().st_size
        digest.update(f"\0{path.relative_to(folder).as_posix()}\0{size}\0".encode())
        with path.open("rb") as file:
            for sample in range(SAMPLES):
                file.seek(max(0, size - SAMPLE) * sample // (SAMPLES - 1))
                digest.update(file.read(SAMPLE))
    return f"st-{digest.hexdigest()[:24]}"
