"""Office files and e-books by the first entries of their zip.

Only the head of a file is seen. Word, Excel and PowerPoint put a part of theirs (`word/document.xml`) there, and an
e-book must begin with its kind; a program that puts large parts first leaves the name to be believed, and the loader to
find out.
"""

from __future__ import annotations

import re

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
EPUB = "application/epub+zip"

# Templates, shows and files with macros are read as what they are made like; macros are never run.
PACKED_NAMES = {
    **dict.fromkeys((".docx", ".docm", ".dotx", ".dotm"), DOCX),
    **dict.fromkeys((".xlsx", ".xlsm", ".xltx", ".xltm"), XLSX),
    **dict.fromkeys((".pptx", ".pptm", ".ppsx", ".ppsm", ".potx", ".potm"), PPTX),
    ".epub": EPUB,
}
# Of formats that are not read: the one to save the file in.
SAVED_AS = {
    **dict.fromkeys((".doc", ".dot", ".wps", ".odt", ".rtf"), ".docx"),
    **dict.fromkeys((".xls", ".xlt", ".xlsb", ".et", ".ods"), ".xlsx"),
    **dict.fromkeys((".ppt", ".pps", ".dps", ".odp"), ".pptx"),
    ".msg": ".eml",
}

_FOLDERS = ((b"word/", DOCX), (b"xl/", XLSX), (b"ppt/", PPTX))
# A local header up to the entry's name, with the lengths of the name and of the field behind it.
_ENTRY = re.compile(rb"PK\x03\x04.{22}(..)(..)", re.DOTALL)
_PARTS = (b"[Content_Types].xml", b"_rels/.rels")
_KIND_ENTRY = b"mimetype"
_KIND = re.compile(rb"[a-z]{3,20}/[\w.+-]{3,100}?(?=PK\x03\x04|PK\x01\x02|[^\w.+-]|\Z)")


def find_packed_type(head: bytes) -> str | None:
    """The media type that the first entries of a zip show: one of ours, another that the file names, "" for a zip with
    entries of an Office file that do not tell which; None when nothing shows."""
    names: list[bytes] = []
    for found in _ENTRY.finditer(head):
        end = found.end() + int.from_bytes(found[1], "little")
        name = head[found.end() : end]
        if not names and name == _KIND_ENTRY:
            kind = _KIND.match(head, end + int.from_bytes(found[2], "little"))
            return kind[0].decode("ascii") if kind else ""
        names.append(name)
    if not any(name in _PARTS for name in names):
        return None
    return next((kind for name in names for folder, kind in _FOLDERS if name.startswith(folder)), "")
