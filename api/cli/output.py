"""What a command prints: results to stdout, as text or as JSON, everything else to stderr.

With `--json` stdout holds one JSON document, or one JSON object a line for lists, and nothing else.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import click

# A document may hold terminal commands (ESC …): in text meant for people they are shown, not obeyed.
CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")
WHITE = re.compile(r"\s+")
UNITS = ("B", "KB", "MB", "GB", "TB")


class Output:
    """Where one command's results go. `as_json` is what the user chose with `--json`."""

    def __init__(self, *, as_json: bool) -> None:
        self.as_json = as_json

    def write_json(self, document: Mapping[str, Any]) -> None:
        click.echo(format_json(document))

    def write_text(self, text: str, *, end: str = "\n") -> None:
        click.echo(show_controls(text) + end, nl=False)

    def write_table(self, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
        for line in format_table(headers, rows):
            click.echo(line)

    def say(self, text: str) -> None:
        """A message beside the result; always on stderr."""
        click.echo(show_controls(text), err=True)


def format_json(document: object) -> str:
    """One line of JSON in characters that stdout can carry: escapes where its encoding is not Unicode."""
    encoding = (getattr(sys.stdout, "encoding", None) or "utf-8").lower()
    text = json.dumps(document, ensure_ascii=not encoding.startswith("utf"))
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which only an escape can carry
        return json.dumps(document, ensure_ascii=True)
    return text


def show_controls(text: str) -> str:
    """The text with control characters other than newline and tab as visible escapes."""
    return CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text.replace("\r\n", "\n"))


def put_on_one_line(text: str) -> str:
    return show_controls(WHITE.sub(" ", text).strip())


def trim_text(text: str, length: int) -> str:
    """The text on one line, cut to `length` characters with an ellipsis."""
    line = put_on_one_line(text)
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def format_table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> list[str]:
    """Lines of a table with aligned columns; numbers to the right. A Han character is two columns wide."""
    from rich.cells import cell_len

    rows = list(rows)
    cells = [["" if cell is None else put_on_one_line(str(cell)) for cell in row] for row in (headers, *rows)]
    widths = [max(cell_len(line[i]) for line in cells) for i in range(len(headers))]
    right = [any(_is_number(row[i]) for row in rows) for i in range(len(headers))]
    lines = []
    for line in cells:
        padded = []
        for cell, width, to_right in zip(line, widths, right, strict=True):
            fill = " " * (width - cell_len(cell))
            padded.append(fill + cell if to_right else cell + fill)
        lines.append("  ".join(padded).rstrip())
    return lines


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def format_size(size: float) -> str:
    """Bytes for people: `0 B`, `1.5 MB`; powers of 1000."""
    unit = 0
    while size >= 999.5 and unit < len(UNITS) - 1:
        size /= 1000
        unit += 1
    return f"{size:.0f} {UNITS[unit]}" if unit == 0 or size >= 99.95 else f"{size:.1f} {UNITS[unit]}"


def format_pages(start: int | None, end: int | None) -> str:
    """`p. 3`, `pp. 3–4`, or nothing when the pages are not known."""
    if start is None:
        return ""
    return f"p. {start}" if end is None or end == start else f"pp. {start}–{end}"
