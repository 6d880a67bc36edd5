"""Lines of a `.kbignore`; that its manner is git's is held by `tests/integration/test_folder.py`."""

from __future__ import annotations

import pytest

from ingest.sources.ignoring import BadIgnoreFile, IgnoreRules, find_ignored, parse_ignore_file


def make_rules(text: str, base: str = "") -> IgnoreRules:
    return IgnoreRules(base, parse_ignore_file(text.encode()))


def is_ignored(path: str, *lists: IgnoreRules, is_folder: bool = False) -> bool:
    folder, slash, name = path.rpartition("/")
    return bool(find_ignored(folder + slash, [name], lists, are_folders=is_folder))


def test_the_last_line_that_matches_decides() -> None:
    rules = make_rules("*.md\n!keep.md\nold/keep.md\n")
    assert [is_ignored(path, rules) for path in ("a.md", "keep.md", "x/keep.md", "old/keep.md", "a.txt")] == [
        True, False, False, True, False
    ]  # fmt: skip


def test_a_list_nearer_by_comes_after_one_above() -> None:
    above, near = make_rules("*.md\n"), make_rules("!a.md\nb.txt\n", "x/y/")
    assert [is_ignored(f"x/y/{name}", near, above) for name in ("a.md", "b.md", "b.txt")] == [False, True, True]


def test_a_path_counts_from_the_folder_of_its_list() -> None:
    rules = make_rules("/a\nb/c\n", "x/")
    assert [is_ignored(path, rules) for path in ("x/a", "x/y/a", "x/b/c", "x/y/b/c")] == [True, False, True, False]


def test_a_slash_at_the_end_is_for_folders_alone() -> None:
    rules = make_rules("build/\n/草稿/\n")
    for name in ("build", "草稿"):
        assert is_ignored(name, rules, is_folder=True)
        assert not is_ignored(name, rules)
    assert is_ignored("x/build", rules, is_folder=True)
    assert not is_ignored("x/草稿", rules, is_folder=True)


def test_comments_blanks_line_ends_and_escapes() -> None:
    rules = make_rules("\ufeff# *.md\r\n\r\n   \r\na.txt  \r\n\\#b\r\n\\!c\r\nd\\ \r\n")
    names = ("a.md", "a.txt", "#b", "!c", "d ", "d")
    assert [is_ignored(name, rules) for name in names] == [False, True, True, True, True, False]


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ("报告".encode("gb18030"), "it is not UTF-8"),
        (b"*.md\n../x\n", "line 2 holds . or .. as a folder"),
        (b"a//b", "line 1 holds an empty name"),
        (b"!", "line 1 is empty"),
        (b"a\0b", "line 1 holds a control character"),
        (b"x\n" * 1_001, "it has more than 1,000 lines"),
        (b"#" * 100_001, "it is larger than 100,000 bytes"),
    ],
)
def test_a_list_that_cannot_be_read_says_why(data: bytes, reason: str) -> None:
    with pytest.raises(BadIgnoreFile, match=reason):
        parse_ignore_file(data)
