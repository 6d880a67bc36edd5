"""The answer without a chat model: the sentences of the passages that best fit the question, quoted word for word."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from retrieval.answer import NOTHING_FOUND
from retrieval.citations import cite_span
from retrieval.passages import Passage
from retrieval.question import AnswerKind, Language, find_kind, holds_kind
from retrieval.sentences import Span, holds_figure, holds_statement, is_row, list_cells
from retrieval.support import Claim, Sentence, list_sentences, measure_cover, score_sentences, weigh_claim
from retrieval.writing import Draft, PassagesEvent, TokenEvent, WriterEvent, WritingTask

MOST_SENTENCES = 3
WORTH_QUOTING = 0.35  # of the best sentence's score
# Of the question's weight, in one sentence, its neighbours and what they stand under. On the first five passages of a
# plain BM25 without titles, below this lie 0 to 3 % of the questions asked of their own corpus (translations included)
# and 42 to 61 % of those asked of a foreign one.
LEAST_COVER = 0.27
KIND_BONUS = 1.35  # a sentence with a number in it, where a number is asked for
CARRIED = 0.5  # of the sentence before: "It was built in 1907." says what "it" is one sentence earlier
FRAGMENT = 0.5  # of the score of a heading or a lone figure
LONE = 0.3  # of the best score: where the best sentence has less, a heading or a lone figure is quoted after all
ROW_FOR_REASON = 0.5  # of the score of a table's row where a reason is asked for
RANK_DECAY = 0.08  # each passage further down costs its sentences this share
LINE_END = re.compile(r"\s*\n\s*")
HEADLINES: dict[Language, str] = {
    "zh": "以下是资料原文（未配置对话模型）：",
    "en": "Quoted from your documents (no chat model configured):",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """`text` is `passages[place].text[start:end]`; `shown` is how the answer writes it: on one line, and a table's row
    with the names of its columns."""

    place: int
    start: int
    end: int
    text: str
    shown: str


class ExtractiveWriter:
    """An AnswerWriter without a model: quotes, and says so."""

    name = "extractive"
    searches = False
    takes_schemas = False

    async def write(self, task: WritingTask) -> AsyncGenerator[WriterEvent, None]:
        yield PassagesEvent(passages=task.passages)
        quotes = await asyncio.to_thread(choose_quotes, task.question, task.passages, judged=task.judged)
        if not quotes:
            yield TokenEvent(text=NOTHING_FOUND[task.language])
            yield Draft(text=NOTHING_FOUND[task.language], refused=True)
            return
        text = write_quotes(quotes, task.language)
        for line in text.splitlines(keepends=True):
            yield TokenEvent(text=line)
        citations = [
            cite_span(number, task.passages[quote.place], Span(start=quote.start, end=quote.end))
            for number, quote in enumerate(quotes, start=1)
        ]
        yield Draft(text=text, citations=citations, only_quotes=True)


def choose_quotes(question: str, passages: Sequence[Passage], *, judged: bool = False) -> list[Quote]:
    """Up to three sentences in reading order; none when the passages share next to nothing with the question, or, where
    they have been judged to bear on it, nothing at all."""
    sentences = list_sentences(passages)
    claim = weigh_claim(question, sentences)
    cover = measure_cover(claim, sentences)
    if cover == 0 or (cover < LEAST_COVER and not judged):
        return []
    kind = find_kind(question)
    speaks = _find_speaking(sentences, kind)
    scores = _rate_sentences(claim, kind, sentences, speaks)
    best = max(scores)
    ranked = [i for i in range(len(sentences)) if speaks[i]]
    best_speaking = max((scores[i] for i in ranked), default=0.0)
    if best_speaking >= LONE * best:
        best = best_speaking
    else:
        ranked = list(range(len(sentences)))
    ranked.sort(key=lambda i: (-scores[i], i))
    chosen: list[int] = []
    seen: set[str] = set()
    for i in ranked:
        if scores[i] < WORTH_QUOTING * best or len(chosen) == MOST_SENTENCES:
            break
        if sentences[i].text not in seen:  # two documents that say the same word for word are quoted once
            seen.add(sentences[i].text)
            chosen.append(i)
    return [_make_quote(sentences[i]) for i in sorted(chosen)]


def _find_speaking(sentences: Sequence[Sentence], kind: AnswerKind) -> list[bool]:
    """Which ones can be an answer: a sentence, row or item, or a line with a figure where a figure may be asked for;
    no heading, and not the names of a table's columns."""
    figures = kind in (AnswerKind.NUMBER, AnswerKind.TIME, AnswerKind.OTHER)
    heads = {(sentence.place, sentence.head) for sentence in sentences if sentence.head}
    return [
        (holds_statement(sentence.text) or (figures and holds_figure(sentence.text)))
        and (sentence.place, sentence.text) not in heads
        for sentence in sentences
    ]


def _rate_sentences(
    claim: Claim, kind: AnswerKind, sentences: Sequence[Sentence], speaks: Sequence[bool]
) -> list[float]:
    own = score_sentences(claim, sentences)
    holds = [holds_kind(sentence.text, kind) for sentence in sentences]
    rated = []
    for i, sentence in enumerate(sentences):
        follows = i > 0 and sentences[i - 1].place == sentence.place
        # what a heading says is context already
        score = own[i] + (CARRIED * own[i - 1] if follows and holds_statement(sentences[i - 1].text) else 0.0)
        # "The cause is known. The wrong grease was used.": a reason may be announced one sentence earlier
        if holds[i] or (kind is AnswerKind.REASON and follows and holds[i - 1]):
            score *= KIND_BONUS
        if not speaks[i]:
            score *= FRAGMENT
        if kind is AnswerKind.REASON and is_row(sentence.text):
            score *= ROW_FOR_REASON
        rated.append(score / (1 + RANK_DECAY * sentence.place))
    return rated


def _make_quote(sentence: Sentence) -> Quote:
    return Quote(
        place=sentence.place, start=sentence.start, end=sentence.end, text=sentence.text, shown=_show(sentence)
    )


def _show(sentence: Sentence) -> str:
    """A row becomes "column: cell" only where the table itself names the columns, one a cell; no word is added."""
    text = LINE_END.sub(" ", sentence.text)
    if not text.startswith("|"):
        return text
    cells, names = list_cells(text), list_cells(sentence.head or "")
    if len(cells) != len(names) or not all(names):
        return " | ".join(cells)
    return "; ".join(f"{name}: {cell}" for name, cell in zip(names, cells, strict=True) if cell)


def write_quotes(quotes: Sequence[Quote], language: Language) -> str:
    """The answer's text: a line that says that it quotes, then one line a quote, numbered from 1."""
    lines = [f"{quote.shown} [{number}]" for number, quote in enumerate(quotes, start=1)]
    return "\n".join([HEADLINES[language], "", *lines])
