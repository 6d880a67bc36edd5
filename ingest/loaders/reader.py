"""Any LlamaIndex reader as a loader: the operator names its class (`KB_READERS`), never a request.

The class is imported and run in a parse child, under its limits: without environment, unable to write files.
"""

from __future__ import annotations

import importlib
import traceback
from collections.abc import Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.loaders.limits import LoadLimits
from ingest.loaders.markdown import find_headings
from ingest.loaders.plain import check_has_text, has_text
from kb.errors import DocumentFailed
from kb.media_type import MARKDOWN
from kb.text import clean_text, detect_language
from kb.types import Heading, Page, PageVerdict, ParsedDocument

if TYPE_CHECKING:
    from llama_index.core.readers.base import BaseReader
    from llama_index.core.schema import Document

SEPARATOR = "\n\n"
_TITLE_KEYS = ("title", "document_title")
_LONGEST_TITLE = 300
_LONGEST_MESSAGE = 300
_LARGEST_LABEL = 6  # digits


def load_with_reader(path: Path, reader: str, limits: LoadLimits) -> ParsedDocument:
    """Each Document that the reader `module:Class` makes of the file is a page; a line is left empty between two.

    Pages are numbered as the reader says (`page_label`) when its numbers ascend, else from 1. A Document of the type
    text/markdown gives headings. Title: `title` or `document_title` of the first Document.

    Raises DocumentFailed: `reader_failed` when the class is not there or raises, `no_text`, `text_too_large`,
    `too_many_pages`.
    """
    documents = _read_documents(path, reader)
    limits.check_pages(len(documents))
    texts = [clean_text(document.text) for document in documents]
    text = SEPARATOR.join(texts)
    limits.check_characters(len(text))
    check_has_text(text)
    starts = list(accumulate((len(part) + len(SEPARATOR) for part in texts[:-1]), initial=0))
    pages = tuple(
        Page(number=number, start=start, end=start + len(part), verdict=_judge(part))
        for number, start, part in zip(_number_pages(documents), starts, texts, strict=True)
    )
    headings = tuple(
        Heading(start=start + found.start, end=start + found.end, level=found.level, title=found.title)
        for document, start, part in zip(documents, starts, texts, strict=True)
        if document.text_resource is not None and document.text_resource.mimetype == MARKDOWN
        for found in find_headings(part)
    )
    title = _find_title(documents[0])
    return ParsedDocument(text=text, pages=pages, headings=headings, title=title, language=detect_language(text))


def _read_documents(path: Path, reader: str) -> Sequence[Document]:
    """Raises DocumentFailed (`reader_failed`). Only a failed import's message is told: others may quote the file."""
    made = _make_reader(reader)
    try:
        documents = list(made.load_data(path))
        _check_documents(documents, reader)
    except (MemoryError, RecursionError, DocumentFailed):
        raise
    except ImportError as error:  # many readers import what they need here
        raise _say_unusable(reader, error) from None
    except Exception as error:  # noqa: BLE001  # a stranger's code: what it raises fails its document
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{type(error).__name__} in {Path(last.filename).name}:{last.lineno}"
        raise DocumentFailed("reader_failed", f"{reader} raised {place}") from None
    return documents


def _make_reader(reader: str) -> BaseReader:
    """Raises DocumentFailed (`reader_failed`). No file is read yet, so that the whole message can be told."""
    module, _, name = reader.partition(":")
    try:
        from llama_index.core.readers.base import BaseReader

        made = getattr(importlib.import_module(module), name)()
    except (MemoryError, RecursionError):
        raise
    except Exception as error:  # noqa: BLE001  # a stranger's code
        raise _say_unusable(reader, error) from None
    if not isinstance(made, BaseReader):
        raise DocumentFailed("reader_failed", f"{reader} is no LlamaIndex reader; see KB_READERS")
    return made


def _say_unusable(reader: str, error: Exception) -> DocumentFailed:
    reason = f"{type(error).__name__}: {error}"[:_LONGEST_MESSAGE]
    return DocumentFailed("reader_failed", f"{reader} cannot be used ({reason}); see KB_READERS")


def _check_documents(documents: Sequence[object], reader: str) -> None:
    """Raises DocumentFailed (`reader_failed`)."""
    from llama_index.core.schema import Document

    if not all(isinstance(document, Document) for document in documents):
        raise DocumentFailed("reader_failed", f"{reader} gives something else than LlamaIndex Documents")


def _judge(text: str) -> PageVerdict:
    return PageVerdict.INDEXED if has_text(text) else PageVerdict.EMPTY


def _number_pages(documents: Sequence[Document]) -> list[int]:
    labels = [str(document.metadata.get("page_label", "")) for document in documents]
    if all(label.isascii() and label.isdecimal() and len(label) <= _LARGEST_LABEL for label in labels):
        numbers = [int(label) for label in labels]
        if all(before < after for before, after in zip([0, *numbers], numbers, strict=False)):
            return numbers
    return list(range(1, len(documents) + 1))


def _find_title(document: Document) -> str | None:
    named = (document.metadata.get(key) for key in _TITLE_KEYS)
    titles = (" ".join(clean_text(title).split())[:_LONGEST_TITLE] for title in named if isinstance(title, str))
    return next(filter(None, titles), None)
