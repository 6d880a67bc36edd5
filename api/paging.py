"""Lists: how many, and where the last page ended."""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Annotated, Any, Generic, TypeVar

from fastapi import Query
from pydantic import BeforeValidator
from pydantic_core import PydanticKnownError

from kb.errors import InvalidInput

Item = TypeVar("Item")
DIGITS = re.compile("-?[0-9]{1,20}")


def check_digits(value: object) -> object:
    """Python would take `5.0`, `+5`, `5_0` and ` 5` as well."""
    if isinstance(value, str) and not DIGITS.fullmatch(value):
        raise PydanticKnownError("int_parsing")
    return value


WholeNumber = Annotated[int, BeforeValidator(check_digits)]
Limit = Annotated[WholeNumber, Query(ge=1, le=200, description="most items in the answer")]
Cursor = Annotated[str | None, Query(max_length=4096, description="`next_cursor` of the page before")]
CHECK_BYTES = 4


@dataclass(frozen=True, kw_only=True, slots=True)
class Page(Generic[Item]):
    items: Sequence[Item]
    next_cursor: str | None


def cut_page(found: Sequence[Any], limit: int, key: Callable[[Any], str]) -> tuple[Sequence[Any], str | None]:
    """The first `limit` of up to `limit + 1` rows, and the cursor of the next page when there is one."""
    if len(found) <= limit:
        return found, None
    return found[:limit], write_cursor(key(found[limit - 1]))


def write_cursor(key: str) -> str:
    raw = key.encode("utf-8")
    return base64.urlsafe_b64encode(_check(raw) + raw).rstrip(b"=").decode("ascii")


def read_cursor(cursor: str | None) -> str | None:
    """The key of the last item seen. Raises InvalidInput (`bad_cursor`)."""
    if cursor is None:
        return None
    try:
        data = base64.b64decode(cursor.encode("ascii") + b"=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        check, raw = data[:CHECK_BYTES], data[CHECK_BYTES:]
        if check != _check(raw):
            raise _bad_cursor()
        return raw.decode("utf-8")
    except (UnicodeError, binascii.Error):
        raise _bad_cursor() from None


def read_number_cursor(cursor: str | None) -> int | None:
    """The same for lists that are in order of a number."""
    key = read_cursor(cursor)
    if key is None:
        return None
    if not (key.isascii() and key.removeprefix("-").isdecimal() and len(key) <= 18):
        raise _bad_cursor()
    return int(key)


def _check(raw: bytes) -> bytes:
    """Not a secret: it tells a cursor of ours from a guess or a torn copy."""
    return blake2b(raw, digest_size=CHECK_BYTES).digest()


def _bad_cursor() -> InvalidInput:
    return InvalidInput("bad_cursor", "this is no cursor of this list; start again without one")
