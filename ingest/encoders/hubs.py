"""The hubs that models are published on: their addresses, and how they list a model's files. Speaks no HTTP itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Any, Literal, Protocol
from urllib.parse import quote

HubName = Literal["huggingface", "modelscope"]


@dataclass(frozen=True, kw_only=True, slots=True)
class HubFile:
    """`path` lies within the model's folder. `sha256` is of its bytes, `git_sha1` of a git blob of them."""

    path: str
    size: int
    sha256: str | None = None
    git_sha1: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """What a model consists of at `revision`."""

    revision: str
    files: tuple[HubFile, ...]


class Hub(Protocol):
    """`endpoint` has no slash at its end; `variable` is what sets it. `token` is sent as `Authorization: Bearer`."""

    @property
    def endpoint(self) -> str: ...

    @property
    def variable(self) -> str: ...

    @property
    def token(self) -> str | None: ...

    def name_listing(self, model: str) -> str:
        """The address of the list of `model`'s files."""
        ...

    def read_listing(self, answer: Any) -> Listing:  # noqa: ANN401  what JSON gives
        """Raises ValueError, KeyError or TypeError for what is no list of files."""
        ...

    def name_file(self, model: str, revision: str, path: str) -> str: ...


@dataclass(frozen=True, kw_only=True, slots=True)
class HuggingFace:
    """Hugging Face, or a mirror of it."""

    endpoint: str = "https://huggingface.co"
    token: str | None = field(default=None, repr=False)
    variable: str = "HF_ENDPOINT"

    def name_listing(self, model: str) -> str:
        return f"{self.endpoint}/api/models/{model}/revision/main?blobs=true"

    def read_listing(self, answer: Any) -> Listing:  # noqa: ANN401
        files = [
            HubFile(
                path=str(entry["rfilename"]),
                size=int(entry["size"]),
                sha256=(entry.get("lfs") or {}).get("sha256"),
                git_sha1=None if entry.get("lfs") else entry.get("blobId"),
            )
            for entry in answer["siblings"]
        ]
        return Listing(revision=str(answer["sha"]), files=check_paths(files))

    def name_file(self, model: str, revision: str, path: str) -> str:
        return f"{self.endpoint}/{model}/resolve/{quote(revision)}/{quote(path)}"


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelScope:
    """ModelScope. Its files are those of a branch: when it moves during a download, their hashes tell."""

    endpoint: str = "https://www.modelscope.cn"
    token: str | None = field(default=None, repr=False)
    variable: str = "MODELSCOPE_ENDPOINT"
    revision: str = "master"

    def name_listing(self, model: str) -> str:
        return f"{self.endpoint}/api/v1/models/{model}/repo/files?Revision={self.revision}&Recursive=True"

    def read_listing(self, answer: Any) -> Listing:  # noqa: ANN401
        entries: Iterable[Mapping[str, Any]] = answer["Data"]["Files"]
        files = [
            HubFile(path=str(entry["Path"]), size=int(entry["Size"]), sha256=entry.get("Sha256") or None)
            for entry in entries
            if entry.get("Type") != "tree"
        ]
        return Listing(revision=self.revision, files=check_paths(files))

    def name_file(self, model: str, revision: str, path: str) -> str:
        address = f"{self.endpoint}/api/v1/models/{model}/repo"
        return f"{address}?Revision={quote(revision)}&FilePath={quote(path, safe='')}"


def check_paths(files: Iterable[HubFile]) -> tuple[HubFile, ...]:
    """Raises ValueError for a path that would lead out of the folder: a hub must not choose where we write."""
    kept = tuple(files)
    for file in kept:
        parts = PurePosixPath(file.path).parts
        odd = file.path.startswith("/") or "\\" in file.path or "\0" in file.path or ".." in parts
        if not parts or odd or file.size < 0:
            raise ValueError(f"a file called {file.path[:255]!r}")
    return kept
