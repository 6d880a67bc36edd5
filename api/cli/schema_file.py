"""A file with the JSON Schema of an answer. Whether it may be asked for is the server's to say."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click
import orjson

from retrieval.json_answer.exact import read_exact

LONGEST = 1_000_000  # bytes: no request may be longer


def read_schema(path: Path) -> dict[str, Any]:
    """Raises UsageError for a file that cannot be read, or that holds no JSON object."""
    try:
        if path.stat().st_size > LONGEST:
            raise click.UsageError(f"{path} has more than {LONGEST:,} bytes: no schema may be as long")
        schema = read_exact(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise click.UsageError(f"{path} cannot be read: {error.strerror}") from None
    except orjson.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise click.UsageError(f"{path} is no JSON: {error.msg} ({place})") from None
    except UnicodeDecodeError:
        raise click.UsageError(f"{path} cannot be read: it is not UTF-8") from None
    if not isinstance(schema, dict):
        raise click.UsageError(f'{path} holds no JSON object, as a schema is one: {{"type": "object", …}}')
    return schema
