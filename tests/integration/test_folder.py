"""Listing and reading a real folder: links, names in any encoding, ignore lists, and what changes under way."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Collection, Mapping
from functools import partial
from hashlib import sha256
from pathlib import Path

import pytest
from fakes.network import UNWATCHED

from ingest.sources.folder import ListedFile, Listing, list_folder
from ingest.sources.reading import PIECE, CopiedFile, copy_file, hash_file
from ingest.sources.rules import FolderRules
from kb.errors import DocumentFailed, Unavailable

ALL = FolderRules()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    return folder


def write_files(root: Path, *paths: str | bytes) -> None:
    """Each holds its own path."""
    for path in paths:
        place = root / os.fsdecode(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(os.fsencode(path))


def list_codes(listing: Listing) -> dict[str, str]:
    return {one.path: one.code for one in listing.refused}


def read(listing: Listing, path: str) -> bytes:
    pieces: list[bytes] = []
    copied = copy_file(listing.root, listing.files[path], pieces.append)
    data = b"".join(pieces)
    assert (copied.sha256, copied.size) == (sha256(data).hexdigest(), len(data))
    return data


# -- what is listed -----------------------------------------------------------------------------------------------


def test_files_of_all_folders_are_listed_with_size_and_time(root: Path) -> None:
    write_files(root, "a.md", "x/y/报告 一.md")
    os.utime(root / "a.md", ns=(5, 1_000_000_007))
    listing = list_folder(root, ALL)
    assert sorted(listing.files) == ["a.md", "x/y/报告 一.md"]
    file = listing.files["a.md"]
    assert (file.path, file.raw, file.size, file.mtime_ns) == ("a.md", "a.md", 4, 1_000_000_007)
    assert listing.root == root.resolve()
    assert list(listing.refused) == []
    assert read(listing, "x/y/报告 一.md") == "x/y/报告 一.md".encode()


def test_a_time_before_1970_and_a_huge_size_fit(root: Path) -> None:
    with (root / "a").open("wb") as file:
        file.truncate(2**43)
    os.utime(root / "a", ns=(0, -(2**60)))
    file = list_folder(root, ALL).files["a"]
    assert (file.size, file.mtime_ns) == (2**43, -(2**60))
    assert len(file.stat) <= 64


def test_hidden_files_and_folders_are_left_out(root: Path) -> None:
    write_files(root, ".a", ".git/b", "x/.c/d", "x/e")
    assert list(list_folder(root, ALL).files) == ["x/e"]


def test_the_order_is_that_of_the_names_not_of_the_disk(root: Path) -> None:
    names = [f"{number}.md" for number in range(100, 160)]
    write_files(root, *names)
    assert list(list_folder(root, ALL).files) == names


def test_an_empty_folder_is_a_listing_too(root: Path) -> None:
    assert dict(list_folder(root, ALL).files) == {}


def test_a_folder_that_did_not_change_has_the_same_sum(root: Path) -> None:
    write_files(root, *(f"{number % 7}/{number}.md" for number in range(60)))
    sums = [list_folder(root, ALL).sha256 for _ in range(2)]
    copy = root.parent / "copy"
    copy.mkdir()
    for place in sorted(root.rglob("*.md"), reverse=True):  # the same files by another history of folders
        (copy / place.parent.name).mkdir(exist_ok=True)
        os.link(place, copy / place.parent.name / place.name)
    assert sums[0] == sums[1]
    assert list_folder(copy, ALL).sha256 == list_folder(root, ALL).sha256 != sums[0], "a link more is a new ctime"


@pytest.mark.parametrize(
    "change",
    [
        lambda root: write_files(root, "new"),
        lambda root: (root / "a").unlink(),
        lambda root: (root / "a").rename(root / "b"),
        lambda root: (root / "a").write_bytes(b"1"),
        lambda root: os.utime(root / "a", ns=(0, 0)),
        lambda root: (root / "broken").symlink_to("nowhere"),
    ],
    ids=["added", "removed", "renamed", "rewritten", "touched", "refused"],
)
def test_any_change_gives_another_sum(root: Path, change: Callable[[Path], object]) -> None:
    write_files(root, "a", "x/c")
    before = list_folder(root, ALL).sha256
    change(root)
    assert list_folder(root, ALL).sha256 != before


def test_rules_and_lists_leave_out_together(root: Path) -> None:
    write_files(root, "a.md", "b.txt", "drafts/c.md", "x/d.md", "x/e.md", "x/f.old.md")
    (root / "x/.kbignore").write_text("e.*\n")
    rules = FolderRules(include=["*.md"], exclude=["drafts/", "*.old.*"])
    assert list(list_folder(root, rules).files) == ["a.md", "x/d.md"]


def test_an_excluded_folder_is_not_looked_into(root: Path) -> None:
    write_files(root, "x/y/a", "z/b")
    (root / "x/y/.kbignore").write_bytes(b"\xff")
    (root / "z/.kbignore").write_bytes(b"\xff")
    (root / ".kbignore").write_text("/z/\n")
    listing = list_folder(root, FolderRules(exclude=["x/y/**"]))
    assert (list(listing.files), list(listing.refused)) == ([], [])


# -- .kbignore ----------------------------------------------------------------------------------------------------

TREE = [
    "a.md", "a.tmp", "keep.tmp", "build/a", "x/build/b", "x/a.md", "x/y/a.md", "x/y/keep.tmp", "docs/a/b/c.md",
    "docs/b.md", "docs/a/keep.md", "sp ace/a", "#odd", "!odd", "文/草稿/一.md", "文/一.md", "q[1].md", "q1.md",
    "x/keep/z.tmp",
]  # fmt: skip
LISTS: list[Mapping[str, str]] = [
    {"": "*.tmp\n!keep.tmp\n"},
    {"": "build\n"},
    {"": "/build\n"},
    {"": "build/\n!x/build/\n"},
    {"": "a.md\n", "x": "!a.md\n", "x/y": "a.md\n"},
    {"": "docs/**\n!docs/b.md\n"},
    {"": "docs/*\n!docs/a/\n"},
    {"": "docs/**/c.md\n"},
    {"": "**/草稿/\n"},
    {"": "\\#odd\n\\!odd\n# a.md\n"},
    {"": "sp\\ ace/\n"},
    {"": "q[1].md\n"},
    {"": "q\\[1\\].md\n"},
    {"": "*\n!*/\n!*.md\n"},
    {"": "/*\n!/x\n/x/*\n!/x/y\n"},
    {"": "x/\n!x/a.md\n"},
    {"x": "y/a.md\n/build/\nkeep/**\n"},
    {"": "**\n", "x": "!a.md\n"},
    {"": "*.md\r\n!文/*.md\r\n"},
    {"": "?eep.*\n[!a]*.md\n"},
]


@pytest.mark.skipif(shutil.which("git") is None, reason="git is the measure here")
@pytest.mark.parametrize("lists", LISTS, ids=str)
def test_a_list_leaves_out_what_git_would(root: Path, lists: Mapping[str, str]) -> None:
    write_files(root, *TREE)
    for folder, text in lists.items():
        for name in (".kbignore", ".gitignore"):
            (root / folder / name).write_text(text, newline="")
    found = list_folder(root, ALL)
    assert list(found.refused) == []
    assert set(found.files) == list_with_git(root)


def list_with_git(root: Path) -> set[str]:
    call = partial(subprocess.run, cwd=root, check=True, capture_output=True)
    alone = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_SYSTEM": os.devnull, "PATH": os.environ["PATH"]}
    alone[UNWATCHED] = "git is no Python, and asks nobody for these"
    call(["git", "init", "--quiet"], env=alone)
    told = call(["git", "ls-files", "--others", "--exclude-per-directory=.gitignore", "-z"], env=alone)
    return {path for path in told.stdout.decode().split("\0") if path and not path.rpartition("/")[2].startswith(".")}


@pytest.mark.parametrize(
    "write",
    [
        lambda place: place.write_bytes("报告".encode("gb18030")),
        lambda place: place.write_text("../x\n"),
        lambda place: place.mkdir(),
        lambda place: place.symlink_to("a"),
        lambda place: os.mkfifo(place),
    ],
    ids=["gbk", "broken", "folder", "link", "pipe"],
)
def test_a_list_that_cannot_be_read_closes_its_folder(root: Path, write: Callable[[Path], object]) -> None:
    write_files(root, "x/secret", "x/y/a", "z")
    write(root / "x/.kbignore")
    listing = list_folder(root, ALL)
    assert list(listing.files) == ["z"]
    assert list_codes(listing) == {"x/.kbignore": "bad_ignore_file"}


# -- links --------------------------------------------------------------------------------------------------------


def test_links_inside_the_root_are_files_and_folders_are_listed_once(root: Path) -> None:
    write_files(root, "x/a.md")
    (root / "link.md").symlink_to("x/a.md")
    (root / "x/far.md").symlink_to(root / "link.md")
    (root / "x/up").symlink_to("..")
    (root / "folder").symlink_to("x")
    listing = list_folder(root, ALL)
    assert sorted(listing.files) == ["link.md", "x/a.md", "x/far.md"]
    assert list(listing.refused) == []
    assert {read(listing, path) for path in listing.files} == {b"x/a.md"}
    assert len({file.stat for file in listing.files.values()}) == 1


def test_links_out_of_the_root_are_refused(root: Path) -> None:
    outside = root.parent / "folder-too"  # its path begins like the root's
    write_files(outside, "secret")
    for name, target in {
        "a": outside / "secret",
        "b": outside,
        "c": "../folder-too/secret",
        "d": "..",
        "e": "/",
    }.items():
        (root / name).symlink_to(target)
    listing = list_folder(root, ALL)
    assert dict(listing.files) == {}
    assert list_codes(listing) == dict.fromkeys("abcde", "link_outside")


def test_links_to_nowhere_and_to_themselves_are_refused(root: Path) -> None:
    (root / "a").symlink_to("nothing")
    (root / "b").symlink_to("b")
    (root / "left-out.tmp").symlink_to("nothing")
    assert list_codes(list_folder(root, FolderRules(exclude=["*.tmp"]))) == {"a": "link_broken", "b": "link_broken"}


def test_the_root_may_be_a_link(root: Path) -> None:
    write_files(root, "a")
    (root.parent / "link").symlink_to(root)
    listing = list_folder(root.parent / "link", ALL)
    assert (listing.root, read(listing, "a")) == (root.resolve(), b"a")


def test_pipes_and_sockets_are_refused_unopened(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    os.mkfifo(root / "pipe")
    (root / "link").symlink_to("pipe")
    monkeypatch.chdir(root)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind("socket")
        assert list_codes(list_folder(root, ALL)) == dict.fromkeys(("link", "pipe", "socket"), "special_file")


# -- names --------------------------------------------------------------------------------------------------------


def test_names_in_other_encodings_are_read_and_opened(root: Path) -> None:
    gbk = "年报/第一章.md".encode("gb18030")
    write_files(root, gbk, b"caf\xe9.md", "cafe\u0301/a.md")
    listing = list_folder(root, ALL)
    assert sorted(listing.files) == ["caf%E9.md", "caf\u00e9/a.md", "年报/第一章.md"]
    assert read(listing, "年报/第一章.md") == gbk
    assert read(listing, "caf%E9.md") == b"caf\xe9.md"
    assert read(listing, "caf\u00e9/a.md") == "cafe\u0301/a.md".encode()


def test_of_two_names_that_read_the_same_the_first_is_kept(root: Path) -> None:
    write_files(root, "caf\u00e9.md", "cafe\u0301.md", "报告.md", "报告.md".encode("gb18030"))
    listing = list_folder(root, ALL)
    assert list_codes(listing) == dict.fromkeys(("caf\u00e9.md", "报告.md"), "duplicate_path")
    assert read(listing, "caf\u00e9.md") == "cafe\u0301.md".encode()
    assert read(listing, "报告.md") == "报告.md".encode("gb18030")


def test_rules_and_lists_see_names_as_text(root: Path) -> None:
    write_files(root, "草稿.md".encode("gb18030"), "cafe\u0301.md", "正文.md".encode("gb18030"))
    (root / ".kbignore").write_text("草稿.*\n", encoding="utf-8")
    assert list(list_folder(root, FolderRules(exclude=["caf\u00e9.md"])).files) == ["正文.md"]


def test_names_that_no_document_may_have_are_refused(root: Path) -> None:
    write_files(root, "a\nb", "x/c\\d", " /e", "good")
    listing = list_folder(root, ALL)
    assert list(listing.files) == ["good"]
    assert list_codes(listing) == dict.fromkeys(("a%0Ab", "x/c\\d", " "), "bad_path")


def test_the_sources_name_counts_to_a_paths_length(root: Path) -> None:
    path = "/".join(["x" * 200] * 4 + ["y" * 199])  # 1,003 bytes
    write_files(root, path)
    assert list(list_folder(root, ALL, prefix="p" * 20).files) == [path]
    assert list_codes(list_folder(root, ALL, prefix="p" * 21)) == {path: "bad_path"}


def test_a_name_may_grow_too_long_by_being_read(root: Path) -> None:
    write_files(root, ("文" * 100).encode("gb18030"))
    assert list_codes(list_folder(root, ALL)) == {"文" * 100: "bad_path"}


def test_folders_deeper_than_any_document_are_not_entered(root: Path) -> None:
    write_files(root, "/".join(["d"] * 100 + ["a"]), "/".join(["e"] * 101 + ["a"]))
    listing = list_folder(root, ALL)
    assert list(listing.files) == ["/".join(["d"] * 100 + ["a"])]
    assert list_codes(listing) == {"/".join(["e"] * 101): "bad_path"}


# -- what is not there, or not for us -----------------------------------------------------------------------------


class Meddling(FolderRules):
    """Does something the moment a folder's names were seen, before any is entered."""

    def meddle(self, act: Callable[[], object]) -> Meddling:
        object.__setattr__(self, "act", act)
        return self

    def __bool__(self) -> bool:
        return True

    def choose_folders(self, folder: str, names: Collection[str]) -> set[str]:
        if not folder:
            self.act()  # type: ignore[attr-defined]
        return super().choose_folders(folder, names)


def test_a_root_that_is_not_there_is_unavailable(root: Path) -> None:
    write_files(root, "a")
    for place in (root / "gone", root / "a"):
        with pytest.raises(Unavailable) as caught:
            list_folder(place, ALL)
        assert caught.value.code == "source_unavailable"
        assert str(place) in caught.value.detail


def test_a_root_that_goes_while_it_is_listed_is_unavailable(root: Path) -> None:
    write_files(root, "x/a")
    rules = Meddling().meddle(lambda: root.rename(root.parent / "elsewhere"))
    with pytest.raises(Unavailable) as caught:
        list_folder(root, rules)
    assert caught.value.code == "source_unavailable"


def test_a_root_that_is_another_at_the_end_is_unavailable(root: Path) -> None:
    """As an unmounted disk leaves the empty folder it was mounted on."""
    write_files(root, "x/a")

    def exchange() -> None:
        root.rename(root.parent / "elsewhere")
        root.mkdir()

    with pytest.raises(Unavailable, match="another folder"):
        list_folder(root, Meddling().meddle(exchange))


def test_a_folder_that_goes_while_it_is_listed_is_refused(root: Path) -> None:
    write_files(root, "x/a", "y/b")
    listing = list_folder(root, Meddling().meddle(lambda: shutil.rmtree(root / "x")))
    assert (list(listing.files), list_codes(listing)) == (["y/b"], {"x": "file_unreadable"})


def test_a_folder_swapped_for_a_link_is_not_entered(root: Path) -> None:
    write_files(root.parent / "outside", "secret")
    write_files(root, "x/a")

    def swap() -> None:
        shutil.rmtree(root / "x")
        (root / "x").symlink_to(root.parent / "outside")

    listing = list_folder(root, Meddling().meddle(swap))
    assert (list(listing.files), list_codes(listing)) == ([], {"x": "file_unreadable"})


def test_what_may_not_be_read_is_refused(root: Path) -> None:
    write_files(root, "x/a", "b")
    (root / "x").chmod(0)
    (root / "b").chmod(0)
    if os.access(root / "b", os.R_OK):
        pytest.skip("root reads everything")
    try:
        listing = list_folder(root, ALL)
        assert list_codes(listing) == {"x": "file_unreadable"}
        assert fail_to_read(listing, "b") == "file_unreadable"
        root.chmod(0)
        with pytest.raises(Unavailable):
            list_folder(root, ALL)
    finally:
        root.chmod(0o700)
        (root / "x").chmod(0o700)


# -- reading ------------------------------------------------------------------------------------------------------


def fail_to_read(listing: Listing, path: str) -> str:
    """The code; nothing may have been written."""
    pieces: list[bytes] = []
    with pytest.raises(DocumentFailed) as caught:
        copy_file(listing.root, listing.files[path], pieces.append)
    assert pieces == []
    with pytest.raises(DocumentFailed):
        hash_file(listing.root, listing.files[path])
    return caught.value.code


def test_a_copy_tells_what_was_read(root: Path) -> None:
    data = os.urandom(PIECE + 5)
    (root / "a").write_bytes(data)
    listing = list_folder(root, ALL)
    pieces: list[bytes] = []
    copied = copy_file(listing.root, listing.files["a"], pieces.append, max_bytes=len(data))
    assert b"".join(pieces) == data
    digest = sha256(data).hexdigest()
    assert copied == CopiedFile(sha256=digest, size=len(data), stat=listing.files["a"].stat, head=data[:8192])
    assert hash_file(listing.root, listing.files["a"]) == digest


def test_a_file_over_the_limit_is_not_read(root: Path) -> None:
    write_files(root, "name")
    listing = list_folder(root, ALL)
    with pytest.raises(DocumentFailed) as caught:
        copy_file(listing.root, listing.files["name"], lambda data: None, max_bytes=3)
    assert caught.value.code == "too_large"


@pytest.mark.parametrize("name", ["a", "x/a"])
def test_a_file_swapped_for_a_link_out_of_the_root_is_not_read(root: Path, name: str) -> None:
    write_files(root.parent / "outside", "a")
    write_files(root, name)
    listing = list_folder(root, ALL)
    swapped = root / name.partition("/")[0]
    swapped.rename(root.parent / "was")
    swapped.symlink_to(root.parent / "outside" if "/" in name else root.parent / "outside/a")
    assert fail_to_read(listing, name) == "file_gone"


def test_a_link_that_is_turned_outwards_reads_what_it_led_to(root: Path) -> None:
    write_files(root.parent / "outside", "a")
    write_files(root, "x/a")
    (root / "link").symlink_to("x/a")
    listing = list_folder(root, ALL)
    (root / "link").unlink()
    (root / "link").symlink_to(root.parent / "outside/a")
    assert read(listing, "link") == b"x/a"


@pytest.mark.parametrize("make", [os.mkdir, os.mkfifo], ids=["folder", "pipe"])
def test_a_file_swapped_for_something_else_is_gone(root: Path, make: Callable[[Path], object]) -> None:
    write_files(root, "a")
    listing = list_folder(root, ALL)
    (root / "a").unlink()
    make(root / "a")
    assert fail_to_read(listing, "a") == "file_gone"


def test_a_file_that_went_is_gone_and_so_is_its_root(root: Path) -> None:
    write_files(root, "x/a")
    listing = list_folder(root, ALL)
    shutil.rmtree(root / "x")
    assert fail_to_read(listing, "x/a") == "file_gone"
    root.rmdir()
    with pytest.raises(Unavailable) as caught:
        hash_file(listing.root, listing.files["x/a"])
    assert caught.value.code == "source_unavailable"


def test_a_file_saved_anew_is_read_as_it_is(root: Path) -> None:
    write_files(root, "a")
    listing = list_folder(root, ALL)
    (root / "new").write_bytes(b"new")
    (root / "new").rename(root / "a")
    copied = copy_file(listing.root, listing.files["a"], lambda data: None)
    assert copied.stat == list_folder(root, ALL).files["a"].stat != listing.files["a"].stat


def test_a_file_that_changes_while_it_is_copied_fails(root: Path) -> None:
    (root / "a").write_bytes(bytes(2 * PIECE))
    listing = list_folder(root, ALL)
    with pytest.raises(DocumentFailed) as caught:
        copy_file(listing.root, listing.files["a"], lambda data: os.truncate(root / "a", PIECE))
    assert caught.value.code == "file_changing"


@pytest.mark.skipif(not Path("/proc/uptime").exists(), reason="no file here gives more bytes than it says it has")
def test_a_file_that_grows_each_time_it_is_read_fails_unwritten() -> None:
    file = ListedFile(path="uptime", raw="uptime", size=0, mtime_ns=0, stat="")
    listing = Listing(root=Path("/proc"), files={"uptime": file}, refused=[], sha256="")
    assert fail_to_read(listing, "uptime") == "file_changing"
