"""A document's path as uploads and sources may name it: relative, with `/`, the same on every system."""

from __future__ import annotations

import re
import unicodedata

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
