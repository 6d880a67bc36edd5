"""The one error tree. Every error has a stable `code`; `docs/errors.md` lists them all.

    KbError
    ├── InvalidInput        the caller must change something     (HTTP 400, 413, 415, 422)
    │   └── NothingAccepted the same of every file of an upload
    ├── NotFound            there is no such thing               (404)
    ├── Conflict            it exists, or something is under way (409)
    ├── Gone                it was there and is no longer kept   (410)
    ├── Unavailable         try again later                      (429, 503, 507)
    ├── DocumentFailed      one document cannot be indexed; its own `error`, never a request's
    │   └── FetchFailed     its page does not come
    ├── StaleLease          a worker lost its job to another one; nobody but workers sees it
    └── StartRefused        the server must not start as it is   (process exit code `exit_code`)

Messages name the value and the way out. They never carry a key or a document's text.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from kb.types import PageVerdict


class KbError(Exception):
    """Root of the tree. `code` is stable and snake_case, `detail` is for people."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(f"{code}: {detail}")
        self.code = code
        self.detail = detail


class InvalidInput(KbError):
    """The request cannot be served as it stands; the caller must change it."""


class NothingAccepted(InvalidInput):
    """No file of an upload was taken; `rejected` says of each why."""

    def __init__(self, rejected: Sequence[Mapping[str, str]]) -> None:
        super().__init__("nothing_accepted", "no file of this request can be taken")
        self.rejected = rejected


class NotFound(KbError):
    """Nothing is there under that id, name or path."""


class Conflict(KbError):
    """The name is taken, or the same thing is already under way."""


class Gone(KbError):
    """It was kept once and is no longer."""


class Unavailable(KbError):
    """A part this needs does not answer now; the same request may succeed later."""


class DocumentFailed(KbError):
    """One document cannot be indexed. Costs that document alone, never the job.

    `verdicts` says what became of each of its pages, where they were looked at before it failed.
    """

    def __init__(self, code: str, detail: str, *, verdicts: Sequence[PageVerdict] = ()) -> None:
        super().__init__(code, detail)
        self.verdicts = tuple(verdicts)


class FetchFailed(DocumentFailed):
    """A page does not come.

    `status` is what its server answered, if it did; `retry_after_s` how long it wants to be left alone. `is_gone`: the
    page is not there any more (404, 410). `is_passing`: the same question may be answered later (5xx, 429, a time-out,
    a server that cannot be reached).
    """

    def __init__(
        self, code: str, detail: str, *, status: int | None = None, retry_after_s: float | None = None, passing: bool
    ) -> None:
        super().__init__(code, detail)
        self.status = status
        self.retry_after_s = retry_after_s
        self.is_gone = status in (404, 410)
        self.is_passing = passing


class StaleLease(KbError):
    """The job was taken over by another worker; whatever this one staged must not be published."""

    def __init__(self, job_id: str) -> None:
        super().__init__("stale_lease", f"job {job_id} is no longer ours: its lease ran out and another worker has it")


class StartRefused(KbError):
    """The process must not start. `exit_code` follows sysexits.h: 75 try later, 78 configuration."""

    def __init__(self, code: str, detail: str, *, exit_code: int = 78) -> None:
        super().__init__(code, detail)
        self.exit_code = exit_code
