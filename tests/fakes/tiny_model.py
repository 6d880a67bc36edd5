"""Model folders shaped like bge's with random weights, small enough for a test: an embedding model (Bert, CLS pooling,
unit vectors), and rerankers (a Bert, or an XLM-RoBERTa as bge-reranker is, with one label)."""

from __future__ import annotations

import json
from pathlib import Path

SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
LETTERS = "abcdefghijklmnopqrstuvwxyz0123456789"
HAN = "知识库文档问题回答中国天气今天很好我们学习机器模型检索句子的是在了和有人这"
MARKS = ".,!?;:'\"()-/，。！？；：“”"
WORDS = ["the", "of", "is", "what", "knowledge", "base", "question", "answer", "weather", "today", "good", "model"]


SIZES = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 64,
    "initializer_range": 0.3,
}


def write_word_pieces(folder: Path, longest: int) -> int:
    """A Bert's tokenizer; how many tokens it has."""
    tokens = [*SPECIAL, *LETTERS, *(f"##{letter}" for letter in LETTERS), *dict.fromkeys(HAN), *MARKS, *WORDS]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "vocab.txt").write_text("\n".join(tokens) + "\n", encoding="utf-8")
    config = {"tokenizer_class": "BertTokenizer", "do_lower_case": True, "model_max_length": longest}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return len(tokens)


def build_bge_folder(folder: Path, *, longest: int = 64, seed: int = 7) -> Path:
    """Writes the model and returns `folder`. 32 dimensions, inputs up to `longest` tokens."""
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    count = write_word_pieces(folder, longest)
    BertModel(BertConfig(vocab_size=count, max_position_embeddings=longest, **SIZES)).save_pretrained(folder)
    dump = {
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


def build_bert_reranker(folder: Path, *, longest: int = 64, labels: int = 1, seed: int = 7) -> Path:
    """Writes the model and returns `folder`. Question and text together have up to `longest` tokens."""
    import torch
    from transformers import BertConfig, BertForSequenceClassification

    torch.manual_seed(seed)
    count = write_word_pieces(folder, longest)
    config = BertConfig(vocab_size=count, max_position_embeddings=longest, num_labels=labels, **SIZES)
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
    config = XLMRobertaConfig(vocab_size=len(pieces), max_position_embeddings=longest + 2, num_labels=1, **SIZES)
    XLMRobertaForSequenceClassification(config).save_pretrained(folder)
    return folder
