"""How a command ends: the exit codes, and the one error that carries them to the group."""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from typing import Any

from kb.errors import KbError


class ExitCode(IntEnum):
    """What scripts may rely on; `docs/command-line.md` lists them."""

    DONE = 0
    FAILED = 1  # a job or a document failed
    USAGE = 2  # click's own code for a wrong call
    UNREACHABLE = 3
    REFUSED = 4  # 4xx
    SERVER_ERROR = 5  # 5xx, and answers that are no answer


class CallFailed(KbError):
    """A call to the server did not give what was asked.

    `status` is the HTTP status, None when there was no answer or none was asked for; `body` the problem document.
    """

    def __init__(self, code: str, detail: str, *, exit_code: ExitCode) -> None:
        super().__init__(code, detail)
        self.exit_code = exit_code
        self.status: int | None = None
        self.body: Mapping[str, Any] = {}
