"""A folder of 10,000 files on a night on which nothing changed, beside a bare walk over the same folder."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

from figures import Figure, describe_spread, find_median

from ingest.sources.folder import list_folder
from ingest.sources.rules import FolderRules

FILES = 10_000
FOLDERS = 100
ROUNDS = 21
MOST_RATIO = 2.0
IGNORED = "# drafts\n*.tmp\n*.bak\n~$*\n草稿/\n/build\nnode_modules/\n**/cache/**\n!keep.tmp\n"
# With IGNORED four globs to include, three to exclude and a list of eight lines; every file is wanted in the end.
RULES = FolderRules(include=["*.md", "*.pdf", "*.txt", "资料/**"], exclude=["*-旧版.*", "archive/", "**/drafts/**"])


def measure_listing() -> list[Figure]:
    with TemporaryDirectory() as name:
        root = Path(name)
        write_files(root)
        figures = compare_walks(root, FolderRules(), "no rules")
        (root / ".kbignore").write_text(IGNORED, encoding="utf-8")
        return [*figures, *compare_walks(root, RULES, "rules")]


def write_files(root: Path) -> None:
    for number in range(FOLDERS):
        folder = root / f"部门{number % 10}" / f"项目-{number:03}" / "资料"
        folder.mkdir(parents=True)
        for place in range(FILES // FOLDERS):
            (folder / f"报告-{place:03}-final.md").write_bytes(b"x")


def compare_walks(root: Path, rules: FolderRules, what: str) -> list[Figure]:
    """Turn about, so that what else the machine does meets both."""
    bare, ours = [], []
    for _ in range(ROUNDS):
        bare.append(time_call(lambda: walk_bare(root)))
        ours.append(time_call(lambda: list_folder(root, rules)))
    ratios = [mine / other for mine, other in zip(ours, bare, strict=True)]
    return [
        Figure(name=f"bare walk with stat, {FILES:,} files", value=find_median(bare), unit="ms",
               note=describe_spread(bare, "ms")),
        Figure(name=f"listing the same folder, {what}", value=find_median(ours), unit="ms",
               note=describe_spread(ours, "ms")),
        Figure(name=f"listing ÷ bare walk, {what}", value=find_median(ratios), unit="×", at_most=MOST_RATIO,
               note=describe_spread(ratios, "×")),
    ]  # fmt: skip


def walk_bare(root: Path) -> int:
    """Files below `root`: `os.scandir` and one `stat` each, and nothing more."""
    stack, files = [str(root)], 0
    while stack:
        with os.scandir(stack.pop()) as entries:
            for entry in entries:
                if entry.is_dir(follow_symlinks=False):
                    stack.append(entry.path)
                else:
                    entry.stat(follow_symlinks=False)
                    files += 1
    return files


def time_call(call: Callable[[], object]) -> float:
    """Milliseconds."""
    began = time.perf_counter()
    call()
    return 1000 * (time.perf_counter() - began)
