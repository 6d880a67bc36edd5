"""The extracted texts that one search reads: each once, as long as they are not too large to be held."""

from __future__ import annotations

from collections.abc import Sequence

from kb.errors import Gone
from kb.ports import TextSource
from kb.types import VisibleChunk

MOST_HELD = 20_000_000  # characters in all; a document has as many at most


class TextReader:
    """Belongs to one search, hence to one thread."""

    def __init__(self, source: TextSource) -> None:
        self._source = source
        self._held: dict[str, str | None] = {}
        self._room = MOST_HELD

    def read_text(self, text_sha: str) -> str | None:
        """None when it is not kept any more: its document was purged a moment ago."""
        if text_sha in self._held:
            return self._held[text_sha]
        try:
            text = self._source.read_text(text_sha)
        except Gone:
            text = None
        size = len(text) if text is not None else 0
        if size <= self._room:
            self._room -= size
            self._held[text_sha] = text
        return text

    def read_chunks(self, chunks: Sequence[VisibleChunk]) -> list[str | None]:
        """The chunks' own texts, in their order; those of one document are cut from one reading."""
        cut: list[str | None] = [None] * len(chunks)
        last, text = "", None
        for place in sorted(range(len(chunks)), key=lambda place: chunks[place].text_sha):
            chunk = chunks[place]
            if chunk.text_sha != last:
                last, text = chunk.text_sha, self.read_text(chunk.text_sha)
            cut[place] = text[chunk.start : chunk.end] if text is not None else None
        return cut
