"""A loader that does what a hostile file could make a real one do. A parse child imports it by name.

What happens is written in the file, so that one child meets both good and bad files.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path

from ingest.loaders import LoadLimits
from kb.errors import DocumentFailed
from kb.types import Page, PageVerdict, ParsedDocument


def load_hostile(path: Path, media_type: str, limits: LoadLimits) -> ParsedDocument:
    return DEEDS[path.read_text()](path)


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


def write(path: Path) -> ParsedDocument:
    path.with_suffix(".out").write_text("written")
    return make_document("written")


def make_document(text: str) -> ParsedDocument:
    page = Page(number=1, start=0, end=len(text), verdict=PageVerdict.INDEXED)
    return ParsedDocument(text=text, pages=[page], language="en")


DEEDS: dict[str, Callable[[Path], ParsedDocument]] = {
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
