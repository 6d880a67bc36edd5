"""A prompt that whoever keeps a knowledge base writes: checked when it is set, so that no question fails of it."""

from __future__ import annotations

import re

from kb.errors import InvalidInput
from kb.tokens import estimate_tokens
from retrieval.instructions import PLACEHOLDER
from retrieval.prompt import SPECIAL

LONGEST = 8_000  # characters
MOST_TOKENS = 3_000  # by estimate: the chat model reads it with every question
OURS = ("<passage>", "</passage>")  # what passages stand between may be spoken of, as it is written
BRACE = re.compile(r"\{[^{}\n]{0,40}\}|[{}]")
UNPRINTABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029]")
WAY_OUT = "write it in words: the only placeholder is {missing}"


def check_prompt(text: str, language: str) -> str:
    """The text as it is kept: with plain line ends and nothing at its ends. Raises InvalidInput (`bad_prompt`)."""
    text = re.sub("\r\n?", "\n", text).strip()
    if not text:
        raise _refuse(language, "is empty: write a text, or null for ours")
    if len(text) > LONGEST:
        raise _refuse(language, f"has {len(text):,} characters, {LONGEST:,} at most: shorten it")
    if (tokens := int(estimate_tokens(text))) > MOST_TOKENS:
        raise _refuse(language, f"takes about {tokens:,} tokens of every question, {MOST_TOKENS:,} at most: shorten it")
    if unprintable := UNPRINTABLE.search(text):
        raise _refuse(language, f"{_locate(text, unprintable)} is a control character: remove it")
    for mark in SPECIAL.finditer(text):
        if not text.startswith(OURS, mark.start()):
            way_out = f"leave it out; passages stand between {OURS[0]} and {OURS[1]}, written so"
            raise _refuse(language, f"{_locate(text, mark)} begins a mark of a chat template: {way_out}")
    _check_braces(text, language)
    return text


def _check_braces(text: str, language: str) -> None:
    for brace in BRACE.finditer(text):
        if brace.group() == PLACEHOLDER:
            continue
        kind = "is a placeholder that is not known" if len(brace.group()) > 1 else "is a brace"
        raise _refuse(language, f"{_locate(text, brace)} {kind}: {WAY_OUT}")
    found = text.count(PLACEHOLDER)
    if found != 1:
        way_out = "write it once, where the sentence for a question without an answer belongs"
        raise _refuse(language, f"has {PLACEHOLDER} {found} times: {way_out}")


def _locate(text: str, found: re.Match[str]) -> str:
    before = text[: found.start()]
    return f"line {before.count(chr(10)) + 1}, character {found.start() - before.rfind(chr(10))}"


def _refuse(language: str, reason: str) -> InvalidInput:
    return InvalidInput("bad_prompt", f"prompt.{language} {reason}")
