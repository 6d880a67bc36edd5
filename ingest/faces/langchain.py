"""The splitter as a LangChain text splitter. The only importer of LangChain's text splitters."""

from __future__ import annotations

import copy
import math
from typing import Any

from ingest.faces.cutter import Cutter, describe_chunk, find_counter
from ingest.splitter import SplitterSettings
from kb.ports import TokenCounter

try:
    from langchain_core.documents import Document
    from langchain_text_splitters.base import TextSplitter
except ImportError as error:
    raise ImportError("KbTextSplitter needs langchain-text-splitters: install kb-server[langchain]") from error

SETTINGS = SplitterSettings()


class KbTextSplitter(TextSplitter):
    """Texts to Documents with exact offsets: `text[start_index:][:len(page_content)] == page_content`.

    Metadata is the text's own and `start_index`, `ordinal`, and `heading` where there is one. Chunks do not overlap.
    """

    def __init__(
        self,
        *,
        target_tokens: int = SETTINGS.target_tokens,
        max_tokens: int = SETTINGS.max_tokens,
        encoder: str = "builtin",
        counter: TokenCounter | None = None,
        markdown: bool = True,
    ) -> None:
        """Sizes are in tokens of `encoder`, which is `builtin`, a model's name or its folder, or as `counter` counts.
        `markdown` says whether `#` and underlined lines are headings.

        Raises ValueError for sizes that cannot be met, Unavailable when the model is not on this machine.
        """
        settings = SplitterSettings(target_tokens=target_tokens, max_tokens=max_tokens)
        self._cutter = Cutter(counter=counter or find_counter(encoder), settings=settings, markdown=markdown)
        super().__init__(
            chunk_size=max_tokens, chunk_overlap=0, length_function=self._count_tokens, add_start_index=True
        )

    def split_text(self, text: str) -> list[str]:
        return [text[chunk.start : chunk.end] for chunk in self._cutter.cut(text)]

    def create_documents(self, texts: list[str], metadatas: list[dict[Any, Any]] | None = None) -> list[Document]:
        """The base class looks a chunk's text up, and finds an earlier place where a short one stands twice."""
        given = metadatas or [{} for _ in texts]
        return [
            Document(
                page_content=text[chunk.start : chunk.end],
                metadata={**copy.deepcopy(metadata), "start_index": chunk.start, **describe_chunk(chunk)},
            )
            for text, metadata in zip(texts, given, strict=True)
            for chunk in self._cutter.cut(text)
        ]

    def _count_tokens(self, text: str) -> int:
        """Rounded up, as a chunk's are."""
        (tokens,) = self._cutter.counter.count_spans(text, [0, len(text)]) if text else (0.0,)
        return math.ceil(tokens)
