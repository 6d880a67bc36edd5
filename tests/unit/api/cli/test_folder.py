from __future__ import annotations

from api.cli.folder import LocalFile, pack_batches, show_name


def make_files(*sizes: int) -> list[LocalFile]:
    return [LocalFile(path=f"{n}", place=f"/{n}", size=size) for n, size in enumerate(sizes)]


def pack_sizes(*sizes: int, most_files: int = 3, most_bytes: int = 10) -> list[list[int]]:
    batches = pack_batches(make_files(*sizes), most_files=most_files, most_bytes=most_bytes)
    return [[file.size for file in batch] for batch in batches]


def test_requests_are_cut_by_count_and_by_bytes() -> None:
    assert pack_sizes(1, 1, 1, 1) == [[1, 1, 1], [1]]
    assert pack_sizes(5, 5, 1) == [[5, 5], [1]]
    assert pack_sizes(6, 5) == [[6], [5]]


def test_a_file_larger_than_a_request_goes_alone() -> None:
    assert pack_sizes(1, 99, 1) == [[1], [99], [1]]


def test_no_files_make_no_request() -> None:
    assert pack_sizes() == []


def test_bytes_that_are_no_text_are_shown() -> None:
    assert show_name(b"caf\xe9/\xd6\xd0.txt".decode("utf-8", "surrogateescape")) == "caf\\xe9/\\xd6\\xd0.txt"
