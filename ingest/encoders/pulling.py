"""Fetching a model from a hub into the folder of models, where the encoder finds it. Imports no model library.

    <models>/.pulling/<owner>--<name>/         what has arrived, kept when a pull breaks off
    <models>/.pulling/<owner>--<name>.lock     held while one pull of it runs
    <models>/<owner>/<name>/                   a whole model that would load, moved there in one step

The small files come first and are looked at: a folder that would be refused is refused before its gigabytes.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from errno import EDQUOT, ENOSPC, EROFS
from pathlib import Path, PurePosixPath

from ingest.encoders.hub_client import HubClient, OnBytes, measure
from ingest.encoders.hubs import HubFile, Listing
from ingest.encoders.model_faults import find_fault, find_shape_fault
from ingest.encoders.model_folder import HUB_NAME, NEUTRAL
from kb.blobs import fsync_folder
from kb.errors import Conflict, InvalidInput, Unavailable
from kb.model_weights import parse_json

PULLING = ".pulling"
SMALL = (".json", ".txt", ".model")
LARGEST_MODULES = 1_000_000  # bytes
PIECE = 1 << 20

OnStart = Callable[[int], None]


@dataclass(frozen=True, kw_only=True, slots=True)
class PulledModel:
    folder: Path
    files: int
    bytes: int


@dataclass(frozen=True, kw_only=True, slots=True)
class Plan:
    """What is to be fetched, small files first."""

    model: str
    listing: Listing
    files: tuple[HubFile, ...]

    @property
    def total(self) -> int:
        return sum(file.size for file in self.files)


def place_model(models: Path, model: str) -> Path:
    """Where a pulled model lies. Raises InvalidInput (`bad_model_name`)."""
    if not HUB_NAME.fullmatch(model):
        raise InvalidInput("bad_model_name", f"{model[:255]!r} is no name of a hub's model, like BAAI/bge-base-zh-v1.5")
    return models / model


@contextmanager
def hold_model(models: Path, model: str) -> Iterator[Path]:
    """The folder that `model` arrives in, for one pull at a time. Raises Conflict (`pull_running`)."""
    staging = models / PULLING / model.replace("/", "--")
    staging.parent.mkdir(parents=True, exist_ok=True)
    with staging.with_name(f"{staging.name}.lock").open("wb") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict("pull_running", f"{model} is being pulled into {models} by another process") from None
        yield staging


def plan_pull(client: HubClient, model: str) -> Plan:
    """Asks the hub. Raises NotFound (`model_not_found`), Unavailable (`hub_unreachable`, `hub_failed`)."""
    listing = client.list_files(model)
    named = {file.path: file for file in listing.files}
    modules = named.get("modules.json")
    places = [""]
    if modules is not None and modules.size <= LARGEST_MODULES:
        found = parse_json(client.read_file(model, listing, modules))
        entries = found if isinstance(found, list) else []
        places = sorted({"", *(str(entry.get("path", "")) for entry in entries if isinstance(entry, dict))})
    chosen = [file for place in places for file in choose_files(listing.files, place)]
    return Plan(model=model, listing=listing, files=tuple(sorted(chosen, key=lambda file: is_weight(file.path))))


def choose_files(files: Sequence[HubFile], place: str) -> list[HubFile]:
    """Of the files directly in `place`: configuration, vocabulary, licence, and the weights in one form alone."""
    here = [file for file in files if PurePosixPath(file.path).parent == PurePosixPath(place)]
    weights = [file for file in here if file.path.endswith(".safetensors")] or [
        file for file in here if PurePosixPath(file.path).match("pytorch_model*.bin")
    ]
    small = [file for file in here if is_small(PurePosixPath(file.path).name)]
    form = weights[0].path.rpartition(".")[2] if weights else ""
    indexes = (".safetensors.index.json", ".bin.index.json")
    return [file for file in small if not file.path.endswith(indexes) or f".{form}.index" in file.path] + weights


def is_small(name: str) -> bool:
    return name not in NEUTRAL and (name.endswith(SMALL) or name.upper().startswith("LICENSE"))


def is_weight(path: str) -> bool:
    return path.endswith((".safetensors", ".bin"))


def pull_model(client: HubClient, plan: Plan, staging: Path, target: Path, on_bytes: OnBytes) -> PulledModel:
    """Fetch, check, and move into place; `on_bytes` hears of what is there already as well.

    Raises NotFound, Unavailable (`hub_unreachable`, `hub_failed`, `model_unusable`, `disk_full`).
    """
    try:
        drop_others(staging, plan.files)
        missing = plan.total - sum(measure(find_part(staging, file)) for file in plan.files)
        check_space(staging, missing)
        for file in plan.files:
            if is_weight(file.path):
                check_fault(plan.model, find_shape_fault(staging, (plan.model,)))
            fetch(client, plan, file, staging, on_bytes)
        check_fault(plan.model, find_fault(staging, (plan.model,)))
        move_into_place(staging, target)
    except OSError as error:
        if error.errno in {ENOSPC, EDQUOT, EROFS}:
            raise Unavailable(
                "disk_full", f"{staging} cannot take more bytes; free some space and pull again"
            ) from error
        raise
    return PulledModel(folder=target, files=len(plan.files), bytes=plan.total)


def check_fault(model: str, fault: str | None) -> None:
    if fault is not None:
        raise Unavailable("model_unusable", f"{model} was not taken: {fault}")


def check_space(folder: Path, missing: int) -> None:
    free = shutil.disk_usage(folder).free
    if missing > free:
        reason = f"{missing} bytes are to come and {folder} has room for {free}"
        raise Unavailable("disk_full", f"{reason}; free some space, or set KB_MODELS_DIR to another disk")


def drop_others(staging: Path, files: Sequence[HubFile]) -> None:
    """Leave of an earlier pull only what this one needs: the model may have changed at the hub."""
    staging.mkdir(exist_ok=True)
    wanted = {staging / file.path for file in files} | {name_part(staging, file) for file in files}
    for path in [path for path in staging.rglob("*") if path.is_file() and path not in wanted]:
        path.unlink()


def name_part(staging: Path, file: HubFile) -> Path:
    """Where a file arrives. Its hash is in the name: the rest of another version must not be appended to it."""
    told = (file.sha256 or file.git_sha1 or str(file.size))[:12]
    whole = staging / file.path
    return whole.with_name(f"{whole.name}.{told}.part")


def find_part(staging: Path, file: HubFile) -> Path:
    whole = staging / file.path
    return whole if whole.is_file() else name_part(staging, file)


def fetch(client: HubClient, plan: Plan, file: HubFile, staging: Path, on_bytes: OnBytes) -> None:
    whole, part = staging / file.path, name_part(staging, file)
    if whole.is_file():
        if holds(whole, file):
            on_bytes(file.size)
            return
        whole.unlink()
    part.parent.mkdir(parents=True, exist_ok=True)
    on_bytes(measure(part))
    url = client.hub.name_file(plan.model, plan.listing.revision, file.path)
    client.fetch_file(url, part, file.size, on_bytes)
    if not holds(part, file):
        part.unlink()
        fault = f"sent {file.path} with other bytes than it announced"
        raise Unavailable("hub_failed", f"the model hub {client.hub.endpoint} {fault}; pull again")
    with part.open("rb") as written:
        os.fsync(written.fileno())
    part.replace(whole)


def holds(path: Path, file: HubFile) -> bool:
    """Whether the bytes are those that the hub announced, as far as it announced any."""
    if measure(path) != file.size:
        return False
    if file.sha256 is None and file.git_sha1 is None:
        return True
    digest = hashlib.sha256() if file.sha256 else hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
    with path.open("rb") as content:
        while piece := content.read(PIECE):
            digest.update(piece)
    return digest.hexdigest() == (file.sha256 or file.git_sha1)


def move_into_place(staging: Path, target: Path) -> None:
    """A process that has the old folder's files open keeps them."""
    target.parent.mkdir(parents=True, exist_ok=True)
    old = staging.with_name(f"{staging.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        target.rename(old)
    staging.rename(target)
    fsync_folder(target.parent)
    shutil.rmtree(old, ignore_errors=True)
