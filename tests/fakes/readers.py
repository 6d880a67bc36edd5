"""LlamaIndex readers as an operator may name them in KB_READERS: good ones, and each way of being bad."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

from llama_index.core.readers.base import BaseReader
from llama_index.core.schema import Document, MediaResource


class SubtitleReader(BaseReader):
    """One Document for all that is said, without numbers and times."""

    def load_data(self, file: Path, extra_info: dict[str, Any] | None = None) -> list[Document]:
        assert file.suffix == ".srt", "many readers go by the name"
        blocks = file.read_text("utf-8").replace("\r\n", "\n").strip().split("\n\n")
        return [Document(text="\n".join("\n".join(block.split("\n")[2:]) for block in blocks))]


class NotebookReader(BaseReader):
    """A Document for each cell, in Markdown, with a title, as pages with labels where the cells have some."""

    def load_data(self, file: Path) -> list[Document]:
        notebook = json.loads(file.read_text("utf-8"))
        return [
            Document(
                text_resource=MediaResource(text="".join(cell["source"]), mimetype="text/markdown"),
                metadata={"title": notebook.get("title")} | cell.get("metadata", {}),
            )
            for cell in notebook["cells"]
        ]


class BadReader(BaseReader):
    """Does what the file says."""

    def load_data(self, input_file: Path) -> list[Document]:
        deed, _, number = input_file.read_text("utf-8").partition(" ")
        match deed:
            case "hang":
                signal.pause()
            case "kill":
                os.kill(os.getpid(), signal.SIGSEGV)
            case "eat":
                eat()
            case "import":
                raise ImportError("install nbconvert as well")
            case "write":
                input_file.with_name("left.txt").write_text("something")
        given: dict[str, list[Any]] = {
            "strings": ["no document"],
            "pages": [Document(text="字")] * int(number or 0),
            "characters": [Document(text="字" * int(number or 0))],
            "environment": [Document(text=" ".join(sorted(os.environ)))],
            "nothing": [],
        }
        return given[deed] if deed in given else raise_secret()


def eat() -> None:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def raise_secret() -> list[Document]:
    raise KeyError("secret words of the document")


class FailingReader(BaseReader):
    """Cannot be made: what it needs is not installed."""

    def __init__(self) -> None:
        raise ImportError("install nbconvert to use this reader")

    def load_data(self, file: Path) -> list[Document]:
        raise AssertionError("it cannot be made")


class NoReader:
    def load_data(self, file: Path) -> list[Document]:
        return [Document(text="read all the same")]
