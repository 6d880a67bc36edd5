"""`.kbignore`: what a folder's own list leaves out below it, in the manner of git.

The last line that matches decides; a list deeper in the tree comes after those above it; what lies in a folder that is
left out cannot be taken back in. Consecutive lines of one sign are one question, so that a long list costs little.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from itertools import groupby

from ingest.sources.globs import Globs, check_glob

IGNORE_FILE = ".kbignore"
MOST_BYTES = 100_000
MOST_LINES = 1_000
_TRAILING_SPACES = re.compile(r"(?<!\\) +$")


class BadIgnoreFile(Exception):
    """A list that cannot be read; the message says which line and why."""


@dataclass(frozen=True, kw_only=True, slots=True)
class IgnoreLine:
    """`glob` as of `Globs`; `takes_back` is `!`; `folders_only` is a `/` at the end."""

    glob: str
    takes_back: bool
    folders_only: bool


class IgnoreRules:
    """One list, of the folder `base` (relative, "" or ending in `/`)."""

    def __init__(self, base: str, lines: Sequence[IgnoreLine]) -> None:
        self._start = len(base)
        self._of_folders = _compile_runs(lines)
        self._of_files = _compile_runs([line for line in lines if not line.folders_only])

    def judge(self, folder: str, names: Collection[str], *, are_folders: bool) -> tuple[set[str], set[str]]:
        """Those of a folder's names that are left out, and those that are taken in; of others no line speaks."""
        verdicts: tuple[set[str], set[str]] = (set(), set())
        left = set(names)
        for globs, takes_back in self._of_folders if are_folders else self._of_files:
            found = globs.select(folder[self._start :], left)
            verdicts[takes_back].update(found)
            left -= found
        return verdicts


def find_ignored(folder: str, names: Collection[str], lists: Sequence[IgnoreRules], *, are_folders: bool) -> set[str]:
    """Those of a folder's names that are left out. `lists` are its own and those above it, the nearest first; `folder`
    is "" or ends in `/`."""
    ignored: set[str] = set()
    left = set(names)
    for rules in lists:
        found, taken = rules.judge(folder, left, are_folders=are_folders)
        ignored |= found
        left -= found | taken
    return ignored


def parse_ignore_file(data: bytes) -> list[IgnoreLine]:
    """Raises BadIgnoreFile: one that is half understood could let in what was to stay out."""
    if len(data) > MOST_BYTES:
        raise BadIgnoreFile(f"it is larger than {MOST_BYTES:,} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadIgnoreFile("it is not UTF-8") from error
    lines = []
    if text.count("\n") > MOST_LINES:
        raise BadIgnoreFile(f"it has more than {MOST_LINES:,} lines")
    for number, line in enumerate(text.split("\n"), start=1):
        try:
            lines.append(_parse_line(line.removesuffix("\r")))
        except ValueError as error:
            raise BadIgnoreFile(f"line {number} {error}") from error
    return [line for line in lines if line is not None]


def _parse_line(line: str) -> IgnoreLine | None:
    if line.startswith("#") or not line.strip():
        return None
    takes_back = line.startswith("!")
    pattern = _TRAILING_SPACES.sub("", line[1:] if takes_back else line)
    glob = pattern.removesuffix("/")
    return IgnoreLine(glob=check_glob(glob), takes_back=takes_back, folders_only=glob != pattern)


def _compile_runs(lines: Sequence[IgnoreLine]) -> list[tuple[Globs, bool]]:
    """Runs of equal sign, the last first."""
    runs = groupby(reversed(lines), key=lambda line: line.takes_back)
    return [(Globs(line.glob for line in run), takes_back) for takes_back, run in runs]
