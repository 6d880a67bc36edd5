"""An archive's files, whatever kind of archive it is: told by its first bytes, not by its name."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import IO

from api.archives.entries import ArchiveEntry, ArchiveLimits, is_left_out
from api.archives.tar_entries import read_tar
from api.archives.zip_entries import read_zip
from api.errors import BadRequest

_ZIP = (b"PK\x03\x04", b"PK\x05\x06")
_GZIP = b"\x1f\x8b\x08"


def iter_entries(file: IO[bytes], limits: ArchiveLimits) -> Iterator[ArchiveEntry]:
    """Every file in the archive's order, without folders and hidden files; each is to be read before the next one.

    Raises BadRequest for the whole archive: `unsupported_archive`, `archive_broken`, `archive_too_large`.
    """
    limits = limits.weigh(file.seek(0, os.SEEK_END))
    file.seek(0)
    head = file.read(4)
    if head in _ZIP:
        entries = read_zip(file, limits)
    elif head.startswith(_GZIP):
        entries = read_tar(file, limits)
    else:
        raise BadRequest("unsupported_archive", "the content is neither a .zip nor a .tar.gz archive")
    return (entry for entry in entries if not is_left_out(entry.path))
