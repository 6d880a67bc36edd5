"""Long texts of each language, put together from the evaluation data."""

from __future__ import annotations

from pathlib import Path

from borders import read_corpus, read_text

# language → files, read in order and again from the first until the text is long enough
SOURCES = {
    "zh": ("docs/txt/zh-sanguo-long.txt", "scale/news_zh.corpus.jsonl.gz"),
    "en": ("docs/txt/en-lost-world-long.md", "qa/squad_en.corpus.jsonl.gz"),
}
NOVEL = "docs/txt/zh-sanguo-long.txt"


def read_novel(data: Path) -> str:
    return read_text(data / NOVEL)


def build_long_text(data: Path, lang: str, size: int) -> str:
    """`size` bytes of UTF-8 or a little less. What the data holds comes again where it is shorter."""
    texts = [text for name in SOURCES[lang] for text in read_texts(data / name)]
    whole = "\n\n".join(texts) + "\n\n"
    again = -(-size // len(whole.encode()))
    return (whole * again).encode()[:size].decode(errors="ignore")


def read_texts(file: Path) -> list[str]:
    return list(read_corpus(file).values()) if file.name.endswith(".gz") else [read_text(file)]
