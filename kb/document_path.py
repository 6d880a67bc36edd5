"""A document's path as uploads and folders may name it: relative, with `/`, the same on every system. A web page's
is its address, which no upload can name."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote

from kb.errors import InvalidInput

LONGEST_PATH = 1_024  # bytes of UTF-8
LONGEST_SEGMENT = 255

_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_DRIVE = re.compile(r"[A-Za-z]:")


def check_path(path: str) -> str:
    """The path in NFC. Raises InvalidInput (`bad_path`)."""
    path = unicodedata.normalize("NFC", path)
    if fault := find_fault(path):
        raise InvalidInput("bad_path", f"a path must be relative and plain, this one {fault}")
    return path


def find_fault(path: str) -> str | None:
    """What is wrong with the path, to be read after "this one"; None for one that documents may have."""
    segments = path.split("/")
    checks = (
        (not path.strip(), "is empty"),
        (_CONTROLS.search(path), "holds a control character"),
        ("\\" in path, "holds a backslash; write / between folders"),
        (path.startswith("/"), "is absolute"),
        (_DRIVE.match(path), "begins with a drive"),
        (any(segment in (".", "..") for segment in segments), "holds . or .. as a folder"),
        (any(not segment.strip() for segment in segments), "holds an empty name"),
        (len(path.encode("utf-8", "replace")) > LONGEST_PATH, "is longer than 1,024 bytes"),
        (any(len(s.encode("utf-8", "replace")) > LONGEST_SEGMENT for s in segments), "holds a name over 255 bytes"),
    )
    return next((fault for found, fault in checks if found), None)


def name_file(path: str, media_type: str) -> str:
    """What a document's bytes are called when they are downloaded. A page's address is no name for a file."""
    if "://" not in path:
        return path.rpartition("/")[2]
    host, _, rest = path.partition("://")[2].partition("/")
    named = unicodedata.normalize("NFC", unquote(rest.partition("?")[0].rstrip("/")))
    name = _CONTROLS.sub("_", named.replace("\\", "/").rpartition("/")[2]) or host
    is_page = media_type.partition(";")[0] == "text/html" and not name.lower().endswith((".html", ".htm", ".xhtml"))
    return f"{name}.html" if is_page else name
