"""Reading many golden questions from one body: JSON, or one JSON object a line. Each is checked; all or none pass."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from starlette.requests import Request

from api.errors import BadRequest, FieldFault
from api.json_body import iter_body, parse_json, read_media_type, refuse_faults, validate_json
from api.schemas.golden_question import GoldenQuestionBody, GoldenQuestionImport, read_draft
from kb.catalog.golden import MOST_QUESTIONS
from kb.errors import InvalidInput
from kb.types import NewGoldenQuestion

JSON, LINES = "application/json", "application/x-ndjson"
LONGEST_IMPORT = 10_000_000  # bytes
MOST_FAULTS = 100  # told in one answer


@dataclass(frozen=True, kw_only=True, slots=True)
class ImportBody:
    """The bytes of an import, not yet looked into."""

    data: bytes
    in_lines: bool


@dataclass(frozen=True, kw_only=True, slots=True)
class GoldenImport:
    drafts: Sequence[NewGoldenQuestion]
    replace: bool


async def read_import(request: Request) -> ImportBody:
    """A dependency. Raises InvalidInput (`unsupported_media_type`, `too_large`, `request_timeout`)."""
    kind = read_media_type(request)
    if kind not in (JSON, LINES):
        raise InvalidInput("unsupported_media_type", f"send the questions as {JSON} or {LINES}")
    pieces = [piece async for piece in iter_body(request, LONGEST_IMPORT)]
    return ImportBody(data=b"".join(pieces), in_lines=kind == LINES)


def parse_import(body: ImportBody, longest_question: int) -> GoldenImport:
    """Raises InvalidInput (`too_many_golden_questions`), BadRequest whose `errors` name the line or item of each fault:
    `lines.3.paths` is in the third line, `items.2.paths` in the third item."""
    if body.in_lines:
        lines = [(number, line) for number, line in enumerate(body.data.split(b"\n"), start=1) if line.strip()]
        _check_count(len(lines))
        return GoldenImport(drafts=_read_all("lines", lines, longest_question), replace=False)
    read = validate_json(GoldenQuestionImport, parse_json(body.data))
    _check_count(len(read.items))
    return GoldenImport(drafts=_read_all("items", enumerate(read.items), longest_question), replace=read.replace)


def _read_all(place: str, values: Iterable[tuple[int, Any]], longest: int) -> list[NewGoldenQuestion]:
    drafts: list[NewGoldenQuestion] = []
    faults: list[FieldFault] = []
    for number, value in values:
        try:
            parsed = parse_json(value) if isinstance(value, bytes) else value
            drafts.append(read_draft(validate_json(GoldenQuestionBody, parsed), longest))
        except InvalidInput as error:
            faults += _place_faults(f"{place}.{number}", error)
    if faults:
        raise refuse_faults(faults[:MOST_FAULTS])
    return drafts


def _place_faults(place: str, error: InvalidInput) -> list[FieldFault]:
    if not isinstance(error, BadRequest):
        return [FieldFault(field=place, code=error.code, detail=error.detail)]
    found: Sequence[FieldFault] = error.more["errors"]
    return [replace(fault, field=f"{place}.{fault.field}".rstrip(".")) for fault in found]


def _check_count(count: int) -> None:
    if count > MOST_QUESTIONS:
        reason = f"the import holds {count} questions, a knowledge base takes {MOST_QUESTIONS}"
        raise InvalidInput("too_many_golden_questions", reason)
