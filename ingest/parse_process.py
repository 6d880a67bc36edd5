"""One parse child as its owner sees it: a process, the two pipes to it, and what it may cost."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, TypeVar, cast

from ingest.held_signals import TO_THE_GROUP, hold_back
from ingest.loaders import LoadLimits
from ingest.parse_frames import (
    LENGTH,
    MOST_HEAD_BYTES,
    BadFrame,
    LinksRequest,
    ParseRequest,
    read_document,
    read_failure,
    read_page_links,
    unpack_json,
)
from ingest.web.page import PageLinks
from kb.errors import DocumentFailed, Unavailable
from kb.types import ParsedDocument

T = TypeVar("T")

_AT_ONCE = 1 << 20
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


class KilledFromOutside(Exception):
    """The child ended by a signal that no file makes a parser send itself."""


class _ChildGone(Exception):
    """The child ended."""


class _TimeOver(Exception):
    """No full reply within the time."""


class ParseProcess:
    """Reads one file or page at a time."""

    def __init__(self, process: subprocess.Popen[bytes], limits: ParserLimits) -> None:
        self._process = process
        self._limits = limits
        self._files = 0
        self._spent = False
        self._stdin, self._stdout = cast("IO[bytes]", process.stdin), cast("IO[bytes]", process.stdout)
        self._readable, self._writable = selectors.DefaultSelector(), selectors.DefaultSelector()
        for pipe, selector, event in (
            (self._stdout, self._readable, selectors.EVENT_READ),
            (self._stdin, self._writable, selectors.EVENT_WRITE),
        ):
            os.set_blocking(pipe.fileno(), False)
            selector.register(pipe, event)

    @classmethod
    def start(cls, loader: str, limits: ParserLimits) -> ParseProcess:
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
        """Raises DocumentFailed, KilledFromOutside."""
        return self._ask(request.pack(), read_document)

    def read_links(self, request: LinksRequest) -> PageLinks:
        """Raises DocumentFailed, KilledFromOutside."""
        return self._ask(request.pack(), read_page_links)

    def is_alive(self) -> bool:
        return self._process.poll() is None

    def is_spent(self) -> bool:
        return self._spent or self._files >= self._limits.files_per_child

    def stop(self) -> None:
        """Kills: a child has nothing to lose."""
        self._process.kill()
        self._process.wait()
        self._readable.close()
        self._writable.close()
        self._stdin.close()
        self._stdout.close()

    def _ask(self, request: bytes, read: Callable[[Mapping[str, Any], bytes], T]) -> T:
        self._files += 1
        deadline = time.monotonic() + self._limits.wall_seconds
        try:
            self._write(request, deadline)
            head, deadline = self._read_head(deadline)
            text = self._read_frame(deadline, self._limits.load.max_characters * _UTF8_BYTES)
            self._check_reply(head)
            return read(head, text)
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

    def _read_head(self, deadline: float) -> tuple[dict[str, Any], float]:
        """The reply's first frame, and until when the rest may take: OCR has time of its own for each page."""
        for _ in range(self._limits.load.ocr_pages + 1):
            head = unpack_json(self._read_frame(deadline, MOST_HEAD_BYTES))
            if "begins" not in head:
                return head, deadline
            deadline = max(deadline, time.monotonic() + self._limits.ocr_page_seconds * _OCR_WALL_PER_CPU)
        raise BadFrame("more pages begun than may be read")

    def _check_reply(self, head: Mapping[str, Any]) -> None:
        """Raises DocumentFailed when that is the reply."""
        rss = head.get("rss")
        if head.get("exits") or not isinstance(rss, int) or rss > self._limits.rss_bytes:
            self._spent = True
        failure = read_failure(head, self._limits.load.max_pages)
        if failure is not None:
            raise failure

    def _explain_end(self) -> DocumentFailed | KilledFromOutside:
        self._spent = True
        try:
            ended = self._process.wait(_END_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            return DocumentFailed("parser_crashed", "the parser closed its pipe on this file")
        if ended == -signal.SIGKILL:
            return KilledFromOutside("SIGKILL")
        if ended == -signal.SIGXCPU:
            return DocumentFailed(
                "parse_limit", f"reading it took more than {self._limits.cpu_seconds} seconds of processor time"
            )
        reason = signal.Signals(-ended).name if -ended in set(signal.Signals) else f"exit code {ended}"
        return DocumentFailed("parser_crashed", f"the parser ended on this file ({reason})")

    def _write(self, request: bytes, deadline: float) -> None:
        """A page is larger than a pipe: a child that was stopped must not hold its owner up for ever."""
        left = memoryview(request)
        while left:
            if not self._writable.select(max(0.0, deadline - time.monotonic())):
                raise _TimeOver
            left = left[os.write(self._stdin.fileno(), left[:_AT_ONCE]) :]

    def _read_frame(self, deadline: float, most: int) -> bytes:
        length = LENGTH.unpack(self._read_exactly(LENGTH.size, deadline))[0]
        if length > most:
            raise BadFrame("longer than any reply")
        return self._read_exactly(length, deadline)

    def _read_exactly(self, size: int, deadline: float) -> bytes:
        received = bytearray()
        while len(received) < size:
            left = deadline - time.monotonic()
            if left <= 0 or not self._readable.select(left):
                raise _TimeOver
            part = os.read(self._stdout.fileno(), min(_AT_ONCE, size - len(received)))
            if not part:
                raise _ChildGone
            received += part
        return bytes(received)
