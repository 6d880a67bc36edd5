"""Sends files to a knowledge base: a few requests at a time, each streamed from disk.

A request that fails on the way is sent again under the same Idempotency-Key, so that no document is taken twice. One
that the server finds too large, or that holds a file which cannot be read to its end, is halved until the file at fault
stands alone. When the server is gone or will take nothing more, what is left is not sent, and says so.
"""

from __future__ import annotations

import threading
import uuid
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from api.cli.client import Client, kb_path
from api.cli.failures import CallFailed, ExitCode
from api.cli.folder import Fault, LocalFile, describe_os_error
from api.cli.progress import Stage

AT_ONCE = 2
PIECE = 256 * 1024  # bytes handed to the socket at once; small files are joined up to it
TOO_LARGE = 413
ENDING = frozenset({401, 403, 404, 429})  # refusals of the key, the knowledge base or the pace: of any request, that is


@dataclass(kw_only=True, slots=True)
class UploadReport:
    """What became of the files. `failure` is why the upload ended early, None when every file was sent."""

    jobs: list[str] = field(default_factory=list)
    pending: dict[str, str] = field(default_factory=dict)  # document id → path
    unchanged: dict[str, str] = field(default_factory=dict)
    rejected: list[Fault] = field(default_factory=list)
    failure: CallFailed | None = None


class Upload:
    """One upload into one knowledge base. `stage` counts bytes."""

    def __init__(self, client: Client, kb: str, stage: Stage, password: str | None = None) -> None:
        self._client = client
        self._password = password
        self._path = kb_path(kb, "documents")
        self._stage = stage
        self._lock = threading.Lock()
        self._report = UploadReport()

    def send_batches(self, batches: Sequence[Sequence[LocalFile]]) -> UploadReport:
        """Send every batch. Never raises CallFailed: the report holds it."""
        pool = ThreadPoolExecutor(AT_ONCE)
        try:
            for future in [pool.submit(self._send, batch) for batch in batches]:
                future.result()
        finally:
            pool.shutdown(cancel_futures=True)  # after Ctrl-C only what is on its way is finished
        return self._report

    def _send(self, batch: Sequence[LocalFile], *, again: bool = True) -> None:
        if self._report.failure is not None:
            self._reject(batch, "not_sent", "the upload ended before this file's turn")
            return
        body = MultipartBody(batch, self._stage, self._password)
        headers = {"Content-Type": body.content_type, "Idempotency-Key": uuid.uuid4().hex}
        try:
            answer = self._client.upload(self._path, body.read_pieces, headers)
        except CallFailed as failure:
            body.take_back()
            if failure.code == "idempotency_mismatch" and again:  # a file changed between two attempts
                self._send(batch, again=False)
            else:
                self._bear_failure(batch, failure)
        except OSError as error:  # a file went away, or could not be read to its end
            body.take_back()
            if not self._halve(batch):
                self._reject(batch, "file_unreadable", describe_os_error(error))
        else:
            self._record(answer)

    def _bear_failure(self, batch: Sequence[LocalFile], failure: CallFailed) -> None:
        if "rejected" in failure.body:  # nothing_accepted: every file has a reason of its own
            self._record(failure.body)
        elif ends_upload(failure):
            with self._lock:
                self._report.failure = self._report.failure or failure
            self._reject(batch, failure.code, failure.detail)
        elif not is_too_much(failure) or not self._halve(batch):
            self._reject(batch, failure.code, failure.detail)

    def _halve(self, batch: Sequence[LocalFile]) -> bool:
        """Send both halves; False when there is one file only."""
        if len(batch) == 1:
            return False
        middle = len(batch) // 2
        self._send(batch[:middle])
        self._send(batch[middle:])
        return True

    def _record(self, answer: Mapping[str, Any]) -> None:
        with self._lock:
            report = self._report
            if (job := answer.get("job_id")) and job not in report.jobs:
                report.jobs.append(str(job))
            for document in answer.get("documents", []):
                group = report.unchanged if document["status"] == "unchanged" else report.pending
                group[str(document["id"])] = document["path"]
            for one in answer.get("rejected", []):
                report.rejected.append(Fault(path=one["path"], code=one["code"], detail=one.get("detail", "")))

    def _reject(self, batch: Sequence[LocalFile], code: str, detail: str) -> None:
        with self._lock:
            self._report.rejected += [Fault(path=file.path, code=code, detail=detail) for file in batch]


def is_too_much(failure: CallFailed) -> bool:
    """Whether a smaller request may be taken."""
    return failure.status == TOO_LARGE or failure.code == "too_many_parts"


def ends_upload(failure: CallFailed) -> bool:
    """Whether the next request would fare no better."""
    return failure.exit_code is not ExitCode.REFUSED or failure.status in ENDING


class MultipartBody:
    """The form of one request. `read_pieces` makes it anew for every attempt, from the files as they are then."""

    def __init__(self, files: Sequence[LocalFile], stage: Stage, password: str | None = None) -> None:
        boundary = uuid.uuid4().hex
        self.content_type = f"multipart/form-data; boundary={boundary}"
        self._boundary = boundary.encode()
        self._files = files
        self._password = password
        self._stage = stage
        self._counted = 0

    def take_back(self) -> None:
        """Uncount what this body has counted: it is sent again, or not at all."""
        self._stage.advance(-self._counted)
        self._counted = 0

    def read_pieces(self) -> Iterator[bytes]:
        """The form in pieces of about PIECE bytes, however small the files. Raises OSError: do not send it then."""
        self.take_back()
        held = bytearray()
        if self._password is not None:
            held += write_field(self._boundary, "password", self._password)
        for file in self._files:
            held += write_part_head(self._boundary, file.part, file.path)
            with open(file.place, "rb", buffering=0) as source:  # noqa: PTH123 - a Path each costs more than reading
                while piece := source.read(PIECE):
                    self._counted += len(piece)
                    self._stage.advance(len(piece))
                    held += piece
                    if len(held) >= PIECE:
                        yield bytes(held)
                        held.clear()
            held += b"\r\n"
        yield bytes(held) + b"--" + self._boundary + b"--\r\n"


def write_field(boundary: bytes, name: str, value: str) -> bytes:
    head = b'--%s\r\nContent-Disposition: form-data; name="%s"\r\n\r\n' % (boundary, name.encode())
    return head + value.encode() + b"\r\n"


def write_part_head(boundary: bytes, part: str, path: str) -> bytes:
    name = path.replace("\\", "\\\\").replace('"', '\\"')
    disposition = f'Content-Disposition: form-data; name="{part}"; filename="{name}"'
    if "%" in path:  # browsers write %22 for a quotation mark, so that a server may read it as one
        disposition += f"; filename*=UTF-8''{quote(path, safe='')}"
    return b"--" + boundary + b"\r\n" + disposition.encode() + b"\r\nContent-Type: application/octet-stream\r\n\r\n"
