"""Web pages' bytes into the store. What they are is told by their content, and by what their server says."""

from __future__ import annotations

from collections.abc import Collection
from urllib.parse import unquote, urlsplit

from kb.blobs import BlobStore
from kb.errors import InvalidInput
from kb.media_type import (
    CSV,
    DOCX,
    EPUB,
    HEAD_BYTES,
    HTML,
    MARKDOWN,
    PDF,
    PLAIN,
    PPTX,
    TSV,
    XLSX,
    add_charset,
    sniff_media_type,
)
from kb.types import PageContent

# The name a file of that kind would have. An address has no use for one: `/index.php` and `/v2.0` are pages of HTML.
_SUFFIXES = {
    HTML: ".html",
    "application/xhtml+xml": ".html",
    MARKDOWN: ".md",
    CSV: ".csv",
    TSV: ".tsv",
    PDF: "",
    DOCX: ".docx",
    XLSX: ".xlsx",
    PPTX: ".pptx",
    EPUB: ".epub",
}


class PageIntake:
    """Thread-safe."""

    def __init__(self, blobs: BlobStore, max_file_bytes: int, *, readers: Collection[str] = ()) -> None:
        """`readers` are the extensions that the operator gave to readers."""
        self._blobs = blobs
        self._max_file_bytes = max_file_bytes
        self._readers = readers

    def find_type(self, url: str, body: bytes, content_type: str | None) -> str:
        """With the charset that its server names.

        Raises InvalidInput (`unsupported_type`, `type_mismatch`, `too_large`, `file_empty`)."""
        if not body:
            raise InvalidInput("file_empty", "the page is empty")
        if len(body) > self._max_file_bytes:
            raise InvalidInput("too_large", f"the page is larger than {self._max_file_bytes:,} bytes")
        found = sniff_media_type(_name_file(url, content_type), body[:HEAD_BYTES], self._readers)
        return add_charset(found, content_type)

    def has(self, content: PageContent) -> bool:
        """Whether the bytes are still stored."""
        return self._blobs.exists(content.sha256)

    def take(self, url: str, body: bytes, content_type: str | None) -> PageContent:
        """The bytes are durable when this returns. Raises InvalidInput as `find_type`, Unavailable (`disk_full`)."""
        media_type = self.find_type(url, body, content_type)
        with self._blobs.open_writer() as writer:  # also where equal bytes lie: these are young, and not swept out
            writer.write(body)
            return PageContent(sha256=writer.commit(), size=len(body), media_type=media_type)


def _name_file(url: str, content_type: str | None) -> str:
    """A name by which the content can be told: the address's own only where its server says nothing of use."""
    said = (content_type or "").partition(";")[0].strip().lower()
    name = unquote(urlsplit(url).path).rpartition("/")[2]
    if said in _SUFFIXES:
        return f"page{_SUFFIXES[said]}"
    if said == PLAIN:
        return name if name.lower().endswith((".md", ".markdown", ".csv", ".tsv")) else "page.txt"
    return name or "page"
