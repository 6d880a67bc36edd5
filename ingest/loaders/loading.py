"""From a file to its text: one loader a media type."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ingest.loaders.delimited import load_delimited
from ingest.loaders.epub import load_epub
from ingest.loaders.html import load_html
from ingest.loaders.limits import LoadLimits
from ingest.loaders.mail import load_mail
from ingest.loaders.markdown import load_markdown
from ingest.loaders.pdf import load_pdf
from ingest.loaders.plain import load_plain
from ingest.loaders.sheets import load_sheets
from ingest.loaders.slides import load_slides
from ingest.loaders.word import load_word
from kb.errors import DocumentFailed
from kb.media_type import CSV, DOCX, EPUB, HTML, MAIL, MARKDOWN, PDF, PLAIN, PPTX, TSV, XLSX, split_charset
from kb.types import ParsedDocument

Loader = Callable[..., ParsedDocument]  # of a path and limits, and what else is known of the file

LOADERS: dict[str, Loader] = {
    PDF: load_pdf,
    HTML: load_html,
    MARKDOWN: load_markdown,
    PLAIN: load_plain,
    CSV: load_delimited,
    TSV: load_delimited,
    DOCX: load_word,
    XLSX: load_sheets,
    PPTX: load_slides,
    EPUB: load_epub,
    MAIL: load_mail,
}


def load_document(path: Path, media_type: str, limits: LoadLimits, password: str | None = None) -> ParsedDocument:
    """The text of the file, its pages and headings; every offset points into that text. `password` is for a PDF,
    a charset in `media_type` (`text/html; charset=gbk`) what the server of a page or a text said.

    Raises DocumentFailed: `unsupported_type`, `no_text`, `not_text`, `text_too_large`, `too_many_pages`,
    `pdf_malformed`, `pdf_encrypted`, `pdf_wrong_password`, `file_malformed`, `file_encrypted`, `parse_limit`.
    """
    kind, charset = split_charset(media_type)
    loader = LOADERS.get(kind)
    if loader is None:
        raise DocumentFailed("unsupported_type", f"no loader reads {media_type}")
    if kind == PDF:
        return loader(path, limits, password)
    return loader(path, limits) if charset is None else loader(path, limits, charset)
