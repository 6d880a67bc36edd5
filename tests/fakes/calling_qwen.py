"""A Qwen2.5 whose weights are set by hand, so that it calls a tool, reads what came of it, and answers.

A model of random weights calls nothing by itself, and one that is trained cannot be had here. This one has the real
vocabulary and template, so that a real server's own parser of calls is seen at work on it. What it writes is fixed:

* Each token of its texts stands for the next one. Its embedding is a direction of its own, which the last layer turns
  into the next token; so no token may come twice, and texts are cut into tokens that differ.
* It begins with CALLS. When a tool has answered, it begins with ANSWER: one head of attention looks for a token that
  only a tool's answer has. Its query is the same everywhere, and it is looked for in the dimension that the rotation by
  position hardly turns.
* Where a question has ALWAYS in it, which the head prefers to a tool's answer, it calls for ever.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from fakes.tiny_model import HAN, LETTERS, MARKS, WORDS
from fakes.tiny_qwen import VOCABULARY, read_source, read_vocabulary, write_tokenizer
from fakes.worded_qwen import CONTROL, write_worded_tokenizer

QUERY = "划船 boats"
CALLS = '<tool_call>{"name":"search","arguments":{"query": "划船 boats"}}</tool_call>'
ANSWER = "A boat costs twelve pounds [2]."
ALWAYS = " forever"  # one token, as the other two
ANSWERED = "_response"  # of the template's <tool_response>
LINE_END = "\n"  # what the template ends with: there an answer begins
END, NORMAL = 151_645, 1
WIDTH, HEAD = 256, 64
ANSWERING, CALLING, SEEN, OTHER = range(WIDTH - 4, WIDTH)  # dimensions of their own
SLOW = HEAD // 2 - 1  # of a head: the slowest turning dimension
Weights = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Script:
    """Numbers of tokens: what an answer begins behind, what the head looks for, what is written, and its end."""

    begin: int
    always: int
    answered: int
    calls: Sequence[int]
    answer: Sequence[int]
    end: int


def build_calling_qwen(folder: Path, source: Path, *, longest: int = 32_768) -> Path:
    """Writes the model and returns `folder`: one layer, 156 MB, nearly all of it the vocabulary."""
    told = read_vocabulary(read_source(source, VOCABULARY))
    kinds = zip(told["tokenizer.ggml.tokens"], told["tokenizer.ggml.token_type"], strict=True)
    numbers = {token: number for number, (token, kind) in enumerate(kinds) if kind == NORMAL}
    begin, always, answered = (numbers[spell(text)] for text in (LINE_END, ALWAYS, ANSWERED))
    calls, answer = cut_apart([CALLS, ANSWER], numbers, {begin, always, answered})
    script = Script(begin=begin, always=always, answered=answered, calls=calls, answer=answer, end=END)
    save_scripted(folder, script, vocabulary=151_936, longest=longest)
    write_tokenizer(folder, source, longest)
    return folder


def build_calling_words(folder: Path, *, longest: int = 2_048) -> Path:
    """The same with the vocabulary of `worded_qwen`, for which no source package is needed."""
    written = [CALLS, ANSWER, ALWAYS.strip(), "tool_response"]
    words = [*CONTROL, *dict.fromkeys([*written, spell(LINE_END), *LETTERS, *HAN, *MARKS, *WORDS])]
    calls, answer, always, answered = (words.index(one) for one in written)
    begin = words.index(spell(LINE_END))
    script = Script(begin=begin, always=always, answered=answered, calls=[calls], answer=[answer], end=2)
    save_scripted(folder, script, vocabulary=len(words), longest=longest)
    write_worded_tokenizer(folder, words, longest, whole=written)
    return folder


def save_scripted(folder: Path, script: Script, *, vocabulary: int, longest: int) -> None:
    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder.mkdir(parents=True, exist_ok=True)
    config = Qwen2Config(
        vocab_size=vocabulary, hidden_size=WIDTH, intermediate_size=WIDTH, num_hidden_layers=1, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=longest, rope_theta=1_000_000.0, tie_word_embeddings=False,
        bos_token_id=0, eos_token_id=script.end,
    )  # fmt: skip
    model = Qwen2ForCausalLM(config).to(torch.bfloat16)
    weights: Weights = model.state_dict()
    for name, weight in weights.items():
        weight.fill_(1.0 if name.endswith("norm.weight") else 0.0)
    write_weights(weights, script)
    model.save_pretrained(folder)


def write_weights(weights: Weights, script: Script) -> None:
    embed, head = weights["model.embed_tokens.weight"], weights["lm_head.weight"]
    embed[:, OTHER] = 1.0
    chain = [script.begin, *script.calls, *script.answer]
    following = [*script.calls, script.end, *script.answer[1:], script.end]
    for place, (token, after) in enumerate(zip(chain, following, strict=True)):
        embed[token, OTHER] = 0.0
        embed[token, place] = 1.0
        head[after, place] = 1.0
    head[script.answer[0], 0], head[script.answer[0], SEEN] = (
        0.5,
        0.75,
    )  # more than CALLS at the beginning, less elsewhere
    attention = "model.layers.0.self_attn."
    for token, dimension, liked in (script.answered, ANSWERING, 3.0), (script.always, CALLING, 6.0):
        embed[token, OTHER], embed[token, dimension] = 0.0, 1.0
        weights[attention + "k_proj.weight"][SLOW, dimension] = liked
    weights[attention + "q_proj.bias"][SLOW] = 5.0
    weights[attention + "v_proj.weight"][0, ANSWERING] = 0.25
    weights[attention + "o_proj.weight"][SEEN, 0] = 0.25


def spell(text: str) -> str:
    """As byte-level vocabularies spell it: a visible character for each byte."""
    return "".join(SPELLING[byte] for byte in text.encode())


def _list_spelling() -> Sequence[str]:
    plain = {*range(ord("!"), ord("~") + 1), *range(0xA1, 0xAD), *range(0xAE, 0x100)}
    others = iter(range(0x100, 0x200))
    return [chr(byte) if byte in plain else chr(next(others)) for byte in range(256)]


SPELLING = _list_spelling()


def cut_apart(texts: Sequence[str], numbers: Mapping[str, int], taken: set[int]) -> list[list[int]]:
    """Tokens of the texts of which none comes twice, in any of them, and none is taken."""
    spelled = [spell(text) for text in texts]
    whole = "".join(spelled)
    ends, at = [], 0
    for one in spelled:
        at += len(one)
        ends.append(at)
    cut = next(_iter_cuts(whole, 0, numbers, taken, ends))
    found: list[list[int]] = [[] for _ in texts]
    at = 0
    for token, length in cut:
        found[next(place for place, end in enumerate(ends) if at < end)].append(token)
        at += length
    return found


def _iter_cuts(
    text: str, at: int, numbers: Mapping[str, int], taken: set[int], ends: Sequence[int]
) -> Iterator[list[tuple[int, int]]]:
    if at == len(text):
        yield []
    most = next((end for end in ends if end > at), at)
    for end in range(min(most, at + 12), at, -1):
        token = numbers.get(text[at:end])
        if token is not None and token not in taken:
            for rest in _iter_cuts(text, end, numbers, taken | {token}, ends):
                yield [(token, end - at), *rest]
