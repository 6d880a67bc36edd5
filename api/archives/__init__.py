"""Archives as they are uploaded: .zip and .tar.gz, read as data: nothing is written under a name from inside."""

from api.archives.entries import ArchiveEntry, ArchiveLimits
from api.archives.reading import iter_entries

__all__ = ["ArchiveEntry", "ArchiveLimits", "iter_entries"]
