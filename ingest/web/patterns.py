"""Globs of addresses, for `include` and `exclude`.

`*` is any run of characters, `/` among them (so is `**`), `?` one character, `[ab]` and `[!ab]` one of a set. A glob
that begins with `/` is held against the path and query, any other against host, path and query; `http://` and `https://`
do not count. Both sides are read as people write them: `/文档/*` is of `/%E6%96%87%E6%A1%A3/1`. Case counts.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from fnmatch import translate
from urllib.parse import unquote

LONGEST_GLOB = 1_024  # characters
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_SCHEME = re.compile(r"https?://", re.IGNORECASE)


class UrlGlobs:
    """Any of some globs. Raises ValueError, which says what is wrong with one."""

    def __init__(self, globs: Iterable[str]) -> None:
        found = [_SCHEME.sub("", check_url_glob(glob), count=1) for glob in globs]
        self._paths = [_compile(glob) for glob in found if glob.startswith("/")]
        self._places = [_compile(glob) for glob in found if not glob.startswith("/")]

    def match(self, url: str) -> bool:
        """Of a normalised address."""
        place = unquote(url.partition("://")[2])
        path = "/" + place.partition("/")[2]
        return any(one.match(path) for one in self._paths) or any(one.match(place) for one in self._places)


class Filter:
    """Which addresses are wanted: what `include` names, or all where it names none, without what `exclude` does."""

    def __init__(self, include: Iterable[str], exclude: Iterable[str]) -> None:
        listed = tuple(include)
        self._include = UrlGlobs(listed) if listed else None
        self._exclude = UrlGlobs(exclude)

    def wants(self, url: str) -> bool:
        return (self._include is None or self._include.match(url)) and not self._exclude.match(url)


def check_url_glob(glob: str) -> str:
    """The glob as it is. Raises ValueError, which says what is wrong with it."""
    checks = (
        (not glob.strip(), "is empty"),
        (len(glob) > LONGEST_GLOB, f"is longer than {LONGEST_GLOB} characters"),
        (_CONTROLS.search(glob), "holds a control character"),
    )
    fault = next((fault for found, fault in checks if found), None)
    if fault is not None:
        raise ValueError(fault)
    return glob


def _compile(glob: str) -> re.Pattern[str]:
    return re.compile(translate(unquote(glob)))  # its stars are atomic groups: none is tried twice
