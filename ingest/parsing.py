"""Parses files and reads the links of pages in limited child processes that are reused and replaced: a hostile one
costs itself alone."""

from __future__ import annotations

import queue
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self, TypeVar

from ingest.parse_frames import LinksRequest, ParseRequest
from ingest.parse_process import KilledFromOutside, ParseProcess, ParserLimits
from ingest.web.page import PageLinks
from kb.errors import DocumentFailed, Unavailable
from kb.media_type import find_reader_extension
from kb.types import ParsedDocument

__all__ = ["ParserLimits", "ParserPool"]

_LOADER = "ingest.loaders:load_document"

T = TypeVar("T")


class ParserPool:
    """`children` processes, started when first needed, each parsing one file at a time. Thread-safe."""

    def __init__(
        self,
        limits: ParserLimits | None = None,
        *,
        children: int = 1,
        loader: str = _LOADER,
        readers: Mapping[str, str] | None = None,
    ) -> None:
        """`loader` names a function `module:name` with the signature of `load_document`; `readers` name LlamaIndex
        readers, `module:Class` by extension."""
        self._limits = limits or ParserLimits()
        self._loader = loader
        self._readers = readers or {}
        self._places: queue.LifoQueue[ParseProcess | None] = queue.LifoQueue()
        self._children = children
        for _ in range(children):
            self._places.put(None)

    def parse(self, path: Path, media_type: str, password: str | None = None) -> ParsedDocument:
        """Waits for a free child and parses the file in it; `password` goes to it over its pipe and nowhere else.

        A child that somebody kills (an operator, the kernel short of memory) says nothing about its file, which is read
        once more in a new child.

        Raises DocumentFailed: what the loader raises, `unsupported_type` when it takes a reader that is not named any
        more, and `parse_timeout`, `parse_limit`, `parser_crashed`; Unavailable (`parser_unavailable`) when no child can
        be started.
        """
        extension = find_reader_extension(media_type)
        if extension is None:
            request = ParseRequest(path=path, media_type=media_type, password=password)
            return self._ask(lambda child: child.parse(request))
        reader = self._readers.get(extension)
        if reader is None:
            raise DocumentFailed("unsupported_type", f"KB_READERS names no reader for {extension}")
        with _link_file(path, extension) as named:
            request = ParseRequest(path=named, media_type=media_type, reader=reader)
            return self._ask(lambda child: child.parse(request))

    def read_links(self, body: bytes, content_type: str | None, url: str) -> PageLinks:
        """The links of an HTML page, read in a child like a file; `url` is what relative ones count from, unless the
        page has a `<base>`. Raises DocumentFailed (`parse_timeout`, `parse_limit`, `parser_crashed`), Unavailable."""
        request = LinksRequest(body=body, content_type=content_type, url=url)
        return self._ask(lambda child: child.read_links(request))

    def _ask(self, ask: Callable[[ParseProcess], T]) -> T:
        try:
            return self._ask_once(ask)
        except KilledFromOutside:
            pass
        try:
            return self._ask_once(ask)
        except KilledFromOutside as again:
            raise DocumentFailed("parser_crashed", f"the parser was killed twice on this file ({again})") from None

    def _ask_once(self, ask: Callable[[ParseProcess], T]) -> T:
        """Raises KilledFromOutside beside what the child raises."""
        child = self._places.get()
        try:
            if child is None or not child.is_alive():
                child = None
                child = ParseProcess.start(self._loader, self._limits)
            return ask(child)
        finally:
            if child is not None and child.is_spent():
                child.stop()
                child = None
            self._places.put(child)

    def close(self) -> None:
        """Ends every child, after the files now being parsed."""
        for _ in range(self._children):
            child = self._places.get()
            if child is not None:
                child.stop()
        for _ in range(self._children):
            self._places.put(None)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


@contextmanager
def _link_file(path: Path, extension: str) -> Iterator[Path]:
    """The file under a name with its extension, which many readers go by. Raises Unavailable (`parser_unavailable`)."""
    try:
        folder = TemporaryDirectory(prefix="kb-reader-")
    except OSError as error:
        raise Unavailable("parser_unavailable", f"no temporary folder can be made: {error.strerror}") from error
    with folder as name:
        link = Path(name) / f"document{extension}"
        link.symlink_to(path.absolute())
        yield link
