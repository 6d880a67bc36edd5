"""Which models are on this machine, and which of them would load. Imports no model library, and asks no network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from ingest.encoders.model_faults import (
    ModelUse,
    find_fault,
    find_transformer,
    find_use,
    list_pooling_modes,
    read_modules,
    read_pooling,
)
from kb.model_weights import list_weights, read_object

SPECIAL_POSITIONS = {"xlm-roberta": 2, "roberta": 2, "camembert": 2}  # positions before the first token
UNLIMITED = 1_000_000  # a tokenizer without a limit of its own says about 1e30


@dataclass(frozen=True, kw_only=True, slots=True)
class FoundModel:
    """`fault` is why it cannot be used. `max_tokens` counts the special ones, as model cards do."""

    name: str
    folder: Path
    place: str
    use: ModelUse
    dimension: int | None
    max_tokens: int | None
    bytes: int
    fault: str | None


def list_models(places: Sequence[tuple[str, Path]], cache: Path | None) -> list[FoundModel]:
    """Those below the named `places`, in the order in which they are searched, then those of the Hugging Face cache."""
    found = [describe_model(name, folder, place) for place, root in places for name, folder in iter_models(root)]
    if cache is not None:
        found += [describe_model(name, folder, "Hugging Face cache") for name, folder in iter_cache(cache)]
    return found


def iter_models(root: Path) -> Iterator[tuple[str, Path]]:
    """`owner/name` and the folder of every model that lies two levels below `root`."""
    for config in sorted(root.glob("*/*/config.json")):
        owner, name = config.parent.parts[-2:]
        if not owner.startswith("."):
            yield f"{owner}/{name.replace('___', '.')}", config.parent


def iter_cache(cache: Path) -> Iterator[tuple[str, Path]]:
    """The snapshots that `main` points to, since those are found by a model's name."""
    for branch in sorted(cache.glob("models--*--*/refs/main")):
        owner, _, name = branch.parents[1].name.removeprefix("models--").partition("--")
        snapshot = branch.parents[1] / "snapshots" / branch.read_text(encoding="utf-8").strip()
        if (snapshot / "config.json").is_file():
            yield f"{owner}/{name}", snapshot


def describe_model(name: str, folder: Path, place: str) -> FoundModel:
    use = find_use(folder)
    return FoundModel(
        name=name,
        folder=folder,
        place=place,
        use=use,
        dimension=read_dimension(folder) if use is ModelUse.EMBEDDING else None,
        max_tokens=read_max_tokens(folder),
        bytes=sum(path.stat().st_size for path in list_weights(folder / find_transformer(folder))),
        fault=find_fault(folder, (name,)),
    )


def read_dimension(folder: Path) -> int | None:
    """Of the vectors as they come out of the last module that has a say in it."""
    for module in reversed(read_modules(folder)):
        if str(module.get("type", "")).endswith("Dense"):
            return read_number(read_object(folder / str(module.get("path", "")) / "config.json").get("out_features"))
    pooling = read_pooling(folder)
    width = read_number(pooling.get("embedding_dimension", pooling.get("word_embedding_dimension")))
    return None if width is None else width * len(list_pooling_modes(pooling))


def read_max_tokens(folder: Path) -> int | None:
    """The least of what the pipeline, the tokenizer and the positions of the model allow."""
    transformer = folder / find_transformer(folder)
    config = read_object(transformer / "config.json")
    positions = read_number(config.get("max_position_embeddings"))
    told = [
        read_number(read_object(transformer / "sentence_bert_config.json").get("max_seq_length")),
        read_number(read_object(transformer / "tokenizer_config.json").get("model_max_length")),
        None if positions is None else positions - SPECIAL_POSITIONS.get(str(config.get("model_type")), 0),
    ]
    return min((number for number in told if number is not None), default=None)


def read_number(value: object) -> int | None:
    return int(value) if isinstance(value, int | float) and 0 < value < UNLIMITED else None
