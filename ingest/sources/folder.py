"""What a folder holds now: every file that is wanted, with its size and times. Opens no file but `.kbignore`.

Hidden files, what `.kbignore` names and what the source's rules leave out do not count. Links never lead out of the
root, and folders are entered one by one without following any, so that none that is put in the way is. A night on which
nothing changed costs this walk, hence its manner: a folder's names are looked at together, and of a file nothing is
made but one line, `<path> NUL <stat>`; the sum over these lines tells that all is as it was.
"""

from __future__ import annotations

import hashlib
import os
import stat as modes
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from ingest.sources.ignoring import (
    IGNORE_FILE,
    MOST_BYTES,
    BadIgnoreFile,
    IgnoreLine,
    IgnoreRules,
    find_ignored,
    parse_ignore_file,
)
from ingest.sources.names import are_plain, read_name, show_name
from ingest.sources.rules import FolderRules
from kb.document_path import LONGEST_PATH, find_fault
from kb.errors import Unavailable

OPEN_FOLDER = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC  # a pipe must not keep us waiting
MOST_FOLDERS_DEEP = 100  # each holds a descriptor while what is below it is listed
LONGEST_NAME = 255  # bytes, of every file system of note
LONGEST_STAT = 64

Found = list[tuple[str, "os.DirEntry[str]"]]  # the name's text, and what stands there


@dataclass(frozen=True, kw_only=True, slots=True)
class ListedFile:
    """A regular file. `path` is relative, with `/`, in NFC; `raw` is the relative path that opens it: the name as the
    system has it, or where the link leads that stands at `path`. `stat` is of at most 64 characters and equal for as
    long as the file was not written to."""

    path: str
    raw: str
    size: int
    mtime_ns: int
    stat: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Refused:
    """A file or folder that cannot be a document now. What is known at or below `path` keeps its version."""

    path: str
    code: str
    detail: str


@dataclass(frozen=True, kw_only=True, slots=True)
class Listing:
    """`sha256` is equal for equal paths, stats and refusals, in whatever order the system gave them."""

    root: Path
    files: Mapping[str, ListedFile]
    refused: Sequence[Refused]
    sha256: str


def describe_stat(status: os.stat_result) -> str:
    """`size:mtime_ns:ctime_ns:inode`, hexadecimal to be short: a document's `stat`."""
    return f"{status.st_size:x}:{status.st_mtime_ns:x}:{status.st_ctime_ns:x}:{status.st_ino:x}"[:LONGEST_STAT]


def list_folder(root: Path, rules: FolderRules, *, prefix: str = "") -> Listing:
    """`prefix` is the folder of its documents' paths, the source's name, without `/`.

    Raises Unavailable (`source_unavailable`) when the root cannot be read, or is another folder at the end than at the
    beginning: what was listed then is no reason to take anything away.
    """
    try:
        place = os.path.realpath(root, strict=True)
        descriptor = os.open(place, OPEN_FOLDER)
    except OSError as error:
        raise refuse_root(root, error.strerror) from error
    try:
        walk = _Walk(place, rules, f"{prefix}/" if prefix else "")
        began = os.fstat(descriptor)
        walk.list_below(descriptor, "", "", ())
        _check_root(root, began)
    except OSError as error:
        raise refuse_root(root, error.strerror) from error
    finally:
        os.close(descriptor)
    return walk.make_listing()


def _check_root(root: Path, began: os.stat_result) -> None:
    """Raises OSError, too."""
    ended = root.stat()
    if (began.st_dev, began.st_ino) != (ended.st_dev, ended.st_ino):
        raise refuse_root(root, "another folder was put in its place while it was listed")


def refuse_root(root: Path, reason: str | None) -> Unavailable:
    """The error of a root that is not there."""
    return Unavailable("source_unavailable", f"the folder {root} cannot be read ({reason}); is its disk mounted?")


class _Walk:
    """The state of one listing. `place` is the root's real path, `above` what stands before its documents' paths."""

    def __init__(self, place: str, rules: FolderRules, above: str) -> None:
        self._place = place
        self._rules = rules
        self._above = above
        self._lines: list[str] = []
        self._raws: dict[str, str] = {}  # of files whose path does not open them
        self._refused: list[Refused] = []

    def list_below(self, folder: int, path: str, raw: str, lists: Sequence[IgnoreRules]) -> None:
        """One folder and all below. `path` and `raw` are its own, "" or ending in `/`; `lists` the ignore lists above
        it, the nearest first."""
        try:
            files, folders, others, has_list = _scan(folder)
            if has_list:
                lists = (IgnoreRules(path, _read_ignore_file(folder)), *lists)
        except OSError as error:
            if not path:
                raise
            self._refuse(path.rstrip("/"), "file_unreadable", error.strerror or "it cannot be listed")
            return
        except BadIgnoreFile as error:
            detail = f"{error}; until it is mended nothing changes in this folder"
            self._refuse(f"{path}{IGNORE_FILE}", "bad_ignore_file", detail)
            return
        if not self._are_plain(path, files, folders, others):
            files, folders, others = self._mend(path, files, folders, others)
        if self._rules or lists:
            files, others = (self._choose(path, found, lists, are_folders=False) for found in (files, others))
            folders = self._choose(path, folders, lists, are_folders=True)
        self._add_files(path, raw, files)
        for name, entry in others:
            self._add_other(path + name, raw + entry.name, entry)
        for name, entry in sorted(folders, key=lambda pair: pair[0]):
            self._enter(folder, path + name, raw + entry.name, lists)

    def _enter(self, above: int, path: str, raw: str, lists: Sequence[IgnoreRules]) -> None:
        if path.count("/") >= MOST_FOLDERS_DEEP:
            self._refuse(path, "bad_path", f"it lies more than {MOST_FOLDERS_DEEP} folders deep")
            return
        try:
            folder = os.open(raw.rpartition("/")[2], OPEN_FOLDER, dir_fd=above)
        except OSError as error:
            self._refuse(path, "file_unreadable", error.strerror or "it cannot be opened")
            return
        try:
            self.list_below(folder, f"{path}/", f"{raw}/", lists)
        finally:
            os.close(folder)

    def _are_plain(self, path: str, *kinds: Found) -> bool:
        is_short = len((self._above + path).encode()) + LONGEST_NAME <= LONGEST_PATH
        return is_short and are_plain(name for found in kinds for name, _ in found)

    def _mend(self, path: str, *kinds: Found) -> Iterator[Found]:
        """Names as documents may have them, one each; what cannot have one is refused."""
        taken: dict[str, os.DirEntry[str]] = {}
        for entry in sorted((pair[1] for found in kinds for pair in found), key=lambda entry: os.fsencode(entry.name)):
            name = read_name(entry.name)
            if name in taken:
                self._refuse(path + name, "duplicate_path", "another name beside it reads the same")
            elif fault := find_fault(self._above + path + name):
                self._refuse(show_name(path + name), "bad_path", f"a path must be relative and plain, this one {fault}")
            else:
                taken[name] = entry
        names = {entry: name for name, entry in taken.items()}
        return ([(names[entry], entry) for _, entry in found if entry in names] for found in kinds)

    def _choose(self, path: str, found: Found, lists: Sequence[IgnoreRules], *, are_folders: bool) -> Found:
        """Those that the source wants and no ignore list leaves out."""
        if not found:
            return found
        names = {name for name, _ in found}
        choose = self._rules.choose_folders if are_folders else self._rules.choose_files
        wanted = choose(path, names) - find_ignored(path, names, lists, are_folders=are_folders)
        return found if len(wanted) == len(found) else [pair for pair in found if pair[0] in wanted]

    def _add_files(self, path: str, raw: str, files: Found) -> None:
        lines = []
        for name, entry in files:
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                self._refuse(path + name, "file_unreadable", error.strerror or "it cannot be looked at")
                continue
            lines.append(f"{path}{name}\0{describe_stat(status)}")
            if name != entry.name or path != raw:
                self._raws[path + name] = raw + entry.name
        lines.sort()
        self._lines += lines

    def _add_other(self, path: str, raw: str, entry: os.DirEntry[str]) -> None:
        """A link, or what is neither file nor folder."""
        if not entry.is_symlink():
            self._refuse(path, "special_file", "it is neither a file nor a folder")
            return
        start = f"{self._place.rstrip('/')}/"
        try:
            target = os.path.realpath(start + raw, strict=True)
            if not f"{target}/".startswith(start):
                self._refuse(path, "link_outside", "the link leads out of the source's folder")
                return
            status = os.lstat(target)
        except OSError as error:
            self._refuse(path, "link_broken", f"the link leads nowhere ({error.strerror})")
            return
        if modes.S_ISREG(status.st_mode):
            self._lines.append(f"{path}\0{describe_stat(status)}")
            self._raws[path] = target.removeprefix(start)
        elif not modes.S_ISDIR(status.st_mode):  # a folder is listed where it is
            self._refuse(path, "special_file", "the link leads to what is neither a file nor a folder")

    def _refuse(self, path: str, code: str, detail: str) -> None:
        self._refused.append(Refused(path=path, code=code, detail=detail))

    def make_listing(self) -> Listing:
        refused = sorted(self._refused, key=lambda one: (one.path, one.code))
        sums = "\n".join([*self._lines, "", *(f"{one.path}\0{one.code}" for one in refused)])
        return Listing(
            root=Path(self._place),
            files=_Files(self._lines, self._raws),
            refused=refused,
            sha256=hashlib.sha256(sums.encode()).hexdigest(),
        )


class _Files(Mapping[str, ListedFile]):
    """Lines read only when they are asked for: on most nights nobody does."""

    def __init__(self, lines: Sequence[str], raws: Mapping[str, str]) -> None:
        self._lines = lines
        self._raws = raws

    @cached_property
    def _stats(self) -> dict[str, str]:
        return dict(line.split("\0") for line in self._lines)

    def __getitem__(self, path: str) -> ListedFile:
        stat = self._stats[path]
        size, mtime_ns, _ = stat.split(":", 2)
        raw = self._raws.get(path, path)
        return ListedFile(path=path, raw=raw, size=int(size, 16), mtime_ns=int(mtime_ns, 16), stat=stat)

    def __iter__(self) -> Iterator[str]:
        return iter(self._stats)

    def __len__(self) -> int:
        return len(self._lines)


def _scan(folder: int) -> tuple[Found, Found, Found, bool]:
    """Files, folders, others (links and the like), and whether there is an ignore list. Raises OSError."""
    files: Found = []
    folders: Found = []
    others: Found = []
    has_list = False
    with os.scandir(folder) as entries:
        for entry in entries:
            name = entry.name
            if name[0] == ".":
                has_list = has_list or name == IGNORE_FILE
            elif entry.is_file(follow_symlinks=False):
                files.append((name, entry))
            elif entry.is_dir(follow_symlinks=False):
                folders.append((name, entry))
            else:
                others.append((name, entry))
    return files, folders, others, has_list


def _read_ignore_file(folder: int) -> Sequence[IgnoreLine]:
    """Raises BadIgnoreFile."""
    try:
        descriptor = os.open(IGNORE_FILE, OPEN_FILE, dir_fd=folder)
    except OSError as error:
        raise BadIgnoreFile(f"it cannot be read ({error.strerror})") from error
    try:
        if not modes.S_ISREG(os.fstat(descriptor).st_mode):
            raise BadIgnoreFile("it is no file")
        with open(descriptor, "rb", closefd=False) as file:  # a descriptor has no path
            return parse_ignore_file(file.read(MOST_BYTES + 1))
    finally:
        os.close(descriptor)
