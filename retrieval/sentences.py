"""Sentences of a passage, for quoting: spans that keep every character, so that a quote is verbatim text.

The splitter cuts documents for embedding and lives elsewhere; this cut is for reading. It never ends a sentence inside
a number, after an initial or a common abbreviation, or at a line break that only wraps a long line.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from kb.tokens import HAN

CLOSERS = "\"'”’」』）)】\\]》"
END = re.compile(
    rf"(?P<han>[。！？]+[{CLOSERS}]*|…{{2,}}[{CLOSERS}]*)"
    rf"|(?P<latin>[.!?]+[{CLOSERS}]*)(?=\s|$|[\u3400-\u9fff])"
    r"|(?P<line>(?<!\s)\s*\n\s*)"  # from the first of a run: tried from each, it would take the run's square
)
ABBREVIATION = re.compile(
    r"(?:^|[\s(\[\"'“])(?:[A-Z]|(?:[A-Za-z]\.)+[A-Za-z]|Mr|Mrs|Ms|Dr|Prof|St|Sr|Jr|Gen|Col|Lt|Capt|Sen|Rep|Gov|Rev|No|no|Nos|"
    r"Vol|vol|Fig|fig|pp?|ed|eds|cf|etc|vs|al|approx|ca|c|Mt|Ft|Ave|Inc|Ltd|Co|Corp|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sept?|Oct|Nov|Dec)$"
)
OPENS_SENTENCE = re.compile(r"\s*(?:[\"'“‘(\[«]*[A-Z0-9\u3400-\u9fff]|$|[-*•#|])")
ITEM_MARK = re.compile(r"[-*•#|>]|\(?\d{1,3}[.)、]|[（(]?[一二三四五六七八九十]{1,3}[、）)]")
RULE = re.compile(r"[-|:=\s*_]+")
END_MARK = re.compile(rf"[。！？!?.…；;：:][{CLOSERS}]*$")
FIGURE = re.compile(r"\d[\d.,]*\D|→")
NUMBERING = re.compile(r"^(?:\d{1,3}(?:\.\d{1,3})*[.、)）]?|[A-Z]\.)\s+")
WRAPPED_LINE = 55  # characters: a line this long that ends without a mark goes on in the next one
HOLDS_TOGETHER = re.compile(
    r"\b(?:I|you|he|she|it|we|they|this|that|there|who|nobody|is|are|was|were|be|has|have|had|do|does|did|can|could|will|"
    r"would|must|may|not)\b|(?<=\s)(?:the|a|an)\s",
    re.IGNORECASE,
)
FEW_WORDS = 3  # with a full stop behind them and none of the words that hold a sentence together: still a title
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
    """Whether it says something by itself: a whole sentence, a row, an item or a long line; no heading or byline."""
    if sentence.startswith("#") or RULE.fullmatch(sentence):
        return False
    if is_row(sentence) or sentence.startswith(("-", "*", "•")) or len(sentence) > WRAPPED_LINE:
        return True
    words = sentence.split()
    if HAN.search(sentence) or len(words) > FEW_WORDS:
        return bool(END_MARK.search(sentence))
    return bool(END_MARK.search(sentence)) and bool(HOLDS_TOGETHER.search(sentence))


def holds_figure(sentence: str) -> bool:
    """Whether a line that is no sentence may be there for a figure: "Opens at 17:00", but not "5 Error codes"."""
    return bool(FIGURE.search(NUMBERING.sub("", sentence))) and not sentence.startswith("#")


def is_row(sentence: str) -> bool:
    """A row of a table; the rule under its head is one as well."""
    return sentence.startswith("|") or " | " in sentence


def list_cells(row: str) -> list[str]:
    """The cells of a row, without bars and the white space around them."""
    return [cell.strip() for cell in row.strip().removeprefix("|").removesuffix("|").split("|")]


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
