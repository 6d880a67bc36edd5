"""Globs against wcmatch itself, which knows no folders apart and takes its time over `**`."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcmatch import glob as wcglob

from ingest.sources.globs import Globs, translate_parent, translate_path

LETTERS = "ab.文"
NAMES = st.text(LETTERS, min_size=1, max_size=4).filter(lambda name: name.strip("."))
PATHS = st.lists(NAMES, min_size=1, max_size=6).map("/".join)
PIECES = st.sampled_from(["**", "*", "a*", "*b", "?", "[ab]?", "[!a]", "a", "b", "文", "*.*", "a*b*", "***"])
GLOBS = st.lists(PIECES, min_size=1, max_size=5).map("/".join)


def select(glob: str, path: str) -> bool:
    folder, slash, name = path.rpartition("/")
    return bool(Globs([glob]).select(folder + slash, [name]))


@given(GLOBS.filter(lambda glob: "/" in glob), PATHS)
def test_a_glob_of_paths_is_what_wcmatch_takes_it_for(glob: str, path: str) -> None:
    known = wcglob.globmatch(path, glob, flags=wcglob.GLOBSTAR | wcglob.DOTGLOB | wcglob.FORCEUNIX)
    assert select(glob, path) == known


@given(PIECES, PATHS)
def test_a_glob_of_names_is_of_any_depth(glob: str, path: str) -> None:
    known = wcglob.globmatch(path, f"**/{glob}", flags=wcglob.GLOBSTAR | wcglob.DOTGLOB | wcglob.FORCEUNIX)
    assert select(glob, path) == known


@given(st.lists(GLOBS, max_size=4), PATHS)
def test_globs_together_are_each_of_them(globs: list[str], path: str) -> None:
    folder, slash, name = path.rpartition("/")
    assert bool(Globs(globs).select(folder + slash, [name])) == any(select(glob, path) for glob in globs)


@given(GLOBS, PATHS)
def test_a_glob_is_tried_in_every_folder_where_it_matches(glob: str, path: str) -> None:
    segments = glob.split("/")
    if re.fullmatch(translate_path(segments), path):
        assert re.fullmatch(translate_parent(segments), path.rpartition("/")[0])


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.md", "a/b/c.md"),
        ("/*.md", "c.md"),
        ("a/*.md", "a/c.md"),
        ("a/**", "a/b/c.md"),
        ("**/草稿/**", "报告/草稿/一.md"),
        ("**", "a/b"),
        ("\\*.md", "*.md"),
        ("[[]a].md", "[a].md"),
        ("cafe\u0301", "caf\u00e9"),
    ],
)
def test_a_glob_matches(glob: str, path: str) -> None:
    assert select(glob, path)


@pytest.mark.parametrize(
    ("glob", "path"),
    [
        ("*.md", "c.MD"),
        ("/*.md", "a/c.md"),
        ("a/*.md", "a/b/c.md"),
        ("a/*.md", "x/a/c.md"),
        ("a/**", "a"),
        ("\\*.md", "a.md"),
        ("{a,b}", "a"),
    ],
)
def test_a_glob_does_not_match(glob: str, path: str) -> None:
    assert not select(glob, path)


@pytest.mark.timeout(30)
def test_many_double_stars_cost_no_more_than_a_look_at_each_name() -> None:
    path = "/".join(["a"] * 500) + "/c"
    assert not select("**/a/" * 12 + "b", path)
    assert not select("**/*a*a*a*a/" * 12 + "b", "/".join(["a" * 40] * 100))


@pytest.mark.parametrize(
    "glob", ["", "  ", "/", "a//b", "../a", "a/./b", "a\nb", "a\\", "a\\/b", "x" * 1025, "a\ud800"]
)
def test_what_is_no_glob_is_refused(glob: str) -> None:
    with pytest.raises(ValueError):
        Globs([glob])
