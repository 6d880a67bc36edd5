"""Files to text. Every library that reads a file format is imported here and nowhere else."""

from ingest.loaders.limits import LoadLimits
from ingest.loaders.loading import load_document

__all__ = ["LoadLimits", "load_document"]
