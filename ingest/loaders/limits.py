"""What one document may hold at most."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from kb.errors import DocumentFailed


def _do_nothing() -> None:
    """For a caller who sets no limits."""


@dataclass(frozen=True, kw_only=True, slots=True)
class LoadLimits:
    max_pages: int = 5_000
    max_characters: int = 20_000_000
    ocr_pages: int = 0  # pages of a document that OCR may read; 0: it is off
    begin_ocr_page: Callable[[], None] = _do_nothing  # called before each of them, for the time and memory it takes

    def check_pages(self, pages: int) -> None:
        """Raises DocumentFailed (`too_many_pages`)."""
        if pages > self.max_pages:
            raise DocumentFailed("too_many_pages", f"{pages:,} pages; at most {self.max_pages:,} are read")

    def check_characters(self, characters: int) -> None:
        """Raises DocumentFailed (`text_too_large`)."""
        if characters > self.max_characters:
            raise DocumentFailed(
                "text_too_large", f"more than {self.max_characters:,} characters of text; split the document"
            )
