"""What a server said of a web page, as a version keeps it."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from kb.types import PageOrigin


def describe_origin(origin: PageOrigin) -> dict[str, Any]:
    """Without what it does not say."""
    return {name: value for name, value in asdict(origin).items() if value}


def read_origin(kept: Mapping[str, Any]) -> PageOrigin:
    """Pages of a site link to the same pages: each address is kept once, however many origins name it."""
    said: dict[str, Any] = {name: _read(value) for name, value in kept.items()}
    return PageOrigin(**said)


def _read(value: object) -> object:
    return tuple(map(sys.intern, value)) if isinstance(value, list) else value
