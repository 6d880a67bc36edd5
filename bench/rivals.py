"""What others offer for splitting, each behind one function; a library that is not installed is left out.

Sentence splitters take a text and its language and give the ends of sentences. Chunkers take a text and give chunks of
about TARGET tokens, counted as `builtin` counts unless the name says otherwise: none of them may download a tokenizer.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Any

from borders import find_piece_ends

from kb.tokens import estimate_tokens

TARGET = 100  # tokens of a chunk
CHINESE_CHARACTERS = 160  # about TARGET tokens, where a chunker counts characters
KB = 1000

# The known Chinese splitter: behind a mark and up to two closing quotes, or before an opening quote.
CHINESE_ENDS = re.compile(r"[﹒﹔﹖﹗．。！？][\"’”」』]{0,2}|(?=[\"‘“「『])|\Z")

FindEnds = Callable[[str, str], Iterable[int]]
Chunk = Callable[[str], object]


@dataclass(frozen=True, kw_only=True, slots=True)
class SentenceSplitter:
    """`package` is the module that must be there."""

    name: str
    package: str
    make: Callable[[], FindEnds]

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


@dataclass(frozen=True, kw_only=True, slots=True)
class Chunker:
    """`sample`: bytes of UTF-8 it is timed on, some seconds' work; `at_least`: how many times as fast ours must be."""

    name: str
    package: str
    sample: int
    make: Callable[[], Chunk]
    at_least: float | None = None

    @property
    def is_installed(self) -> bool:
        return find_spec(self.package) is not None


def make_pysbd() -> FindEnds:
    import pysbd

    def find_ends(text: str, lang: str) -> Iterable[int]:
        return find_piece_ends(text, pysbd.Segmenter(language=lang, clean=False).segment(text))

    return find_ends


def make_punkt() -> FindEnds:
    """NLTK's English model, as LlamaIndex carries and uses it, whatever the language."""
    from llama_index.core.utils import globals_helper

    tokenizer = globals_helper.punkt_tokenizer
    return lambda text, _lang: [end for _, end in tokenizer.span_tokenize(text)]


def make_regular_expression() -> FindEnds:
    return lambda text, _lang: [found.end() for found in CHINESE_ENDS.finditer(text) if found.end()]


def make_llama_index() -> Chunk:
    from llama_index.core.node_parser import SentenceSplitter as LlamaIndexSplitter

    splitter = LlamaIndexSplitter(chunk_size=TARGET, chunk_overlap=0, tokenizer=list_tokens)
    return splitter.split_text


def make_llama_index_as_it_comes() -> Chunk:
    """1,024 tokens with an overlap of 200, counted by the tiktoken vocabulary that it carries."""
    from llama_index.core.node_parser import SentenceSplitter as LlamaIndexSplitter

    return LlamaIndexSplitter().split_text


def make_langchain() -> Chunk:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    return RecursiveCharacterTextSplitter(chunk_size=TARGET, chunk_overlap=0, length_function=count_tokens).split_text


def make_langchain_plain() -> Chunk:
    from langchain_text_splitters import RecursiveCharacterTextSplitter

    return RecursiveCharacterTextSplitter(chunk_size=CHINESE_CHARACTERS, chunk_overlap=0).split_text


def make_chonkie() -> Chunk:
    from chonkie import SentenceChunker

    return SentenceChunker(
        tokenizer="character", chunk_size=CHINESE_CHARACTERS, delim=[". ", "! ", "? ", "\n", "。", "！", "？"]
    ).chunk


def make_pysbd_chunker() -> Chunk:
    """Sentences alone: nothing is packed."""
    find_ends = make_pysbd()
    return lambda text: list(find_ends(text, "zh" if "\u4e00" <= text[len(text) // 2] <= "\u9fff" else "en"))


def count_tokens(text: str) -> int:
    """Whole tokens: LangChain goes astray over sums of fractions."""
    return math.ceil(estimate_tokens(text))


def list_tokens(text: str) -> Any:  # noqa: ANN401  of which only the length is asked
    return range(count_tokens(text))


SENTENCE_SPLITTERS = (
    SentenceSplitter(name="pysbd", package="pysbd", make=make_pysbd),
    SentenceSplitter(name="NLTK punkt, English, of LlamaIndex", package="llama_index", make=make_punkt),
    SentenceSplitter(name="regular expression, the Chinese one", package="re", make=make_regular_expression),
)
CHUNKERS = (
    Chunker(name="LangChain Recursive, characters", package="langchain_text_splitters", sample=4000 * KB,
            make=make_langchain_plain),
    Chunker(name="LangChain Recursive, our counter", package="langchain_text_splitters", sample=1000 * KB,
            make=make_langchain),
    Chunker(name="chonkie SentenceChunker, characters", package="chonkie", sample=2000 * KB, make=make_chonkie),
    Chunker(name="LlamaIndex SentenceSplitter, our counter", package="llama_index", sample=4000 * KB,
            make=make_llama_index),
    Chunker(name="LlamaIndex SentenceSplitter as it comes", package="llama_index", sample=4000 * KB,
            make=make_llama_index_as_it_comes, at_least=25.0),
    Chunker(name="pysbd, sentences alone", package="pysbd", sample=60 * KB, make=make_pysbd_chunker),
)  # fmt: skip
