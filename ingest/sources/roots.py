"""Where folder sources may lie: under an allowed root, never around or in the data directory.

Asked when a source is made and again at each sync, since a symbolic link may point elsewhere by then. Whether something
is there at all is told only of places that are allowed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import unquote_to_bytes

from kb.errors import InvalidInput

LONGEST_URI = 4_096  # characters
_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://")
_LOCAL = re.compile(r"file://(?:localhost)?(?=/)", re.IGNORECASE)


def make_absolute(uri: str) -> str:
    """The uri as a source keeps it: a relative path counts from this process's working directory.

    Raises InvalidInput (`bad_uri`).
    """
    folder = read_folder_uri(uri)
    return uri if _SCHEME.match(uri) else str(folder)


def read_folder_uri(uri: str) -> Path:
    """The absolute path that a path or file:// URI names, links not followed. Raises InvalidInput (`bad_uri`)."""
    if len(uri) > LONGEST_URI:
        raise _refuse_uri(uri, f"it is longer than {LONGEST_URI:,} characters")
    path = uri
    if scheme := _SCHEME.match(uri):
        local = _LOCAL.match(uri)
        if local is None:
            raise _refuse_uri(uri, f"{scheme[1]} names no folder of this machine")
        path = os.fsdecode(unquote_to_bytes(uri[local.end() :]))
    if not path.strip() or "\0" in path:
        raise _refuse_uri(uri, "it is empty or holds NUL")
    return Path(path).absolute()


def check_root(uri: str, allowed: Sequence[Path], data_dir: Path) -> Path:
    """The folder a source names, with every symbolic link followed.

    Raises InvalidInput (`bad_uri`, `root_not_allowed`, `root_in_data_dir`, `root_missing`, `root_not_a_folder`,
    `root_unreadable`).
    """
    folder = _resolve(read_folder_uri(uri))
    roots = [_resolve(root) for root in allowed]
    if not any(folder.is_relative_to(root) for root in roots):
        listed = ", ".join(map(str, roots)) or "nothing"
        reason = f"{uri!r}, links followed, is under no allowed root; KB_ALLOWED_ROOTS allows {listed}"
        raise InvalidInput("root_not_allowed", reason)
    data = _resolve(data_dir)
    if folder.is_relative_to(data) or data.is_relative_to(folder):
        reason = f"{uri!r} holds or lies in the data directory {data}; choose a folder apart from it"
        raise InvalidInput("root_in_data_dir", reason)
    _check_readable(folder)
    return folder


def _resolve(path: Path) -> Path:
    return Path(os.path.realpath(path))


def _check_readable(folder: Path) -> None:
    try:
        with os.scandir(folder):
            pass
    except FileNotFoundError:
        raise InvalidInput("root_missing", f"there is no folder {str(folder)!r}") from None
    except NotADirectoryError:
        if folder.exists():
            raise InvalidInput("root_not_a_folder", f"{str(folder)!r} is not a folder; name the one it is in") from None
        raise InvalidInput("root_missing", f"there is no folder {str(folder)!r}") from None
    except OSError as error:
        raise _refuse_reading(folder, error.strerror or type(error).__name__) from None
    if not os.access(folder, os.X_OK):
        raise _refuse_reading(folder, "what it holds cannot be opened")


def _refuse_reading(folder: Path, reason: str) -> InvalidInput:
    return InvalidInput("root_unreadable", f"{str(folder)!r} cannot be read by the server: {reason}")


def _refuse_uri(uri: str, fault: str) -> InvalidInput:
    return InvalidInput("bad_uri", f"{uri[:255]!r} is no folder: {fault}; give a path or file:///path")
