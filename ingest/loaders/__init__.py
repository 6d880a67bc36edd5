"""Files to text. Every library that reads a file format is imported here and nowhere else."""

from ingest.loaders.html_links import read_links
from ingest.loaders.limits import LoadLimits
from ingest.loaders.loading import load_document
from ingest.loaders.ocr import check_ocr
from ingest.loaders.reader import load_with_reader

__all__ = ["LoadLimits", "check_ocr", "load_document", "load_with_reader", "read_links"]
