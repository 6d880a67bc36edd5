"""One upload on its way in: parts to sealed files, and what of it is accepted.

Blocking, and called in threads. Nothing is visible before `keep_files`: every file lies under a temporary name, each is
fsynced by a pool while the next one still comes in, and whatever goes wrong, `close` leaves no temporary file behind.
One bad file never refuses the others: it stands in `rejected` with its code.
"""

from __future__ import annotations

import hashlib
from concurrent.futures import Executor, Future
from contextlib import ExitStack
from dataclasses import dataclass, field
from threading import Lock
from typing import Any

import orjson

from api.errors import BadRequest
from api.json_body import parse_json
from api.multipart import PartBegin, PartData, PartEnd, PartEvent, PartReader
from api.schemas.text import check_metadata
from kb.blobs import BlobStore, BlobWriter
from kb.catalog.uploads import Upload, UploadedFile
from kb.document_path import check_path
from kb.errors import InvalidInput
from kb.media_type import sniff_media_type

LONGEST_FIELD = 1_000_000  # bytes of a part that is no file
MOST_SEALING = 64  # files whose fsync is still under way; more would be open files and memory without a gain


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    file_bytes: int
    files: int


@dataclass(kw_only=True, slots=True)
class _SealedFile:
    path: str
    media_type: str
    writer: BlobWriter
    sha256: Future[str]


@dataclass(kw_only=True, slots=True)
class _Part:
    """The part that is being received: a field's text, or a file's writer; neither for what is skipped."""

    name: str
    path: str = ""
    text: bytearray | None = None
    writer: BlobWriter | None = None
    open_file: ExitStack = field(default_factory=ExitStack)


class UploadIntake:
    """Takes one upload request."""

    def __init__(self, blobs: BlobStore, limits: UploadLimits, content_type: str, sealers: Executor) -> None:
        """Raises InvalidInput (`unsupported_media_type`, `bad_multipart`)."""
        self._reader = PartReader(content_type)
        self._blobs = blobs
        self._limits = limits
        self._sealers = sealers
        self._part: _Part | None = None
        self._parts = 0
        self._seen: set[str] = set()
        self._sealed: list[_SealedFile] = []
        self._rejected: list[dict[str, str]] = []
        self._metadata: dict[str, Any] | None = None
        self._temporaries = ExitStack()
        self._lock = Lock()  # a cancelled request may close while a thread still feeds

    def feed(self, data: bytes) -> None:
        """Raises InvalidInput (`bad_multipart`, `too_many_parts`, `field_too_large`, `unknown_field`, …) for a fault of
        the whole request, Unavailable (`disk_full`)."""
        with self._lock:
            for event in self._reader.feed(data):
                self._take(event)

    def keep_files(self, kb_id: str, idempotency_key: str | None) -> Upload:
        """Make the accepted files durable under their final names; what is to be recorded.

        Raises BadRequest (`nothing_accepted`), InvalidInput (`bad_multipart`), Unavailable (`disk_full`).
        """
        with self._lock:
            self._reader.finish()
            if not self._sealed:
                detail = "no file of this request can be taken" if self._rejected else "the request holds no file"
                raise BadRequest("nothing_accepted", detail, rejected=self._rejected)
            by_sha = {sealed.sha256.result(): sealed.writer.temporary for sealed in self._sealed}
            self._blobs.adopt(by_sha)
            files = [_describe(sealed) for sealed in self._sealed]
            return Upload(
                kb_id=kb_id,
                files=files,
                rejected=self._rejected,
                metadata=self._metadata or {},
                idempotency_key=idempotency_key,
                request_sha=self._hash_request(files),
            )

    def close(self) -> None:
        """Remove what is left under temporary names."""
        with self._lock:
            if self._part is not None:
                self._part.open_file.close()
                self._part = None
            for sealed in self._sealed:
                if not sealed.sha256.cancel():
                    sealed.sha256.exception()  # waits: its file must not be closed under it
            self._temporaries.close()

    def _take(self, event: PartEvent) -> None:
        match event:
            case PartBegin():
                self._part = self._begin_part(event)
            case PartData(data=data) if self._part is not None:
                self._write(self._part, data)
            case PartEnd() if self._part is not None:
                part, self._part = self._part, None
                self._end_part(part)

    def _begin_part(self, begin: PartBegin) -> _Part:
        self._parts += 1
        if self._parts > self._limits.files + 1:  # the files and `metadata`
            raise InvalidInput("too_many_parts", f"a request may hold {self._limits.files} files; send several")
        if begin.name == "metadata":
            if self._metadata is not None:
                raise InvalidInput("bad_metadata", "there are two parts named metadata")
            return _Part(name="metadata", text=bytearray())
        if begin.name != "files":
            raise BadRequest("unknown_field", f"there is no part {begin.name[:64]!r}; parts are files and metadata")
        part = _Part(name="files", path=begin.filename or "")
        try:
            part.path = self._claim_path(begin)
        except InvalidInput as fault:
            self._reject(part.path, fault)
            return part
        part.writer = part.open_file.enter_context(self._blobs.open_writer(self._limits.file_bytes))
        return part

    def _claim_path(self, begin: PartBegin) -> str:
        if begin.broken:
            raise InvalidInput("bad_path", "the file name is not UTF-8")
        path = check_path(begin.filename or "")
        if path in self._seen:
            raise InvalidInput("duplicate_path", "the request holds this path already; the first one is taken")
        self._seen.add(path)
        return path

    def _write(self, part: _Part, data: bytes) -> None:
        if part.text is not None:
            part.text += data
            if len(part.text) > LONGEST_FIELD:
                raise InvalidInput("field_too_large", f"the part {part.name} is larger than {LONGEST_FIELD} bytes")
        elif part.writer is not None:
            try:
                part.writer.write(data)
            except InvalidInput as fault:  # the rest of it is skipped
                self._reject(part.path, fault)
                part.open_file.close()
                part.writer = None

    def _end_part(self, part: _Part) -> None:
        if part.text is not None:
            self._metadata = read_metadata(bytes(part.text))
        elif part.writer is not None:
            try:
                media_type = _find_media_type(part.path, part.writer)
            except InvalidInput as fault:
                self._reject(part.path, fault)
                part.open_file.close()
                return
            self._temporaries.push(part.open_file.pop_all())
            self._seal(part.path, media_type, part.writer)

    def _seal(self, path: str, media_type: str, writer: BlobWriter) -> None:
        waiting = len(self._sealed) - MOST_SEALING
        if waiting >= 0:
            self._sealed[waiting].sha256.result()
        self._sealed.append(
            _SealedFile(path=path, media_type=media_type, writer=writer, sha256=self._sealers.submit(writer.seal))
        )

    def _reject(self, path: str, fault: InvalidInput) -> None:
        self._rejected.append({"path": path[:1024], "code": fault.code, "detail": fault.detail})

    def _hash_request(self, files: list[UploadedFile]) -> str:
        """Of everything the request said, not of its bytes: every client draws a new boundary for a repetition."""
        said = [
            [[file.path, file.sha256] for file in files],
            [[rejected["path"], rejected["code"]] for rejected in self._rejected],
            self._metadata,
        ]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_metadata(data: bytes) -> dict[str, Any]:
    """Raises InvalidInput (`bad_json`, `bad_text`, `bad_metadata`, `metadata_too_large`)."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise InvalidInput("bad_metadata", "metadata is not a JSON object")
    check_metadata(value)
    return value


def _find_media_type(path: str, writer: BlobWriter) -> str:
    if writer.size == 0:
        raise InvalidInput("file_empty", "the file is empty")
    return sniff_media_type(path, writer.head)


def _describe(sealed: _SealedFile) -> UploadedFile:
    return UploadedFile(
        path=sealed.path, sha256=sealed.sha256.result(), size=sealed.writer.size, media_type=sealed.media_type
    )
