"""Answers on their way out: JSON by orjson, and a stored file as an attachment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, BinaryIO
from urllib.parse import quote

import orjson
from starlette.concurrency import run_in_threadpool
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

PIECE = 262_144  # bytes of a file handed on at a time
ATTACHMENT_POLICY = "sandbox; default-src 'none'"


class JsonAnswer(Response):
    """Dataclasses, mappings and lists; times as RFC 3339 in UTC with `Z`."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:  # noqa: ANN401
        return write_json(content)


def write_json(content: Any) -> bytes:  # noqa: ANN401
    return orjson.dumps(content, default=_write_other, option=orjson.OPT_UTC_Z | orjson.OPT_SERIALIZE_NUMPY)


def _write_other(value: Any) -> Any:  # noqa: ANN401
    if isinstance(value, Mapping):
        return dict(value)
    raise TypeError(f"{type(value).__name__} cannot stand in an answer")


class FileAnswer(Response):
    """An open file as an attachment: never rendered in place, whatever it holds. Closes the file."""

    def __init__(self, file: BinaryIO, *, name: str, size: int, media_type: str) -> None:
        headers = {
            "content-type": media_type,  # without a charset: text is sent as it came, in whatever encoding
            "content-length": str(size),
            "content-disposition": write_disposition(name),
            "content-security-policy": ATTACHMENT_POLICY,
        }
        super().__init__(headers=headers)
        self._file = file

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        del scope, receive
        try:
            await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
            while piece := await run_in_threadpool(self._file.read, PIECE):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
            await send({"type": "http.response.body", "body": b"", "more_body": False})
        finally:
            self._file.close()


def write_disposition(name: str) -> str:
    """An attachment under the name, per RFC 6266: what old clients can read, and the whole name per RFC 5987."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%/;' else "_" for c in name)
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
