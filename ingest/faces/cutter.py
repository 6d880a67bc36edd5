"""What the faces share: a framework's text as the splitter takes it, and who counts its tokens."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from ingest.encoders.shelf import EncoderShelf
from ingest.loaders.markdown import find_headings
from ingest.splitter import SplitterSettings, split_document
from kb.ports import TokenCounter
from kb.types import Page, PageVerdict, ParsedDocument, TextChunk

# The other line ends that `clean_text` folds. A loader has folded them; a framework's text may hold them still.
_LINE_ENDS = re.compile("[\r\x0b\x0c\x85\u2028\u2029]")


@dataclass(frozen=True, kw_only=True, slots=True)
class Cutter:
    """Cuts texts that no loader of ours has read. Offsets are into the text as it was given."""

    counter: TokenCounter
    settings: SplitterSettings = field(default_factory=SplitterSettings)
    markdown: bool = True  # whether `#` and underlined lines are headings

    def cut(self, text: str) -> list[TextChunk]:
        """Chunks in reading order, as `split_document` cuts them; none for a text of white space.

        Raises what the counter raises.
        """
        level = _LINE_ENDS.sub("\n", text.replace("\r\n", " \n"))  # as long as `text`, so that offsets stay
        pages = (Page(number=1, start=0, end=len(level), verdict=PageVerdict.INDEXED),)
        headings = tuple(find_headings(level)) if self.markdown else ()
        return split_document(ParsedDocument(text=level, pages=pages, headings=headings), self.counter, self.settings)


def find_counter(encoder: str) -> TokenCounter:
    """`builtin`, or a sentence-transformers model by its name or folder, loaded once a process.

    Raises Unavailable (`embedding_unavailable`) when the model is not on this machine.
    """
    return _open_shelf().get_encoder(encoder)


@cache
def _open_shelf() -> EncoderShelf:
    return EncoderShelf()


def name_counter(counter: TokenCounter) -> str:
    """How a counter that was handed in is told apart: an encoder's own name, else that of its class."""
    name = getattr(counter, "name", None)
    return name if isinstance(name, str) else type(counter).__name__


def describe_chunk(chunk: TextChunk) -> dict[str, Any]:
    """Metadata of a chunk: `ordinal`, and `heading`, the path of headings above it, where there is one."""
    return {"ordinal": chunk.ordinal} | ({} if chunk.heading is None else {"heading": chunk.heading})
