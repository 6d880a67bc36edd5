from __future__ import annotations

import pytest

from ingest.sources.rules import FolderRules
from kb.errors import InvalidInput

PATHS = ["a.md", "a.txt", "docs/b.md", "docs/b-old.md", "docs/drafts/c.md", "x/docs/d.md", "drafts/e.md", "f.pdf"]


def choose(include: tuple[str, ...] = (), exclude: tuple[str, ...] = ()) -> list[str]:
    """As a walk does: into the folders that are entered, and no others."""
    rules = FolderRules(include=include, exclude=exclude)
    return [path for path in PATHS if rules.wants(path) and is_entered(rules, path)]


def is_entered(rules: FolderRules, path: str) -> bool:
    above = ""
    for name in path.split("/")[:-1]:
        if not rules.choose_folders(above, [name]):
            return False
        above += f"{name}/"
    return True


def test_without_rules_every_file_is_wanted() -> None:
    assert choose() == PATHS
    assert not FolderRules()


def test_only_what_is_included_is_wanted() -> None:
    assert choose(include=("*.pdf", "/*.txt")) == ["a.txt", "f.pdf"]
    assert choose(include=("docs/",)) == ["docs/b.md", "docs/b-old.md", "docs/drafts/c.md"]
    assert choose(include=("**/docs/*.md",)) == ["docs/b.md", "docs/b-old.md", "x/docs/d.md"]


def test_what_is_excluded_is_out_whatever_is_included() -> None:
    assert choose(include=("*.md",), exclude=("*-old.*", "drafts")) == ["a.md", "docs/b.md", "x/docs/d.md"]
    assert choose(exclude=("docs/*",)) == ["a.md", "a.txt", "x/docs/d.md", "drafts/e.md", "f.pdf"]
    assert choose(exclude=("drafts/",)) == [path for path in PATHS if path != "drafts/e.md"]
    assert choose(exclude=("**",)) == []


@pytest.mark.parametrize("glob", ["drafts", "drafts/", "/drafts/**", "**/drafts/**", "d*/"])
def test_an_excluded_folder_is_not_entered(glob: str) -> None:
    assert FolderRules(exclude=[glob]).choose_folders("", ["drafts"]) == set()


@pytest.mark.parametrize("glob", ["drafts/*", "drafts/**/*.md", "x/drafts/**", "*.md", "*/**/x"])
def test_a_folder_of_which_something_may_be_wanted_is_entered(glob: str) -> None:
    assert FolderRules(exclude=[glob]).choose_folders("", ["drafts"]) == {"drafts"}


@pytest.mark.parametrize("field", ["include", "exclude"])
def test_a_glob_that_is_none_is_named(field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        FolderRules(**{field: ["*.md", "a//b"]})
    assert caught.value.code == "bad_glob"
    assert caught.value.detail == f"{field}: the glob 'a//b' holds an empty name; write / between folders only"


def test_a_hundred_globs_are_enough() -> None:
    assert FolderRules(include=[f"{number}.md" for number in range(100)]).wants("x/99.md")
    with pytest.raises(InvalidInput):
        FolderRules(include=["*.md"] * 101)
