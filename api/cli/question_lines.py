"""Files of questions: one JSON object a line, of which one field is the question."""

from __future__ import annotations

import json
from typing import Any


class BadQuestions(ValueError):
    """A file of questions that cannot be meant; the message says where."""


def read_question_lines(data: bytes) -> list[tuple[int, dict[str, Any]]]:
    """Each object with the number of its line, blank lines left out. Raises BadQuestions."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadQuestions(f"the file is not UTF-8: byte {error.start} cannot be read") from None
    lines = [(number, line) for number, line in enumerate(text.split("\n"), start=1) if line.strip()]
    return [(number, _read_line(number, line)) for number, line in lines]


def read_object(text: str) -> dict[str, Any] | None:
    """None for what is no JSON object, or holds what no request can: `NaN`, half of a surrogate pair."""
    try:
        found = json.loads(text)
        json.dumps(found, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None


def _read_line(number: int, line: str) -> dict[str, Any]:
    found = read_object(line)
    if found is None:
        raise BadQuestions(f"line {number} is no JSON object: {line[:60]!r}")
    if not isinstance(found.get("question"), str) or not found["question"].strip():
        raise BadQuestions(f"line {number} is no object with a question")
    return found
