"""From our errors to RFC 9457 problems: one table. `docs/errors.md` lists every code."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any

import orjson
from starlette.responses import Response

from kb.errors import Conflict, Gone, InvalidInput, KbError, NotFound, NothingAccepted, Unavailable

PROBLEM = "application/problem+json"
SERVER_FAULT = "internal_error"

# First by code, else by class. What is in neither is a fault of ours: 500, without a word about what it was.
BY_CODE: Mapping[str, int] = {
    "bad_request": 400,
    "bad_json": 400,
    "bad_multipart": 400,
    "bad_cursor": 400,
    "too_many_parts": 400,
    "field_too_large": 400,
    "cross_site": 403,
    "request_timeout": 408,
    "archive_too_large": 413,
    "too_large": 413,
    "unsupported_media_type": 415,
    "too_busy": 429,
    "disk_full": 507,
}
BY_CLASS: Sequence[tuple[type[KbError], int]] = (
    (NotFound, 404),
    (Conflict, 409),
    (Gone, 410),
    (InvalidInput, 422),
    (Unavailable, 503),
)
OPENAI_PATHS = "/v1/"  # errors have OpenAI's shape there
OPENAI_TYPES: Mapping[int, str] = {
    401: "authentication_error",
    403: "permission_error",
    429: "rate_limit_error",
}
RETRY_AFTER_S: Mapping[int, str] = {429: "5", 503: "5", 507: "60"}

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, slots=True)
class FieldFault:
    """One fault of a request: `field` is its place, as in `history.0.role`."""

    field: str
    code: str
    detail: str


class BadRequest(InvalidInput):
    """Raised by the HTTP layer itself. `more` are members of the problem beside the usual ones, as `errors`."""

    def __init__(self, code: str, detail: str, **more: Any) -> None:  # noqa: ANN401
        super().__init__(code, detail)
        self.more = more


@dataclass(frozen=True, kw_only=True, slots=True)
class Problem:
    status: int
    code: str
    detail: str
    more: Mapping[str, Any] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)


def find_status(error: KbError) -> int:
    """The HTTP status of an error; 500 for those that no request should ever meet."""
    if error.code in BY_CODE:
        return BY_CODE[error.code]
    return next((status for kind, status in BY_CLASS if isinstance(error, kind)), 500)


def to_problem(error: KbError) -> Problem:
    status = find_status(error)
    if status == 500:
        return internal_problem()
    more = error.more if isinstance(error, BadRequest) else {}
    if isinstance(error, NothingAccepted):
        more = {"rejected": error.rejected}
    headers = {"retry-after": RETRY_AFTER_S[status]} if status in RETRY_AFTER_S else {}
    return Problem(status=status, code=error.code, detail=error.detail, more=more, headers=headers)


def internal_problem() -> Problem:
    detail = "the server failed on this request; the log has it under the X-Request-Id of this answer"
    return Problem(status=500, code=SERVER_FAULT, detail=detail)


def to_failure(error: Exception) -> Problem:
    """What a stream that fails under way can still say; a fault of ours is logged and not told."""
    problem = to_problem(error) if isinstance(error, KbError) else internal_problem()
    if problem.status == 500:
        log.error("stream.failed %s", describe_fault(error))
    return problem


def describe_fault(error: Exception) -> str:
    """Where an unforeseen error came from, for the log. Its message may hold a document's text and is left out."""
    return f"{type(error).__name__} at\n{''.join(traceback.format_tb(error.__traceback__))}"


def describe_openai(problem: Problem) -> Mapping[str, Any]:
    other = "server_error" if problem.status >= 500 else "invalid_request_error"
    kind = OPENAI_TYPES.get(problem.status, other)
    message = problem.detail.encode("utf-8", "replace").decode("utf-8")
    return {"error": {"message": message, "type": kind, "param": None, "code": problem.code}}


def render_problem(problem: Problem, path: str = "") -> Response:
    """In the shape that callers of this path expect."""
    if path.startswith(OPENAI_PATHS):
        status = 400 if problem.status == 422 else problem.status  # what OpenAI's clients know
        told = orjson.dumps(describe_openai(problem))
        return Response(told, status, dict(problem.headers), media_type="application/json")
    body = {
        "type": f"urn:kb-server:error:{problem.code}",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "code": problem.code,
        # a path or name from the request may hold what UTF-8 cannot
        "detail": problem.detail.encode("utf-8", "replace").decode("utf-8"),
        **problem.more,
    }
    return Response(orjson.dumps(body), problem.status, dict(problem.headers), media_type=PROBLEM)
