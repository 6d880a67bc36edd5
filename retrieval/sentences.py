"""Sentences of a passage, for quoting: spans that keep every character, so that a quote is verbatim text.

The splitter cuts documents for embedding and lives elsewhere; this cut is for reading. It never ends a sentence inside
a number, after an initial or a common abbreviation, or at a line break that only wraps a long line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

CLOSERS = "\"'”’」』）)】\\]》"
END = re.compile(
    rf"(?P<han>[。！？]+[{CLOSERS}]*|…{{2,}}[{CLOSERS}]*)"
    rf"|(?P<latin>[.!?]+[{CLOSERS}]*)(?=\s|$|[\u3400-\u9fff])"
    r"|(?P<line>\s*\n\s*)"
)
ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Capt|Sen|Rep|Gov|Rev|No|no|Nos|"
    r"Vol|vol|Fig|fig|pp?|ed|eds|cf|etc|vs|al|approx|ca|c|Mt|Ft|Ave|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)$"
)
OPENS_SENTENCE = re.compile(r"\s*(?:[\"'“‘(\[«]*[A-Z0-9\u3400-\u9fff]|$|[-*•#|])")
ITEM_MARK = re.compile(r"[-*•#|>]|\(?\d{1,3}[.)、]|[（(]?[一二三四五六七八九十]{1,3}[、）)]")
RULE = re.compile(r"[-|:=\s*_]+")
STATEMENT = re.compile(rf"[。！？!?.…：:；;|][{CLOSERS}]*$|^[-*•]|\d[\d.,]*\D|→")
WRAPPED_LINE = 55  # characters: a line this long that ends without a mark goes on in the next one
LONGEST = 600  # characters; a longer "sentence" is a table or a list and is cut at its lines


@dataclass(frozen=True, kw_only=True, slots=True)
class Span:
    """`[start, end)` within the passage, without white space at either end."""

    start: int
    end: int


def cut_sentences(text: str) -> list[Span]:
    """The sentences of `text` in order; no two overlap, and only white space lies between them."""
    spans: list[Span] = []
    start = 0
    for end in _iter_ends(text):
        spans += _trim(text, start, end)
        start = end
    spans += _trim(text, start, len(text))
    return spans


def holds_statement(sentence: str) -> bool:
    """Whether it says something by itself: a whole sentence, a row or item, or a line with a figure; no heading."""
    if sentence.startswith("#") or RULE.fullmatch(sentence):
        return False
    return bool(STATEMENT.search(sentence)) or len(sentence) > WRAPPED_LINE


def _iter_ends(text: str) -> Iterator[int]:
    start = 0
    for match in END.finditer(text):
        if match["latin"] and not _ends_sentence(text, start, match):
            continue
        if match["line"] and match.start() - start < LONGEST and _wraps(text, match):
            continue
        start = match.end()
        yield start


def _ends_sentence(text: str, start: int, match: re.Match[str]) -> bool:
    mark = match["latin"]
    if not OPENS_SENTENCE.match(text, match.end()):
        return False
    if mark != ".":
        return True
    before = text[max(start, match.start() - 24) : match.start()]
    return not ABBREVIATION.search(before)


def _wraps(text: str, match: re.Match[str]) -> bool:
    """Whether this line break stands inside a sentence: one break, no list item behind it, and the line is long or
    the next one begins in lower case."""
    if match.group().count("\n") > 1 or match.end() == len(text) or ITEM_MARK.match(text, match.end()):
        return False
    line = text[text.rfind("\n", 0, match.start()) + 1 : match.start()]
    if not line or line[0] in "#|" or line[-1] in "。！？：:.!?":
        return False
    return len(line) >= WRAPPED_LINE or text[match.end()].islower()


def _trim(text: str, start: int, end: int) -> Iterator[Span]:
    piece = text[start:end]
    lead = len(piece) - len(piece.lstrip())
    size = len(piece.strip())
    if size:
        yield Span(start=start + lead, end=start + lead + size)
