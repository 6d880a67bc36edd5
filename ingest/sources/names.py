"""File names as text. A name is bytes to the system; documents' paths are Unicode in NFC."""

from __future__ import annotations

import os
import re
import sys
import unicodedata
from collections.abc import Iterable

_ESCAPED = re.compile("[\udc80-\udcff]")
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]")
_IS_UTF8 = sys.getfilesystemencoding().lower() == "utf-8"


def are_plain(names: Iterable[str]) -> bool:
    """Whether each name is its own text and one that a document may have. A quick look at all of a folder's together;
    False only means that they must be looked at one by one."""
    joined = f"/{'/'.join(names)}/"
    return (
        joined.isprintable()  # neither controls nor half surrogate pairs, as bytes that are not UTF-8 come
        and "\\" not in joined
        and "/ " not in joined  # or it could be a name of spaces
        and unicodedata.is_normalized("NFC", joined)
        and (_IS_UTF8 or joined.isascii())
    )


def read_name(name: str) -> str:
    """The text of a name as `os.scandir` gives it, in NFC: UTF-8, else GB18030, else `%XX` for each byte that is not
    UTF-8."""
    raw = os.fsencode(name)
    for encoding in ("utf-8", "gb18030"):
        try:
            return unicodedata.normalize("NFC", raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    text = _ESCAPED.sub(lambda found: f"%{ord(found[0]) - 0xDC00:02X}", raw.decode("utf-8", "surrogateescape"))
    return unicodedata.normalize("NFC", text)


def show_name(text: str) -> str:
    """A path that was refused, for people: control characters as `%XX`."""
    return _CONTROLS.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), text)
