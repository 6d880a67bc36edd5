"""Which files of a folder are wanted, as the source says: `include` and `exclude`. `.kbignore` is another matter."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from ingest.sources.globs import Globs, check_glob
from kb.errors import InvalidInput

MOST_GLOBS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderRules:
    """A file is wanted that matches one of `include`, if there are any, and is not below or itself one of `exclude`.

    A glob that ends in `/` stands for all that is below. Raises InvalidInput (`bad_glob`).
    """

    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    _include: Globs = field(init=False, repr=False, compare=False)
    _exclude: Globs = field(init=False, repr=False, compare=False)
    _closed: Globs = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        include, exclude = _check("include", self.include), _check("exclude", self.exclude)
        whole = [glob for glob in exclude if glob.endswith("/**") and glob.strip("/*")]  # folders with all they hold
        object.__setattr__(self, "_include", Globs(include))
        object.__setattr__(self, "_exclude", Globs(glob for glob in exclude if glob not in whole))
        # / before: a glob of the whole path stays one without the /** behind
        closed = [*exclude, *(f"/{glob.removeprefix('/').removesuffix('/**')}" for glob in whole)]
        object.__setattr__(self, "_closed", Globs(closed))

    def __bool__(self) -> bool:
        """Whether anything is left out at all."""
        return bool(self.include or self.exclude)

    def choose_files(self, folder: str, names: Collection[str]) -> set[str]:
        """The wanted files among the names in a folder that was entered. `folder` is "" or ends in `/`; all in NFC."""
        left = set(names) - self._exclude.select(folder, names)
        return self._include.select(folder, left) if self.include else left

    def choose_folders(self, folder: str, names: Collection[str]) -> set[str]:
        """The folders to look into: an excluded one is not, whatever `include` says."""
        return set(names) - self._closed.select(folder, names)

    def wants(self, path: str) -> bool:
        """`choose_files` of one relative path."""
        folder, slash, name = path.rpartition("/")
        return bool(self.choose_files(folder + slash, [name]))


def _check(field_name: str, globs: Sequence[str]) -> list[str]:
    """The globs, `name/` written as `name/**`."""
    if len(globs) > MOST_GLOBS:
        raise InvalidInput("bad_glob", f"{field_name} holds more than {MOST_GLOBS:,} globs")
    found = [f"{glob}**" if glob.endswith("/") else glob for glob in globs]
    for glob in found:
        try:
            check_glob(glob)
        except ValueError as error:
            raise InvalidInput("bad_glob", f"{field_name}: the glob {glob!r} {error}") from error
    return found
