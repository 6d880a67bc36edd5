"""A Qwen2 of random weights that writes words: a vocabulary of its own, so that nothing has to be fetched.

`tests/fakes/tiny_qwen.py` has the real vocabulary, for which a source package is needed.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from fakes.tiny_model import HAN, LETTERS, MARKS, WORDS

CONTROL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<unk>"]
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{{ message['content'] }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def build_worded_qwen(folder: Path, *, longest: int = 2_048, seed: int = 7) -> Path:
    """Writes the model and returns `folder`. It hardly ever ends an answer by itself."""
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    words = [*CONTROL, *dict.fromkeys([*LETTERS, *HAN, *MARKS, *WORDS])]
    folder.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(seed)
    config = Qwen2Config(
        vocab_size=len(words), hidden_size=256, intermediate_size=256, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=longest, tie_word_embeddings=True, initializer_range=0.05,
        bos_token_id=0, eos_token_id=2,
    )  # fmt: skip
    Qwen2ForCausalLM(config).save_pretrained(folder)
    write_worded_tokenizer(folder, words, longest)
    return folder


def write_worded_tokenizer(folder: Path, words: Sequence[str], longest: int, whole: Sequence[str] = ()) -> None:
    """One token a word. transformers reads it as a Qwen2's, which cuts all but the marks and `whole` into letters."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.WordLevel({word: number for number, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.add_special_tokens([AddedToken(word, special=True, normalized=False) for word in CONTROL])
    tokenizer.add_tokens([AddedToken(word, special=False, normalized=False) for word in whole])
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "eos_token": "<|im_end|>",
        "pad_token": "<|endoftext|>",
        "unk_token": "<unk>",
        "model_max_length": longest,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, ensure_ascii=False), encoding="utf-8")
