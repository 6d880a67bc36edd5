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


def _read_line(number: int, line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        raise BadQuestions(f"line {number} is no JSON: {line[:60]!r}") from None
    if not isinstance(found, dict) or not isinstance(found.get("question"), str) or not found["question"].strip():
        raise BadQuestions(f"line {number} is no object with a question")
    return found
