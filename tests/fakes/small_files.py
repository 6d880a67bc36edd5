"""Small Chinese and English documents that one word each finds, and what a server must say of them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from fakes.http_client import Client


@dataclass(frozen=True, kw_only=True)
class SmallFile:
    """A document that one word finds: no other document holds it."""

    path: str
    word: str
    data: bytes


def make_files(count: int, start: int = 0) -> list[SmallFile]:
    """Every other one Chinese. `start` goes on counting, so that several calls make different files."""
    return [_make_file(number) for number in range(start, start + count)]


def _make_file(number: int) -> SmallFile:
    if number % 2:
        # four Han characters from ranges of their own, so that no two words share a pair of characters
        word = "".join(chr(base + number) for base in (0x4E00, 0x5E00, 0x6E00, 0x7E00))
        text = f"第{number}号观测记录。本夜的暗号是{word}，由值班员登记在册。云量三成，风向西北，望远镜工作正常。\n"
        return SmallFile(path=f"记录/第{number:04}号.txt", word=word, data=text.encode())
    word = f"quasar{number:04}x"
    text = f"Log of night {number}. The word of the night is {word}. Clear sky, wind from the west, all well.\n"
    return SmallFile(path=f"logs/night-{number:04}.md", word=word, data=text.encode())


def with_prefix(name: str, files: Iterable[SmallFile]) -> list[SmallFile]:
    """The files as the documents of a source called `name`."""
    return [SmallFile(path=f"{name}/{file.path}", word=file.word, data=file.data) for file in files]


def cut_requests(files: Sequence[SmallFile], requests: int) -> list[list[SmallFile]]:
    size = -(-len(files) // requests)
    return [list(files[first : first + size]) for first in range(0, len(files), size)]


def to_upload(files: Iterable[SmallFile]) -> dict[str, bytes]:
    return {file.path: file.data for file in files}


def assert_answers(client: Client, files: Iterable[SmallFile]) -> None:
    """Every file is ready and its word finds it, first and with the word in the text."""
    files = list(files)
    status = {document["path"]: document["status"] for document in client.list_documents()}
    assert {file.path: status.get(file.path) for file in files} == {file.path: "ready" for file in files}
    for file in files:
        found = client.search(file.word, top_k=3)
        assert [file.path] == [passage["document"]["path"] for passage in found[:1]], file
        assert file.word in found[0]["text"]


def assert_absent(client: Client, files: Iterable[SmallFile]) -> None:
    """No document of that path, and no passage with the word."""
    paths = {document["path"] for document in client.list_documents()}
    for file in files:
        assert file.path not in paths
        assert not [passage for passage in client.search(file.word, top_k=5) if file.word in passage["text"]]
