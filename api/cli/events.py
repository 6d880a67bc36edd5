"""Server-sent events of our own API: bytes in any cut to (event, data) pairs.

Written out because httpx cuts lines at U+2028 and its like as well, which stand in documents and so in the data.
"""

from __future__ import annotations

import codecs
import json
from collections.abc import Iterable, Iterator
from typing import Any

from api.cli.failures import CallFailed, ExitCode


def read_events(chunks: Iterable[bytes]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Events in order, comments left out; one that lacks its blank line at the end of the stream is not one.

    Raises CallFailed (`bad_answer`) when the data of an event is not a JSON object.
    """
    name, data = "message", list[str]()
    for line in _read_lines(chunks):
        field, _, value = line.partition(":")
        if field == "event":
            name = value.removeprefix(" ")
        elif field == "data":
            data.append(value.removeprefix(" "))
        elif not line:
            if data:
                yield name, _read_object("\n".join(data))
            name, data = "message", []


def _read_lines(chunks: Iterable[bytes]) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")(errors="replace")
    rest = ""
    for chunk in chunks:
        *lines, rest = (rest + decoder.decode(chunk)).split("\n")
        for line in lines:
            yield line.removesuffix("\r")


def _read_object(data: str) -> dict[str, Any]:
    try:
        document = json.loads(data)
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise CallFailed(
            "bad_answer", "the server sent an event that is not a JSON object", exit_code=ExitCode.SERVER_ERROR
        )
    return document
