"""Files to text. Every library that reads a file format is imported here and nowhere else."""

from ingest.loaders.limits import LoadLimits
from ingest.loaders.loading import load_document
from ingest.loaders.reader import load_with_reader

__all__ = ["LoadLimits", "load_document", "load_with_reader"]
