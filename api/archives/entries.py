"""What both readers give: one entry a file, and the refusals of a whole archive."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from api.errors import BadRequest
from kb.errors import InvalidInput

PIECE = 65_536  # bytes unpacked at a time; more than sniffing wants to see
HIGHEST_RATIO = 200  # unpacked to packed: texts come to 20, a bomb to 1,000
UNWEIGHED_BYTES = 100_000_000  # that much may unpack from however little


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveLimits:
    """`bytes` counts everything that is unpacked, also what is skipped."""

    entries: int
    bytes: int

    def weigh(self, size: int) -> ArchiveLimits:
        """The limits for an archive of `size` bytes: a bomb ends long before the limit that honest ones have."""
        return replace(self, bytes=min(self.bytes, max(UNWEIGHED_BYTES, HIGHEST_RATIO * size)))


@dataclass(frozen=True, kw_only=True, slots=True)
class ArchiveEntry:
    """One file of an archive.

    `fault` is why it cannot be taken whatever it holds. `size` is what the archive says, in bytes, and may lie.
    `pieces` are its bytes, good until the next entry is asked for; reading them raises InvalidInput (`archive_broken`)
    for damage of this entry, BadRequest (`archive_broken`, `archive_too_large`) when nothing of the archive counts.
    """

    path: str
    size: int
    pieces: Iterable[bytes] = ()
    fault: InvalidInput | None = None


def refuse_broken(reason: str) -> BadRequest:
    return BadRequest("archive_broken", f"the archive cannot be read: {reason}; pack it again")


def refuse_large(reason: str) -> BadRequest:
    return BadRequest("archive_too_large", f"the archive {reason}; send it in parts")


def refuse_entries(limits: ArchiveLimits) -> BadRequest:
    return refuse_large(f"has more than {limits.entries} entries")


def refuse_bytes(limits: ArchiveLimits) -> BadRequest:
    return refuse_large(f"unpacks to more than {limits.bytes} bytes")


def refuse_link() -> InvalidInput:
    return InvalidInput("archive_link", "a link is not followed; pack the file that it leads to")


def refuse_special() -> InvalidInput:
    return InvalidInput("archive_special", "it is no plain file: a device, a pipe or a sparse file")


def refuse_name() -> InvalidInput:
    return InvalidInput("bad_path", "the name is in another encoding than the archive's other names, or in none")


def trim_path(path: str) -> str:
    """Without the `./` that `tar .` puts before every name."""
    while path.startswith("./"):
        path = path[2:].lstrip("/")
    return path


def is_left_out(path: str) -> bool:
    """Hidden files and folders and macOS's `__MACOSX`, as in every folder; not names that lead elsewhere."""
    segments = path.split("/")
    if "" in segments or ".." in segments:
        return False
    return segments[0] == "__MACOSX" or any(s.startswith(".") and s != "." for s in segments)
