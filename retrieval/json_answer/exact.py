"""JSON whose integers stay whole: orjson reads those beyond 64 bits as floats, and writes none of them."""

from __future__ import annotations

import json
import re
from typing import Any

import orjson

LONG = re.compile(r"\d{19}")  # 2 ** 63 has as many figures


def read_exact(text: str | bytes) -> Any:  # noqa: ANN401
    """What has a point or an exponent is a float, as everywhere.

    Raises orjson.JSONDecodeError, also for a number beyond all floats: so no integer has more than 309 figures.
    """
    value = orjson.loads(text)
    written = text if isinstance(text, str) else text.decode()
    if not LONG.search(written):
        return value
    try:
        return json.loads(written)
    except RecursionError:  # orjson bears more
        raise orjson.JSONDecodeError("nested too deep", "", 0) from None


def write_exact(value: Any, *, sort: bool = False) -> bytes:  # noqa: ANN401
    """`sort`: by keys, so that equal values are written alike. Raises TypeError for what no JSON holds."""
    try:
        return orjson.dumps(value, option=orjson.OPT_SORT_KEYS if sort else None)
    except orjson.JSONEncodeError:
        pass
    try:
        written = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"), sort_keys=sort)
        return written.encode()
    except (ValueError, RecursionError):
        raise TypeError("the value cannot be written as JSON") from None
