"""A Qwen2.5 with random weights, small enough for a test: the real vocabulary, merges and chat template.

They come out of the source package of `llama-cpp-python`, which holds them for its own tests. What the model writes is
noise, but every server takes it for a Qwen2.5 and counts its tokens as it would.
"""

from __future__ import annotations

import json
import struct
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

VOCABULARY = "vendor/llama.cpp/models/ggml-vocab-qwen2.gguf"
TEMPLATE = "vendor/llama.cpp/models/templates/Qwen-Qwen2.5-7B-Instruct.jinja"
# How Qwen2 cuts a text before its merges are applied.
CUTS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
SCALARS = {0: "<B", 1: "<b", 2: "<H", 3: "<h", 4: "<I", 5: "<i", 6: "<f", 7: "<?", 10: "<Q", 11: "<q", 12: "<d"}
STRING, ARRAY = 8, 9
CONTROL = 3  # the type of a token that no text spells


def read_source(source: Path, name: str) -> bytes:
    """A file of the source package."""
    with tarfile.open(source) as archive:
        member = next(member for member in archive if member.name.partition("/")[2] == name)
        content = archive.extractfile(member)
        assert content is not None
        return content.read()


def read_samples(source: Path) -> Iterator[tuple[str, list[int]]]:
    """Texts and their tokens, with which llama.cpp tests its own reading of this vocabulary."""
    texts = read_source(source, f"{VOCABULARY}.inp").decode().split("\n__ggml_vocab_test__\n")
    lines = read_source(source, f"{VOCABULARY}.out").decode().split("\n")
    return ((text, [int(token) for token in line.split()]) for text, line in zip(texts, lines, strict=False))


def build_qwen_folder(folder: Path, source: Path, *, longest: int = 32_768, seed: int = 7) -> Path:
    """Writes the model and returns `folder`: 2 layers of 256, 78 MB, nearly all of it the vocabulary."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=151_936, hidden_size=256, intermediate_size=512, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=longest, rope_theta=1_000_000.0, tie_word_embeddings=True,
        bos_token_id=151_643, eos_token_id=151_645, initializer_range=0.05,
    )  # fmt: skip
    Qwen2ForCausalLM(config).to(torch.bfloat16).save_pretrained(folder)
    write_tokenizer(folder, source, longest)
    return folder


def write_tokenizer(folder: Path, source: Path, longest: int) -> None:
    from tokenizers import AddedToken, Regex, Tokenizer, decoders, normalizers, pre_tokenizers
    from tokenizers.models import BPE

    told = read_vocabulary(read_source(source, VOCABULARY))
    tokens, types = told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"]
    merges = [tuple(pair.split(" ")) for pair in told["tokenizer.ggml.merges"]]
    control = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    tokenizer = Tokenizer(BPE({token: number for number, token in enumerate(tokens)}, merges))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(CUTS), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
    ])  # fmt: skip
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in control])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "Qwen2Tokenizer",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "model_max_length": longest,
        "chat_template": read_source(source, TEMPLATE).decode(),
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
    (folder / "generation_config.json").write_text(json.dumps({"eos_token_id": [151_645]}), encoding="utf-8")


def read_vocabulary(content: bytes) -> dict[str, Any]:
    """The key-value pairs at the head of a GGUF file."""
    import io

    stream = io.BytesIO(content)
    assert stream.read(4) == b"GGUF"
    _, _, pairs = struct.unpack("<IQQ", stream.read(20))
    return {_read_value(stream, STRING): _read_value(stream, _unpack(stream, "<I")) for _ in range(pairs)}


def _read_value(stream: BinaryIO, kind: int) -> Any:
    if kind == STRING:
        return stream.read(_unpack(stream, "<Q")).decode("utf-8")
    if kind == ARRAY:
        kind, size = _unpack(stream, "<I"), _unpack(stream, "<Q")
        return [_read_value(stream, kind) for _ in range(size)]
    return _unpack(stream, SCALARS[kind])


def _unpack(stream: BinaryIO, form: str) -> Any:
    return struct.unpack(form, stream.read(struct.calcsize(form)))[0]
