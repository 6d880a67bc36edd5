"""Parses files in limited child processes that are reused and replaced: a hostile file costs its own document alone."""

from __future__ import annotations

import json
import os
import queue
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import IO, Any, Self, cast

from ingest.held_signals import TO_THE_GROUP, hold_back
from ingest.loaders import LoadLimits
from ingest.parse_frames import (
    LENGTH,
    MOST_HEAD_BYTES,
    BadFrame,
    ParseRequest,
    read_document,
    read_failure,
    unpack_json,
)
from kb.errors import DocumentFailed, Unavailable
from kb.media_type import find_reader_extension
from kb.types import ParsedDocument

_LOADER = "ingest.loaders:load_document"
_READ_AT_ONCE = 1 << 20
_UTF8_BYTES = 4
_MEBIBYTE = 1 << 20
_OCR_WALL_PER_CPU = 2.0  # seconds by the clock for each of processor time, as the limits of a file have it
_END_SECONDS = 5.0  # between the end of the reply pipe and that of its process


@dataclass(frozen=True, kw_only=True, slots=True)
class ParserLimits:
    """What one file may cost, and when a child is replaced though nothing went wrong."""

    cpu_seconds: int = 60
    wall_seconds: float = 120.0
    memory_bytes: int = 1_500 * _MEBIBYTE  # address space beyond what an idle child maps
    ocr_page_seconds: int = 60  # of processor time; each page that OCR reads has so much of its own
    ocr_memory_bytes: int = 2_000 * _MEBIBYTE  # on top of the other once a page is read by OCR
    start_seconds: float = 60.0
    files_per_child: int = 200
    rss_bytes: int = 600 * _MEBIBYTE
    load: LoadLimits = field(default_factory=LoadLimits)


class _ChildGone(Exception):
    """The child ended."""


class _TimeOver(Exception):
    """No full reply within the time."""


class _KilledFromOutside(Exception):
    """The child ended by a signal that no file makes a parser send itself."""


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
        self._places: queue.LifoQueue[_Child | None] = queue.LifoQueue()
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
            return self._parse_again_if_killed(ParseRequest(path=path, media_type=media_type, password=password))
        reader = self._readers.get(extension)
        if reader is None:
            raise DocumentFailed("unsupported_type", f"KB_READERS names no reader for {extension}")
        with _link_file(path, extension) as named:
            return self._parse_again_if_killed(ParseRequest(path=named, media_type=media_type, reader=reader))

    def _parse_again_if_killed(self, request: ParseRequest) -> ParsedDocument:
        try:
            return self._parse_once(request)
        except _KilledFromOutside:
            pass
        try:
            return self._parse_once(request)
        except _KilledFromOutside as again:
            raise DocumentFailed("parser_crashed", f"the parser was killed twice on this file ({again})") from None

    def _parse_once(self, request: ParseRequest) -> ParsedDocument:
        """Raises _KilledFromOutside beside what `parse` raises."""
        child = self._places.get()
        try:
            if child is None or not child.is_alive():
                child = None
                child = _Child.start(self._loader, self._limits)
            return child.parse(request)
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


class _Child:
    """One process and the two pipes to it."""

    def __init__(self, process: subprocess.Popen[bytes], limits: ParserLimits) -> None:
        self._process = process
        self._limits = limits
        self._files = 0
        self._spent = False
        self._selector = selectors.DefaultSelector()
        self._stdin, self._stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        os.set_blocking(self._stdout.fileno(), False)
        self._selector.register(self._stdout, selectors.EVENT_READ)

    @classmethod
    def start(cls, loader: str, limits: ParserLimits) -> _Child:
        """Raises Unavailable (`parser_unavailable`)."""
        settings = {
            "loader": loader,
            "cpu_seconds": limits.cpu_seconds,
            "memory_bytes": limits.memory_bytes,
            "max_pages": limits.load.max_pages,
            "max_characters": limits.load.max_characters,
            "ocr_pages": limits.load.ocr_pages,
            "ocr_page_seconds": limits.ocr_page_seconds,
            "ocr_memory_bytes": limits.ocr_memory_bytes,
        }
        with hold_back(TO_THE_GROUP):
            # The environment is empty but for the import path: no key or password is within a hostile file's reach.
            process = subprocess.Popen(  # noqa: S603 - our own interpreter, our own module
                [sys.executable, "-m", "ingest.parse_child", json.dumps(settings)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                bufsize=0,
                env={"PYTHONPATH": os.pathsep.join(path or str(Path.cwd()) for path in sys.path), "PYTHONUTF8": "1"},
            )
        child = cls(process, limits)
        try:
            child._read_frame(time.monotonic() + limits.start_seconds, MOST_HEAD_BYTES)
        except (_ChildGone, _TimeOver, BadFrame) as error:
            child.stop()
            raise Unavailable("parser_unavailable", "the parse process does not start") from error
        return child

    def parse(self, request: ParseRequest) -> ParsedDocument:
        self._files += 1
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            self._stdin.write(request.pack())
            head, deadline = self._read_head(deadline)
            text = self._read_frame(deadline, self._limits.load.max_characters * _UTF8_BYTES)
            return self._read_reply(head, text)
        except _TimeOver as error:
            self._spent = True
            raise DocumentFailed(
                "parse_timeout", f"reading it took longer than {self._limits.wall_seconds:g} seconds"
            ) from error
        except BadFrame as error:
            self._spent = True
            raise DocumentFailed(
                "parser_crashed", f"the parser's reply to this file makes no sense ({error})"
            ) from error
        except (_ChildGone, BrokenPipeError) as error:
            raise self._explain_end() from error

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def is_spent(self) -> bool:
        return self._spent or self._files >= self._limits.files_per_child

    def stop(self) -> None:
        """Kills: a child has nothing to lose."""
        self._process.kill()
        self._process.wait()
        self._selector.close()
        self._stdin.close()
        self._stdout.close()

    def _read_head(self, deadline: float) -> tuple[dict[str, Any], float]:
        """The reply's first frame, and until when the rest may take: OCR has time of its own for each page."""
        for _ in range(self._limits.load.ocr_pages + 1):
            head = unpack_json(self._read_frame(deadline, MOST_HEAD_BYTES))
            if "begins" not in head:
                return head, deadline
            deadline = max(deadline, time.monotonic() + self._limits.ocr_page_seconds * _OCR_WALL_PER_CPU)
        raise BadFrame("more pages begun than may be read")

    def _read_reply(self, head: dict[str, Any], text: bytes) -> ParsedDocument:
        rss = head.get("rss")
        if head.get("exits") or not isinstance(rss, int) or rss > self._limits.rss_bytes:
            self._spent = True
        failure = read_failure(head, self._limits.load.max_pages)
        if failure is not None:
            raise failure
        return read_document(head, text)

    def _explain_end(self) -> DocumentFailed | _KilledFromOutside:
        self._spent = True
        try:
            ended = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return DocumentFailed("parser_crashed", "the parser closed its pipe on this file")
        if ended == -signal.SIGKILL:
            return _KilledFromOutside("SIGKILL")
        if ended == -signal.SIGXCPU:
            return DocumentFailed(
                "parse_limit", f"reading it took more than {self._limits.cpu_seconds} seconds of processor time"
            )
        reason = signal.Signals(-ended).name if -ended in set(signal.Signals) else f"exit code {ended}"
        return DocumentFailed("parser_crashed", f"the parser ended on this file ({reason})")

    def _read_frame(self, deadline: float, most: int) -> bytes:
        length = LENGTH.unpack(self._read_exactly(LENGTH.size, deadline))[0]
        if length > most:
            raise BadFrame("longer than any reply")
        return self._read_exactly(length, deadline)

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not self._selector.select(left):
                raise _TimeOver
            part = os.read(self._stdout.fileno(), min(_READ_AT_ONCE, size - len(received)))
            if not part:
                raise _ChildGone
            received += part
        return bytes(received)


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
