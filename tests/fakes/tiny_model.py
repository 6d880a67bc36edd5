"""A model folder shaped like bge's (Bert, CLS pooling, unit vectors) with random weights, small enough for a test."""

from __future__ import annotations

import json
from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
HAN = "知识库文档问题回答中国天气今天很好我们学习机器模型检索句子的是在了和有人这"
MARKS = ".,!?;:'\"()-/，。！？；：“”"
WORDS = ["the", "of", "is", "what", "knowledge", "base", "question", "answer", "weather", "today", "good", "model"]


def build_bge_folder(folder: Path, *, longest: int = 64, seed: int = 7) -> Path:
    """Writes the model and returns `folder`. 32 dimensions, inputs up to `longest` tokens."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    tokens = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *dict.fromkeys(HAN), *MARKS, *WORDS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config = BertConfig(
        vocab_size=len(tokens), hidden_size=32, num_hidden_layers=2, num_attention_heads=4, intermediate_size=64,
        max_position_embeddings=longest, initializer_range=0.3,
    )  # fmt: skip
    BertModel(config).save_pretrained(folder)
    dump = {
        "tokenizer_config.json": {
            "tokenizer_class": "BertTokenizer",
            "do_lower_case": True,
            "model_max_length": longest,
        },
        "sentence_bert_config.json": {"max_seq_length": longest, "do_lower_case": True},
        "config_sentence_transformers.json": {"__version__": {"sentence_transformers": "2.2.2"}},
        "modules.json": [
            {"idx": 0, "name": "0", "path": "", "type": "sentence_transformers.models.Transformer"},
            {"idx": 1, "name": "1", "path": "1_Pooling", "type": "sentence_transformers.models.Pooling"},
            {"idx": 2, "name": "2", "path": "2_Normalize", "type": "sentence_transformers.models.Normalize"},
        ],
    }
    for name, content in dump.items():
        (folder / name).write_text(json.dumps(content), encoding="utf-8")
    (folder / "1_Pooling").mkdir(exist_ok=True)
    (folder / "1_Pooling" / "config.json").write_text(
        json.dumps({"word_embedding_dimension": 32, "pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False}),
        encoding="utf-8",
    )
    (folder / "2_Normalize").mkdir(exist_ok=True)
    return folder
