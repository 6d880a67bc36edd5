"""One upload on its way in: parts to files, archives to more files, and all of them to what is to be recorded.

Blocking, and called in threads. Nothing is visible before `keep_files`: every file lies under a temporary name or none,
and whatever goes wrong, `close` leaves no temporary file behind.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from concurrent.futures import Executor
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from threading import Lock
from typing import IO, Any

import orjson

from api.accepted_files import AcceptedFiles, IncomingFile
from api.archives import ArchiveEntry, ArchiveLimits, iter_entries
from api.errors import BadRequest
from api.json_body import parse_json
from api.multipart import PartBegin, PartData, PartEnd, PartEvent, PartReader
from api.schemas.text import check_metadata
from kb.blobs import BlobStore, raise_for_disk
from kb.catalog.uploads import Upload, UploadedFile
from kb.errors import InvalidInput

LONGEST_FIELD = 1_000_000  # bytes of a part that is no file
LONGEST_PASSWORD = 255


@dataclass(frozen=True, kw_only=True, slots=True)
class UploadLimits:
    file_bytes: int
    files: int
    archive: ArchiveLimits
    readers: Collection[str] = ()  # extensions that the operator gave to readers: taken whatever the files hold


@dataclass(kw_only=True, slots=True)
class _Part:
    """The part that is being received: a field's text, a file, or the archive; nothing of it for what is skipped."""

    name: str
    path: str = ""
    text: bytearray | None = None
    file: IncomingFile | None = None
    archive: IO[bytes] | None = None


class UploadIntake:
    """Takes one upload request."""

    def __init__(self, blobs: BlobStore, limits: UploadLimits, content_type: str, sealers: Executor) -> None:
        """Raises InvalidInput (`unsupported_media_type`, `bad_multipart`)."""
        self._reader = PartReader(content_type)
        self._blobs = blobs
        self._limits = limits
        self._part: _Part | None = None
        self._parts = 0  # that are files
        self._files = AcceptedFiles(blobs, limits.file_bytes, sealers, readers=limits.readers)
        self._archive: _Part | None = None
        self._metadata: dict[str, Any] | None = None
        self._password: str | None = None
        self._open = ExitStack()
        self._lock = Lock()  # a cancelled request may close while a thread still feeds

    def feed(self, data: bytes) -> None:
        """Raises InvalidInput (`bad_multipart`, `too_many_parts`, `field_too_large`, `unknown_field`, …) for a fault of
        the whole request, Unavailable (`disk_full`)."""
        with self._lock:
            for event in self._reader.feed(data):
                self._take(event)

    def keep_files(self, kb_id: str, idempotency_key: str | None) -> Upload:
        """Unpack the archive, and make the accepted files durable under their final names; what is to be recorded.

        Raises BadRequest (`nothing_accepted`, `archive_broken`, `archive_too_large`, `unsupported_archive`),
        InvalidInput (`bad_multipart`), Unavailable (`disk_full`).
        """
        with self._lock:
            self._reader.finish()
            if self._archive is not None:
                self._unpack(self._archive)
            rejected = self._files.rejected
            if not self._files:
                detail = "no file of this request can be taken" if rejected else "the request holds no file"
                raise BadRequest("nothing_accepted", detail, rejected=rejected)
            files = self._files.keep()
            return Upload(
                kb_id=kb_id,
                files=files,
                rejected=rejected,
                metadata=self._metadata or {},
                idempotency_key=idempotency_key,
                request_sha=self._hash_request(files),
                password=self._password,
            )

    def close(self) -> None:
        """Remove what is left under temporary names."""
        with self._lock:
            with suppress(OSError):  # on a full disk closing the archive fails as writing did
                self._open.close()
            self._files.close()

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
        match begin.name:
            case "metadata":
                if self._metadata is not None:
                    raise InvalidInput("bad_metadata", "there are two parts named metadata")
                return _Part(name="metadata", text=bytearray())
            case "password":
                if self._password is not None:
                    raise InvalidInput("bad_password", "there are two parts named password")
                return _Part(name="password", text=bytearray())
            case "archive":
                if self._archive is not None:
                    raise InvalidInput("too_many_parts", "a request may hold one archive; send several requests")
                archive = self._open.enter_context(self._blobs.open_scratch())
                self._archive = _Part(name="archive", path=begin.filename or "", archive=archive)
                return self._archive
            case "files":
                return self._begin_file(begin)
        known = "files, archive, metadata and password"
        raise BadRequest("unknown_field", f"there is no part {begin.name[:64]!r}; parts are {known}")

    def _begin_file(self, begin: PartBegin) -> _Part:
        self._parts += 1
        if self._parts > self._limits.files:
            raise InvalidInput("too_many_parts", f"a request may hold {self._limits.files} files; send several")
        part = _Part(name="files", path=begin.filename or "")
        try:
            if begin.broken:
                raise InvalidInput("bad_path", "the file name is not UTF-8")
            part.file = self._files.open_file(part.path)
        except InvalidInput as fault:
            self._files.reject(part.path, fault)
        else:
            part.path = part.file.path
            self._open.enter_context(part.file.held)
        return part

    def _write(self, part: _Part, data: bytes) -> None:
        if part.text is not None:
            part.text += data
            if len(part.text) > LONGEST_FIELD:
                raise InvalidInput("field_too_large", f"the part {part.name} is larger than {LONGEST_FIELD} bytes")
        elif part.archive is not None:
            try:
                part.archive.write(data)
            except OSError as error:
                raise_for_disk(error)
                raise
        elif part.file is not None:
            try:
                part.file.writer.write(data)
            except InvalidInput as fault:  # the rest of it is skipped
                self._drop(part, part.file, fault)

    def _end_part(self, part: _Part) -> None:
        if part.name == "password" and part.text is not None:
            self._password = read_password(bytes(part.text))
        elif part.text is not None:
            self._metadata = read_metadata(bytes(part.text))
        elif part.file is not None:
            try:
                self._files.accept(part.file)
            except InvalidInput as fault:
                self._drop(part, part.file, fault)

    def _drop(self, part: _Part, file: IncomingFile, fault: InvalidInput) -> None:
        self._files.reject(part.path, fault)
        file.held.close()
        part.file = None

    def _unpack(self, part: _Part) -> None:
        archive = part.archive
        if archive is None or not archive.tell():
            self._files.reject(part.path, InvalidInput("file_empty", "the archive has no bytes"))
            return
        try:
            for entry in iter_entries(archive, self._limits.archive):
                self._unpack_entry(entry)
        except OSError as error:
            raise_for_disk(error)
            raise

    def _unpack_entry(self, entry: ArchiveEntry) -> None:
        try:
            if entry.fault is not None:
                raise entry.fault
            if entry.size > self._limits.file_bytes:
                raise InvalidInput("too_large", f"the file is larger than {self._limits.file_bytes} bytes")
            file = self._files.open_file(entry.path)
            with file.held:
                for piece in entry.pieces:
                    is_first = file.writer.size == 0
                    file.writer.write(piece)
                    if is_first:  # what cannot be taken is not unpacked to its end
                        file.find_media_type()
                self._files.accept(file)
        except BadRequest:  # of the whole archive
            raise
        except InvalidInput as fault:
            self._files.reject(entry.path, fault)

    def _hash_request(self, files: list[UploadedFile]) -> str:
        """Of everything the request said, not of its bytes: every client draws a new boundary for a repetition."""
        said = [
            [[file.path, file.sha256] for file in files],
            [[rejected["path"], rejected["code"]] for rejected in self._files.rejected],
            self._metadata,
            *(["password"] if self._password is not None else []),  # that there is one; a hash of it could be guessed
        ]
        return hashlib.sha256(orjson.dumps(said, option=orjson.OPT_SORT_KEYS)).hexdigest()


def read_password(data: bytes) -> str:
    """Raises InvalidInput (`bad_password`), which never quotes it."""
    try:
        password = data.decode()
    except UnicodeDecodeError:
        raise InvalidInput("bad_password", "the password is not UTF-8") from None
    if not 1 <= len(password) <= LONGEST_PASSWORD or not password.isprintable():
        detail = f"a password has 1 to {LONGEST_PASSWORD} characters, no line end or control among them"
        raise InvalidInput("bad_password", detail)
    return password


def read_metadata(data: bytes) -> dict[str, Any]:
    """Raises InvalidInput (`bad_json`, `bad_text`, `bad_metadata`, `metadata_too_large`)."""
    value = parse_json(data)
    if not isinstance(value, dict):
        raise InvalidInput("bad_metadata", "metadata is not a JSON object")
    check_metadata(value)
    return value
