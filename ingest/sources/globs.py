"""Globs to regular expressions. The only importer of wcmatch.

wcmatch translates what stands between two `**`; the `**` themselves are put in here, each as an atomic group: the first
place where the next stretch fits is as good as any later one, and a pattern such as `**/a/**/a/**/a` costs a deep path
no more than a look at each of its names (wcmatch's own takes seconds).
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from itertools import groupby

from wcmatch import glob as wcglob

LONGEST_GLOB = 1_024  # characters
_FLAGS = wcglob.DOTGLOB | wcglob.FORCEUNIX  # case counts, on every system
_SPECIAL = re.compile(r"[*?\[\\]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_FOLDERS = "(?:[^/]+/)*"


class Globs:
    """Any of some globs, asked of a folder's names together.

    Without `/` a glob is of a name at any depth, with one (`/name` too) of the whole path. Most are names or `*.ending`
    and are looked up; those with `/` are tried only in folders where one can match. Raises ValueError, which says what
    is wrong with the glob.
    """

    def __init__(self, globs: Iterable[str]) -> None:
        found = [unicodedata.normalize("NFC", check_glob(glob)) for glob in globs]
        of_names = [glob for glob in found if "/" not in glob]
        plain = {glob for glob in of_names if not _SPECIAL.search(glob.removeprefix("*"))}
        self._names = frozenset(glob for glob in plain if not glob.startswith("*"))
        self._endings = tuple(glob.removeprefix("*") for glob in plain if glob.startswith("*"))
        self._match_name = _compile(_translate_stretch(glob) for glob in of_names if glob not in plain)
        of_paths = [glob.removeprefix("/").split("/") for glob in found if "/" in glob]
        self._match_path = _compile(map(translate_path, of_paths))
        self._match_folder = _compile(map(translate_parent, of_paths))

    def select(self, folder: str, names: Collection[str]) -> set[str]:
        """Those of a folder's names that match. `folder` is its relative path, "" or ending in `/`; all in NFC."""
        found = set(self._names.intersection(names))
        if self._endings:
            found.update(name for name in names if name.endswith(self._endings))
        if self._match_name is not None:
            found.update(filter(self._match_name, names))
        if self._match_path is not None and self._match_folder is not None and self._match_folder(folder[:-1]):
            found.update(name for name in names if self._match_path(folder + name))
        return found


def _compile(expressions: Iterable[str]) -> Callable[[str], re.Match[str] | None] | None:
    found = list(expressions)
    return re.compile("|".join(found)).fullmatch if found else None


def check_glob(glob: str) -> str:
    """The glob as it is. Raises ValueError, which says what is wrong with it."""
    segments = glob.removeprefix("/").split("/")
    checks = (
        (not glob.strip(), "is empty"),
        (len(glob) > LONGEST_GLOB, f"is longer than {LONGEST_GLOB} characters"),
        (_CONTROLS.search(glob), "holds a control character"),
        (any(segment in (".", "..") for segment in segments), "holds . or .. as a folder"),
        (not all(segments), "holds an empty name; write / between folders only"),
        (any(_ends_escaping(segment) for segment in segments), "ends a name with a lone backslash"),
    )
    fault = next((fault for found, fault in checks if found), None)
    if fault is not None:
        raise ValueError(fault)
    return glob


def translate_path(segments: Sequence[str]) -> str:
    """A regular expression for the whole relative path."""
    return "".join(_join_stretches(segments))


def translate_parent(segments: Sequence[str]) -> str:
    """One for the folders, "" the top, in which a path can match."""
    above = list(segments if segments[-1] == "**" else segments[:-1])
    stem = list(above)
    while stem and stem[-1] == "**":
        stem.pop()
    if len(stem) == len(above):
        return translate_path(above)
    return f"{translate_path(stem)}(?:/.+)?" if stem else ".*"


def _join_stretches(segments: Sequence[str]) -> Iterator[str]:
    """`a/**/b/c/**/d` is a stretch, an atomic one somewhere below it, and one at the end."""
    runs = [(crosses, "/".join(run)) for crosses, run in groupby(segments, key=lambda segment: segment == "**")]
    for place, (crosses, stretch) in enumerate(runs):
        is_last = place == len(runs) - 1
        if crosses:
            yield ".+" if is_last else ""
        elif is_last:
            yield f"{_FOLDERS if place else ''}{_translate_stretch(stretch)}"
        else:
            yield f"(?>{_FOLDERS}?{_translate_stretch(stretch)}/)" if place else f"{_translate_stretch(stretch)}/"


def _translate_stretch(stretch: str) -> str:
    (found,), _ = wcglob.translate(stretch, flags=_FLAGS)
    return str(found).removeprefix("^").removesuffix("$")


def _ends_escaping(segment: str) -> bool:
    return (len(segment) - len(segment.rstrip("\\"))) % 2 == 1
