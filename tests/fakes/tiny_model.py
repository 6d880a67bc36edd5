"""Model folders shaped like bge's with random weights, small enough for a test: Bert (v1.5) and XLM-RoBERTa (m3),
pooled by the first token, made unit length; and rerankers (a Bert, or an XLM-RoBERTa as bge-reranker is, one label).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
HAN = "知识库文档问题回答中国天气今天很好我们学习机器模型检索句子的是在了和有人这"
MARKS = ".,!?;:'\"()-/，。！？；：“”"
WORDS = ["the", "of", "is", "what", "knowledge", "base", "question", "answer", "weather", "today", "good", "model"]


SHAPE: dict[str, Any] = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}


def build_bge_folder(folder: Path, *, longest: int = 64, seed: int = 7, **shape: int) -> Path:
    """Writes the model and returns `folder`. 32 dimensions, inputs up to `longest` tokens, unless `shape` says else."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    tokens = write_vocabulary(folder, longest)
    BertModel(BertConfig(vocab_size=len(tokens), max_position_embeddings=longest, **SHAPE | shape)).save_pretrained(
        folder
    )
    write_pipeline(folder, longest, dimension=(SHAPE | shape)["hidden_size"])
    return folder


def build_m3_folder(folder: Path, *, longest: int = 96, seed: int = 7) -> Path:
    """As bge-m3 is: XLM-RoBERTa, whose positions begin at 2, a unigram vocabulary, no instruction."""
    import torch
    from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
    from transformers import XLMRobertaConfig, XLMRobertaModel

    torch.manual_seed(seed)
    pieces = [
        "<s>",
        "<pad>",
        "</s>",
        "<unk>",
        "▁",
        *(f"▁{word}" for word in WORDS),
        *LETTERS,
        *dict.fromkeys(HAN),
        *MARKS,
    ]
    ids = {piece: at for at, piece in enumerate(pieces)}
    tokenizer = Tokenizer(models.Unigram([(piece, -float(at) / 50) for piece, at in ids.items()], unk_id=3))
    tokenizer.normalizer = normalizers.NFKC()
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.decoder = decoders.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    config = XLMRobertaConfig(
        vocab_size=len(pieces), max_position_embeddings=longest + 2, type_vocab_size=1, **SHAPE
    )  # fmt: skip
    XLMRobertaModel(config).save_pretrained(folder)
    names = {"bos": "<s>", "cls": "<s>", "eos": "</s>", "sep": "</s>", "pad": "<pad>", "unk": "<unk>"}
    told = {"tokenizer_class": "XLMRobertaTokenizer", "model_max_length": longest}
    write_json(folder / "tokenizer_config.json", told | {f"{name}_token": piece for name, piece in names.items()})
    write_pipeline(folder, longest)
    return folder


def build_bert_reranker(folder: Path, *, longest: int = 64, labels: int = 1, seed: int = 7) -> Path:
    """Writes the model and returns `folder`. Question and text together have up to `longest` tokens."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    count = len(write_vocabulary(folder, longest))
    config = BertConfig(vocab_size=count, max_position_embeddings=longest, num_labels=labels, **SHAPE)
    BertForSequenceClassification(config).save_pretrained(folder)
    return folder


def build_xlm_reranker(folder: Path, *, longest: int = 64, seed: int = 7) -> Path:
    """The same as an XLM-RoBERTa, the kind that bge-reranker is: other padding, no token types, positions from 2."""
    import torch
    from tokenizers import Tokenizer
    from tokenizers.models import Unigram
    from tokenizers.pre_tokenizers import Metaspace
    from tokenizers.processors import TemplateProcessing
    from transformers import PreTrainedTokenizerFast, XLMRobertaConfig, XLMRobertaForSequenceClassification

    torch.manual_seed(seed)
    special = ["<s>", "<pad>", "</s>", "<unk>", "<mask>"]
    pieces = [*special, "▁", *LETTERS, *dict.fromkeys(HAN), *MARKS, *(f"▁{word}" for word in WORDS)]
    tokenizer = Tokenizer(Unigram([(piece, -float(place)) for place, piece in enumerate(pieces)], unk_id=3))
    tokenizer.pre_tokenizer = Metaspace()
    tokenizer.post_processor = TemplateProcessing(
        single="<s> $A </s>", pair="<s> $A </s> </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", cls_token="<s>", sep_token="</s>",
        pad_token="<pad>", unk_token="<unk>", mask_token="<mask>", model_max_length=longest,
        model_input_names=["input_ids", "attention_mask"],
    ).save_pretrained(folder)  # fmt: skip
    config = XLMRobertaConfig(vocab_size=len(pieces), max_position_embeddings=longest + 2, num_labels=1, **SHAPE)
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder


def write_vocabulary(folder: Path, longest: int) -> list[str]:
    tokens = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *dict.fromkeys(HAN), *MARKS, *WORDS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    told = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": longest}
    write_json(folder / "tokenizer_config.json", told)
    return tokens


def write_pipeline(folder: Path, longest: int, *, dimension: int = 32) -> None:
    """What makes sentence-transformers pool by the first token and normalise, in the words of bge's own folders."""
    write_json(folder / "sentence_bert_config.json", {"max_seq_length": longest, "do_lower_case": True})
    write_json(folder / "config_sentence_transformers.json", {"__version__": {"sentence_transformers": "2.2.2"}})
    kinds = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    modules = [
        {"idx": at, "name": str(at), "path": path, "type": f"sentence_transformers.models.{kind}"}
        for at, (path, kind) in enumerate(kinds)
    ]
    write_json(folder / "modules.json", modules)
    for place, _ in kinds[1:]:
        (folder / place).mkdir(exist_ok=True)
    write_pooling(folder, dimension=dimension)


def write_pooling(folder: Path, *, cls: bool = True, dimension: int = 32) -> None:
    told = {"pooling_mode_cls_token": cls, "pooling_mode_mean_tokens": not cls}
    write_json(folder / "1_Pooling" / "config.json", {"word_embedding_dimension": dimension, **told})


def write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
