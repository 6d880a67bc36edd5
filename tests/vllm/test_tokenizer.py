"""The tiny Qwen2 reads texts as the real one does: with llama.cpp's own test vectors."""

from __future__ import annotations

from pathlib import Path

from fakes.tiny_qwen import read_samples
from fakes.vllm_server import find_source


def test_the_vocabulary_is_qwens(qwen: Path) -> None:
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(qwen / "tokenizer.json"))
    samples = list(read_samples(find_source()))
    assert len(samples) == 47
    assert [tokenizer.encode(text, add_special_tokens=False).ids for text, _ in samples] == [ids for _, ids in samples]
