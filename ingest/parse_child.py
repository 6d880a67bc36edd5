"""The process that opens strangers' files: `python -m ingest.parse_child SETTINGS`, asked on stdin, answers on stdout.

It is single-threaded but for one thread that reads stdin: when its owner dies, even by SIGKILL, the pipe ends and the
child is gone at once, whatever the parser is doing. It writes no file, holds no secret but the password of the file it
reads (its owner gives it an empty environment) and logs nothing, for a log line could carry a document's text.
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import queue
import resource
import sys
import threading
import time
import types
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO, cast

from ingest.loaders import LoadLimits, load_with_reader, read_links
from ingest.parse_frames import (
    LENGTH,
    LinksRequest,
    ParseRequest,
    describe_document,
    describe_failure,
    describe_links,
    pack_frame,
    pack_json,
)
from kb.errors import DocumentFailed
from kb.types import ParsedDocument

Loader = Callable[..., ParsedDocument]  # of `load_document`
Reply = tuple[dict[str, Any], bytes]  # everything but the text, and the text

_PAGE_BYTES = resource.getpagesize()


def main(settings_json: str) -> None:
    settings = json.loads(settings_json)
    requests: queue.SimpleQueue[bytes] = queue.SimpleQueue()
    replies = _take_stdout()
    threading.Thread(target=_read_requests, args=(requests,), daemon=True).start()
    module, _, name = settings["loader"].partition(":")
    loader = cast("Loader", getattr(importlib.import_module(module), name))
    limits = LoadLimits(
        max_pages=settings["max_pages"],
        max_characters=settings["max_characters"],
        ocr_pages=settings["ocr_pages"],
        begin_ocr_page=partial(_begin_ocr_page, replies, settings["ocr_page_seconds"]),
    )

    def report_crash(kind: type[BaseException], _: BaseException, trace: types.TracebackType | None) -> None:
        _report_crash(replies, kind, trace)

    sys.excepthook = report_crash
    _limit_process(settings["memory_bytes"], settings["ocr_memory_bytes"] if settings["ocr_pages"] else 0)
    replies.write(pack_json({"ready": True}))
    replies.flush()
    while True:
        asked = requests.get()
        _raise_cpu_limit(settings["cpu_seconds"])
        if (links := LinksRequest.unpack(asked, requests.get)) is not None:
            _answer(replies, partial(_read_links, links))
        else:
            _answer(replies, partial(_read_file, loader, ParseRequest.unpack(asked), limits))


def _read_links(request: LinksRequest) -> Reply:
    return describe_links(read_links(request.body, request.content_type, request.url)), b""


def _read_file(loader: Loader, request: ParseRequest, limits: LoadLimits) -> Reply:
    if request.reader is not None:
        document = load_with_reader(request.path, request.reader, limits)
    else:
        password = {} if request.password is None else {"password": request.password}
        document = loader(request.path, request.media_type, limits, **password)
    return describe_document(document), document.text.encode()


def _answer(replies: BinaryIO, read: Callable[[], Reply]) -> None:
    """One reply. What is neither an answer nor a known failure ends the process: its state is not to be trusted."""
    try:
        told, text = read()
        head = {**told, "rss": _measure_rss()}
    except DocumentFailed as error:
        text, head = b"", {**describe_failure(error), "rss": _measure_rss()}
    except (MemoryError, RecursionError) as error:
        detail = f"reading it took more than the parser may use ({type(error).__name__})"
        text, head = b"", {"code": "parse_limit", "detail": detail, "exits": True}
    replies.write(pack_json(head))
    replies.write(pack_frame(text))
    replies.flush()
    if head.get("exits"):
        os._exit(0)


def _take_stdout() -> BinaryIO:
    """The reply pipe for us alone; whatever a library prints goes nowhere."""
    pipe = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)
    logging.disable(logging.CRITICAL)
    return os.fdopen(pipe, "wb")


def _read_requests(requests: queue.SimpleQueue[bytes]) -> None:
    stdin = sys.stdin.buffer
    while len(length := stdin.read(LENGTH.size)) == LENGTH.size:
        requests.put(stdin.read(LENGTH.unpack(length)[0]))
    os._exit(0)


def _limit_process(memory_bytes: int, ocr_memory_bytes: int) -> None:
    """Memory beyond what is mapped now, to be raised once for OCR; no files written, no core dumps."""
    mapped = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0]) * _PAGE_BYTES
    _lower_limit(resource.RLIMIT_AS, mapped + memory_bytes, mapped + memory_bytes + ocr_memory_bytes)
    _lower_limit(resource.RLIMIT_FSIZE, 0)
    _lower_limit(resource.RLIMIT_CORE, 0)


def _lower_limit(kind: int, value: int, most: int | None = None) -> None:
    """`most` is what the limit may be raised to again."""
    most = value if most is None else most
    _, hard = resource.getrlimit(kind)
    if hard == resource.RLIM_INFINITY or value < hard:
        resource.setrlimit(kind, (value, most if hard == resource.RLIM_INFINITY else min(most, hard)))


def _begin_ocr_page(replies: BinaryIO, cpu_seconds: int) -> None:
    """Tell the owner, who then waits longer, and take the processor time and memory of one more page."""
    replies.write(pack_json({"begins": "ocr page"}))
    replies.flush()
    soft, _ = resource.getrlimit(resource.RLIMIT_CPU)
    if int(time.process_time()) + cpu_seconds > soft:
        _raise_cpu_limit(cpu_seconds)
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))


def _raise_cpu_limit(cpu_seconds: int) -> None:
    """So many seconds from now; the kernel ends us with SIGXCPU when they are used up."""
    _, hard = resource.getrlimit(resource.RLIMIT_CPU)
    soft = int(time.process_time()) + 1 + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (soft if hard == resource.RLIM_INFINITY else min(soft, hard), hard))


def _measure_rss() -> int:
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


def _report_crash(replies: BinaryIO, kind: type[BaseException], trace: types.TracebackType | None) -> None:
    """The kind and place of an unforeseen exception; never its message, which may quote the document."""
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    place = f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}" if trace else "?"
    replies.write(pack_json({"code": "parser_crashed", "detail": f"{kind.__name__} in {place}", "exits": True}))
    replies.write(pack_frame(b""))
    replies.flush()


if __name__ == "__main__":
    main(sys.argv[1])
