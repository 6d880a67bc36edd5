"""Strangers' parsers, and what becomes of a file that breaks one of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def ask_parser(ask: Callable[[], T]) -> T | None:
    """What a parser says of a page or a file; None when it gave up, so that another one may try.

    Files can be anything at all, and these libraries raise whatever goes wrong in them: beside their own errors
    AssertionError (htmldate, of a page that is one `<svg>`), IndexError, TypeError, UnicodeDecodeError (pypdfium2, of
    half a surrogate pair in a title). Only memory that ran out is passed on, since the limit on it has a code of its
    own. Raises MemoryError.
    """
    try:
        return ask()
    except MemoryError:
        raise
    except Exception:  # noqa: BLE001  # a stranger's code
        return None
