"""Whether a passage answers a question whose right answer is known: by its document, and by what stands in it."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence

WHITE = re.compile(r"\s+")


def fold_text(text: str) -> str:
    """As texts are compared: full and half width, capitals and white space make no difference."""
    return WHITE.sub("", unicodedata.normalize("NFKC", text).casefold())


def is_of(path: str, paths: Sequence[str]) -> bool:
    """Whether a document is one of `paths`, or below one that ends in `/`; any is when there are none."""
    return not paths or any(path == one or (one.endswith("/") and path.startswith(one)) for one in paths)


def holds_any(text: str, folded: Sequence[str]) -> bool:
    """Whether one of the `folded` strings stands in the text; yes when there are none."""
    if not folded:
        return True
    whole = fold_text(text)
    return any(answer in whole for answer in folded)
