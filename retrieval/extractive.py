"""The answer without a chat model: the sentences of the passages that best fit the question, quoted word for word."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass

from retrieval.answer import NOTHING_FOUND, Draft, WritingTask
from retrieval.citations import cite_span
from retrieval.question import AnswerKind, Language, find_kind, holds_kind
from retrieval.search import Passage
from retrieval.sentences import Span, holds_statement
from retrieval.support import Claim, Sentence, list_sentences, measure_cover, score_sentences, weigh_claim

MOST_SENTENCES = 3
WORTH_QUOTING = 0.35  # of the best sentence's score
# Of the question's weight, in one sentence, the one before it and what they stand under. On the first five passages of
# a plain BM25 without titles, below this lie 1 to 4 % of the questions asked of their own corpus (10 % where they are
# translations) and 39 % (English) to 69 % (Chinese) of those asked of a foreign one.
LEAST_COVER = 0.25
KIND_BONUS = 1.35  # a sentence with a number in it, where a number is asked for
CARRIED = 0.5  # of the sentence before: "It was built in 1907." says what "it" is one sentence earlier
HEADING = 0.5  # of the score of what only looks like a sentence; the one behind it gets its share carried on
RANK_DECAY = 0.08  # each passage further down costs its sentences this share
HEADLINES: dict[Language, str] = {
    "zh": "以下是资料原文（未配置对话模型）：",
    "en": "Quoted from your documents (no chat model configured):",
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Quote:
    """`text` is `passages[place].text[start:end]`."""

    place: int
    start: int
    end: int
    text: str


class ExtractiveWriter:
    """An AnswerWriter without a model: quotes, and says so."""

    name = "extractive"

    async def choose_passages(self, task: WritingTask) -> Sequence[Passage]:
        return task.passages

    async def write(self, task: WritingTask) -> AsyncGenerator[str | Draft, None]:
        quotes = await asyncio.to_thread(choose_quotes, task.question, task.passages)
        if not quotes:
            yield NOTHING_FOUND[task.language]
            yield Draft(text=NOTHING_FOUND[task.language], refused=True)
            return
        text = write_quotes(quotes, task.language)
        for line in text.splitlines(keepends=True):
            yield line
        citations = [
            cite_span(number, task.passages[quote.place], Span(start=quote.start, end=quote.end))
            for number, quote in enumerate(quotes, start=1)
        ]
        yield Draft(text=text, citations=citations)


def choose_quotes(question: str, passages: Sequence[Passage]) -> list[Quote]:
    """Up to three sentences in reading order; none when the passages share next to nothing with the question."""
    sentences = list_sentences(passages)
    claim = weigh_claim(question, sentences)
    if measure_cover(claim, sentences) < LEAST_COVER:
        return []
    scores = _rate_sentences(claim, find_kind(question), sentences)
    best = max(scores)
    ranked = sorted(range(len(sentences)), key=lambda i: (-scores[i], i))
    chosen: list[int] = []
    seen: set[str] = set()
    for i in ranked:
        if scores[i] < WORTH_QUOTING * best or len(chosen) == MOST_SENTENCES:
            break
        if sentences[i].text not in seen:  # two documents that say the same word for word are quoted once
            seen.add(sentences[i].text)
            chosen.append(i)
    return [_make_quote(sentences[i]) for i in sorted(chosen)]


def _rate_sentences(claim: Claim, kind: AnswerKind, sentences: Sequence[Sentence]) -> list[float]:
    own = score_sentences(claim, sentences)
    rated = []
    for i, sentence in enumerate(sentences):
        follows = i > 0 and sentences[i - 1].place == sentence.place
        score = own[i] + (CARRIED * own[i - 1] if follows else 0.0)
        if kind is not AnswerKind.OTHER and holds_kind(sentence.text, kind):
            score *= KIND_BONUS
        if not holds_statement(sentence.text):
            score *= HEADING
        rated.append(score / (1 + RANK_DECAY * sentence.place))
    return rated


def _make_quote(sentence: Sentence) -> Quote:
    return Quote(place=sentence.place, start=sentence.start, end=sentence.end, text=sentence.text)


def write_quotes(quotes: Sequence[Quote], language: Language) -> str:
    """The answer's text: a line that says that it quotes, then one line a quote, numbered from 1."""
    lines = [f"{quote.text} [{number}]" for number, quote in enumerate(quotes, start=1)]
    return "\n".join([HEADLINES[language], "", *lines])
