"""Where a folder source may lie, on a real disk with links."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ingest.sources.roots import check_root, make_absolute
from kb.errors import InvalidInput

Check = Callable[[str], Path]


@pytest.fixture
def check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Check:
    """Allowed are `a` and `b`; the data directory is `a/store`; the working directory is `a`."""
    for name in ("a/docs/deep", "a/store/blobs", "b", "outside", "ab"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "a" / "file.txt").write_text("x")
    monkeypatch.chdir(tmp_path / "a")
    return lambda uri: check_root(uri, [tmp_path / "a", tmp_path / "b"], tmp_path / "a" / "store")


def get_code(check: Check, uri: object) -> str:
    with pytest.raises(InvalidInput) as refused:
        check(str(uri))
    return refused.value.code


def test_paths_and_file_uris_name_a_folder(check: Check, tmp_path: Path) -> None:
    docs = tmp_path / "a" / "docs"
    (docs / "50% 空").mkdir()
    uris = (f"{docs}", f"{docs}/", "docs", "./docs/../docs", docs.as_uri(), f"file://localhost{docs}", f"FILE://{docs}")
    for uri in uris:
        assert check(uri) == docs
    assert check((docs / "50% 空").as_uri()) == docs / "50% 空"
    assert check(str(tmp_path / "b")) == tmp_path / "b"


def test_a_relative_path_is_kept_absolute_and_the_rest_as_it_was_given(check: Check, tmp_path: Path) -> None:
    assert make_absolute("docs") == str(tmp_path / "a" / "docs")
    for uri in ("/srv/docs", "file:///srv/docs"):
        assert make_absolute(uri) == uri


def test_what_is_not_allowed(check: Check, tmp_path: Path) -> None:
    for uri in ("/", "/etc", tmp_path, tmp_path / "outside", "../outside", tmp_path / "ab"):  # `ab` begins as `a` does
        assert get_code(check, uri) == "root_not_allowed"
    with pytest.raises(InvalidInput, match=r"KB_ALLOWED_ROOTS allows .*/a, .*/b"):
        check("/etc")
    with pytest.raises(InvalidInput, match="KB_ALLOWED_ROOTS allows nothing"):
        check_root("/etc", [], tmp_path)


def test_whether_something_is_there_is_not_told_of_places_outside(check: Check, tmp_path: Path) -> None:
    assert get_code(check, tmp_path / "outside" / "nothing") == "root_not_allowed"
    assert get_code(check, "/etc/passwd") == "root_not_allowed"


def test_links_are_followed_before_it_is_asked(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a" / "out").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "in").symlink_to(tmp_path / "b")
    (tmp_path / "a" / "loop").symlink_to("loop")
    assert get_code(check, "out") == "root_not_allowed"
    assert check(str(tmp_path / "outside" / "in")) == tmp_path / "b"
    assert get_code(check, "loop") == "root_unreadable"


def test_an_allowed_root_may_be_a_link_itself(tmp_path: Path) -> None:
    (tmp_path / "real" / "docs").mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    found = check_root(str(tmp_path / "real" / "docs"), [tmp_path / "link"], tmp_path / "store")
    assert found == tmp_path / "real" / "docs"


def test_the_data_directory_is_never_read(check: Check, tmp_path: Path) -> None:
    (tmp_path / "a" / "docs" / "link").symlink_to(tmp_path / "a" / "store")
    for uri in ("store", "store/blobs", "docs/link", ".", tmp_path / "a"):
        assert get_code(check, uri) == "root_in_data_dir"


def test_what_is_no_folder(check: Check, tmp_path: Path) -> None:
    assert get_code(check, "nothing") == "root_missing"
    assert get_code(check, "file.txt/x") == "root_missing"
    assert get_code(check, "file.txt") == "root_not_a_folder"
    assert get_code(check, "x" * 300) == "root_unreadable"


@contextmanager
def without_rights() -> Iterator[None]:
    """As somebody who is not root, who may read everything."""
    mine = os.geteuid()
    if mine == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(mine)


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o600])
def test_what_may_not_be_read(check: Check, tmp_path: Path, mode: int) -> None:
    docs = tmp_path / "a" / "docs"
    docs.chmod(mode)
    with without_rights():
        assert get_code(check, docs) == "root_unreadable"
    docs.chmod(0o700)


@pytest.mark.parametrize("uri", ["", " ", "http://host/docs", "file://host/docs", "file://", "file:///a%00b", "s3://b"])
def test_what_is_no_path(check: Check, uri: str) -> None:
    assert get_code(check, uri) == "bad_uri"
