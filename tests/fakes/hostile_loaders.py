"""A loader that does what a hostile file could make a real one do. A parse child imports it by name.

What happens is written in the file, so that one child meets both good and bad files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import socket
import sys
import time
from collections.abc import Callable
from pathlib import Path

from ingest.loaders import LoadLimits
from kb.errors import DocumentFailed
from kb.types import Page, PageVerdict, ParsedDocument


def load_hostile(path: Path, media_type: str, limits: LoadLimits) -> ParsedDocument:
    deed = path.read_text()
    if deed in PAGED_DEEDS:
        return PAGED_DEEDS[deed](limits.begin_ocr_page)
    return DEEDS[deed](path)


def spin(_: Path) -> ParsedDocument:
    while True:
        pass


def hang(_: Path) -> ParsedDocument:
    signal.pause()
    raise AssertionError("nothing wakes it")


def eat(_: Path) -> ParsedDocument:
    held = []
    while True:
        held.append(bytearray(16 << 20))


def crash(_: Path) -> ParsedDocument:
    ctypes.string_at(0)
    raise AssertionError("it is dead by now")


def kill(_: Path) -> ParsedDocument:
    os.kill(os.getpid(), signal.SIGKILL)
    raise AssertionError("it is dead by now")


def kill_once(path: Path) -> ParsedDocument:
    """Killed at the first reading alone; an empty file beside it remembers (a child may create one, not fill it)."""
    mark = path.with_suffix(".read")
    if not mark.exists():
        mark.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return make_document("read")


def interrupt(_: Path) -> ParsedDocument:
    """What a terminal or a service manager sends to a whole group reaches the child in the middle of a file."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT):
        os.kill(os.getpid(), number)
    return make_document("read")


def recurse(path: Path) -> ParsedDocument:
    return recurse(path)


def fail(_: Path) -> ParsedDocument:
    raise KeyError("secret words of the document")


def refuse(_: Path) -> ParsedDocument:
    raise DocumentFailed("no_text", "nothing in it")


def refuse_pages(_: Path) -> ParsedDocument:
    raise DocumentFailed("no_text", "nothing in it", verdicts=[PageVerdict.SCANNED, PageVerdict.EMPTY])


def refuse_too_many_pages(_: Path) -> ParsedDocument:
    raise DocumentFailed("no_text", "nothing in it", verdicts=[PageVerdict.EMPTY] * (LoadLimits().max_pages + 1))


def lie(_: Path) -> ParsedDocument:
    return ParsedDocument(text="ab", pages=[Page(number=1, start=0, end=99, verdict=PageVerdict.INDEXED)])


def chatter(_: Path) -> ParsedDocument:
    print("x" * 100_000, flush=True)
    os.write(1, b"junk on what was the reply pipe")
    sys.stderr.write("words of the document")
    return make_document("heard")


def ask_network(_: Path) -> ParsedDocument:
    try:
        socket.create_connection(("192.0.2.1", 80), timeout=0.1)
    except OSError as error:
        return make_document(type(error).__name__)
    return make_document("connected")


def write(path: Path) -> ParsedDocument:
    path.with_suffix(".out").write_text("written")
    return make_document("written")


def read_slowly(begin_page: Callable[[], None]) -> ParsedDocument:
    """Three pages, each of which takes more than half of the time that one page has."""
    for _ in range(3):
        begin_page()
        burn_seconds(1.5)
    return make_document("read")


def hang_on_page(begin_page: Callable[[], None]) -> ParsedDocument:
    begin_page()
    return hang(Path())


def spin_on_page(begin_page: Callable[[], None]) -> ParsedDocument:
    begin_page()
    return spin(Path())


def begin_for_ever(begin_page: Callable[[], None]) -> ParsedDocument:
    while True:
        begin_page()


def eat_on_page(begin_page: Callable[[], None]) -> ParsedDocument:
    """More than a file may take, less than a page read by OCR may."""
    begin_page()
    held = bytearray(384 << 20)
    return make_document(str(len(held)))


def burn_seconds(seconds: float) -> None:
    end = time.process_time() + seconds
    while time.process_time() < end:
        pass


def make_document(text: str) -> ParsedDocument:
    page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
    return ParsedDocument(text=text, pages=[page], language="en")


DEEDS: dict[str, Callable[[Path], ParsedDocument]] = {
    "ask the network": ask_network,
    "spin": spin,
    "hang": hang,
    "eat": eat,
    "segfault": crash,
    "kill": kill,
    "kill once": kill_once,
    "interrupt": interrupt,
    "recurse": recurse,
    "raise": fail,
    "refuse": refuse,
    "refuse pages": refuse_pages,
    "refuse too many": refuse_too_many_pages,
    "lie": lie,
    "print": chatter,
    "write": write,
    "env": lambda _: make_document(" ".join(sorted(os.environ))),
    "pid": lambda _: make_document(str(os.getpid())),
}
PAGED_DEEDS: dict[str, Callable[[Callable[[], None]], ParsedDocument]] = {
    "read slowly": read_slowly,
    "hang on a page": hang_on_page,
    "spin on a page": spin_on_page,
    "eat on a page": eat_on_page,
    "begin for ever": begin_for_ever,
}
