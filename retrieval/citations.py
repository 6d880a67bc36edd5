"""Citations: from the `[n]` in an answer to verbatim quotes with their place in the document.

A marker that names no passage is removed and counted. What is left is renumbered in order of appearance. The quote of a
citation is the sentence of its passage that best supports the sentences that cite it; it is always cut out of the
passage, never out of the answer.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Protocol

from kb.types import Page
from retrieval.numbers import list_numbers
from retrieval.passages import Passage
from retrieval.sentences import Span, cut_sentences
from retrieval.support import Sentence, list_sentences, score_sentences, weigh_claim

# `[0-9]` is a pattern, no range of passages. What is written of a marker has an end, so that a stream can wait for it.
NUMBER = r"(?:(?!0)\d{1,3}\s{0,2}[-－‐‑–—~～至]\s{0,2})?\d{1,3}"
NUMBERS = rf"{NUMBER}(?:\s{{0,2}}[,，、;；]\s{{0,2}}{NUMBER}){{0,49}}"
LONGEST_MARKER = 800  # characters between its brackets
# The gap begins where no space stands before it: tried from each space of a long run, it would take the run's square.
MARKER = re.compile(rf"(?<![ \t])(?P<gap>[ \t]*)[\[【［]\s{{0,2}}\^?(?P<numbers>{NUMBERS})\s{{0,2}}[\]】］]")
CODE = re.compile(r"```.*?(?:```|\Z)|`[^`\n]+`", re.DOTALL)  # `row[1]` in code is no citation
NUMBER_WEIGHT = 3.0  # of a number in a sentence that quotes a value; a rare word has 4 to 5
LONGEST_QUOTE = 400  # characters: supporting sentences that lie closer together than this are quoted as one stretch


@dataclass(frozen=True, kw_only=True, slots=True)
class Citation:
    """`quote` is the characters `[start, end)` of that version's extracted text. The pages are those of the passage
    until `place_on_pages` has narrowed them to the quote's own."""

    number: int
    document_id: str
    path: str
    title: str | None
    version: int
    version_id: int
    page_start: int
    page_end: int
    start: int
    end: int
    quote: str
    kb_id: str


class PageSource(Protocol):
    """Where the pages of a version's text begin and end."""

    def list_pages(self, version_ids: Sequence[int]) -> Mapping[int, Sequence[Page]]:
        """By version; one that was purged meanwhile is left out."""
        ...


@dataclass(frozen=True, kw_only=True, slots=True)
class CitedText:
    """An answer whose every `[n]` has its citation, of `passages[n - 1]`. `dropped` counts the numbers that named no
    passage."""

    text: str
    citations: Sequence[Citation]
    passages: Sequence[Passage]
    dropped: int


@dataclass(frozen=True, kw_only=True, slots=True)
class _Marker:
    """`[start, end)` of the answer, with the gap before it; `places` are the passages it names, from 0, each once."""

    start: int
    end: int
    gap: str
    places: Sequence[int]
    dropped: int


def resolve_citations(answer: str, passages: Sequence[Passage], question: str = "") -> CitedText:
    """Check, renumber and quote. `passages[0]` is what the model knows as `[1]`.

    `question` decides the quote where a sentence that cites shares no term with the passage: an answer in another
    language than its source.
    """
    markers = list(_iter_markers(answer, len(passages)))
    order = list(dict.fromkeys(place for marker in markers for place in marker.places))
    numbers = {place: number for number, place in enumerate(order, start=1)}
    claims = _list_claims(answer, markers)
    citations = [
        cite_span(numbers[place], passages[place], _choose_span(claims[place], passages[place], question))
        for place in order
    ]
    text = _rewrite(answer, markers, numbers)
    cited, dropped = [passages[place] for place in order], sum(marker.dropped for marker in markers)
    return CitedText(text=text, citations=citations, passages=cited, dropped=dropped)


def list_named(numbers: str) -> list[int]:
    """The numbers that a marker names, in its order: `2, 4-6` are 2, 4, 5 and 6; of `6-4` its two ends."""
    named: list[int] = []
    for item in re.findall(r"\d+(?:[^\d,，、;；]+\d+)?", numbers):
        first, last = (ends := [int(end) for end in re.findall(r"\d+", item)])[0], ends[-1]
        named += range(first, last + 1) if first <= last else (first, last)
    return named


def list_code(answer: str) -> list[tuple[int, int]]:
    """Where it has code, from its beginning to its end."""
    return [match.span() for match in CODE.finditer(answer)]


def meets_code(code: Sequence[tuple[int, int]], start: int, end: int) -> bool:
    """Whether any of `[start, end)` is code. Looked up, not looked through: there may be thousands of both."""
    before = bisect_left(code, (end, 0))
    return before > 0 and code[before - 1][1] > start


def strip_markers(answer: str) -> str:
    """The answer without any `[n]`."""
    return _rewrite(answer, list(_iter_markers(answer, 0)), {})


def cite_span(number: int, passage: Passage, span: Span) -> Citation:
    """The citation of `passage.text[span.start:span.end]`."""
    return Citation(
        number=number,
        document_id=passage.document_id,
        path=passage.path,
        title=passage.title,
        version=passage.version,
        version_id=passage.version_id,
        page_start=passage.page_start,
        page_end=passage.page_end,
        start=passage.start + span.start,
        end=passage.start + span.end,
        quote=passage.text[span.start : span.end],
        kb_id=passage.kb_id,
    )


def cite_values(number: int, passage: Passage, values: Sequence[str], question: str) -> Citation:
    """The citation of the sentence that holds most of the values: of their words, the rarer the heavier, and of their
    numbers, however either writes them. Where none holds any, the question decides."""
    sentences = list_sentences([passage])
    if not sentences:
        return cite_span(number, passage, Span(start=0, end=len(passage.text)))
    said = "\n".join(values)
    claim, numbers = weigh_claim(said, sentences), list_numbers(said)
    scores = [
        score + NUMBER_WEIGHT * len(numbers & list_numbers(sentence.text))
        for score, sentence in zip(score_sentences(claim, sentences), sentences, strict=True)
    ]
    best = sentences[max(range(len(scores)), key=scores.__getitem__)] if max(scores) > 0 else None
    best = best or _find_best(question, sentences) or sentences[0]
    return cite_span(number, passage, Span(start=best.start, end=best.end))


def place_on_pages(citations: Sequence[Citation], pages: PageSource) -> list[Citation]:
    """The citations with the pages of their own quotes: a passage may run over several."""
    wide = {citation.version_id for citation in citations if citation.page_start != citation.page_end}
    found = pages.list_pages(sorted(wide)) if wide else {}
    return [_place_on_pages(citation, found.get(citation.version_id, ())) for citation in citations]


def _place_on_pages(citation: Citation, pages: Sequence[Page]) -> Citation:
    numbers = [page.number for page in pages if page.start < citation.end and citation.start < page.end]
    return replace(citation, page_start=min(numbers), page_end=max(numbers)) if numbers else citation


def _iter_markers(answer: str, count: int) -> Iterator[_Marker]:
    code = list_code(answer)
    for match in MARKER.finditer(answer):
        if meets_code(code, match.start("numbers"), match.end("numbers")):
            continue
        named = list_named(match["numbers"])
        places = [number - 1 for number in dict.fromkeys(named) if 1 <= number <= count]
        dropped = sum(not 1 <= number <= count for number in named)
        yield _Marker(start=match.start(), end=match.end(), gap=match["gap"], places=places, dropped=dropped)


def _list_claims(answer: str, markers: Sequence[_Marker]) -> dict[int, list[str]]:
    """For each passage the sentences that cite it, without their markers. A marker speaks for the sentence before it,
    whether it stands before or behind the full stop."""
    bounds = [0, *(edge for marker in markers for edge in (marker.start, marker.end)), len(answer)]
    pieces = [answer[start:end] for start, end in list(pairwise(bounds))[::2]]
    plain = "".join(pieces)
    sentences = cut_sentences(plain)
    starts = [span.start for span in sentences]
    claims: dict[int, dict[Span, str]] = {}  # a sentence counts once, however often a marker stands in it
    position = 0
    for marker, piece in zip(markers, pieces, strict=False):
        position += len(piece)
        before = bisect_left(starts, position)
        span = sentences[before - 1] if before else Span(start=0, end=sentences[0].end if sentences else 0)
        for place in marker.places:
            claims.setdefault(place, {})[span] = plain[span.start : span.end]
    return {place: list(said.values()) for place, said in claims.items()}


def _choose_span(claims: Sequence[str], passage: Passage, question: str) -> Span:
    """The best sentence for the first claim, stretched over those of the other claims while the quote stays short."""
    sentences = list_sentences([passage])
    if not sentences:
        return Span(start=0, end=len(passage.text))
    best = [found for claim in claims if (found := _find_best(claim, sentences))]
    if not best:
        best = [_find_best(question, sentences) or sentences[0]]
    start, end = best[0].start, best[0].end
    for sentence in best[1:]:
        wider = (min(start, sentence.start), max(end, sentence.end))
        if wider[1] - wider[0] <= LONGEST_QUOTE:
            start, end = wider
    return Span(start=start, end=end)


def _find_best(claim: str, sentences: Sequence[Sentence]) -> Sentence | None:
    weighed = weigh_claim(claim, sentences)
    rated = zip(score_sentences(weighed, sentences), sentences, strict=True)
    # a title that fits says nothing about which of its sentences does
    fitting = [(score, sentence) for score, sentence in rated if weighed.weigh(sentence.terms) > 0]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def _rewrite(answer: str, markers: Sequence[_Marker], numbers: dict[int, int]) -> str:
    """The answer with each marker in our form and number, or without it and the gap before it."""
    pieces: list[str] = []
    at = 0
    for marker in markers:
        pieces.append(answer[at : marker.start])
        if marker.places:
            pieces.append(marker.gap + "".join(f"[{numbers[place]}]" for place in marker.places))
        at = marker.end
    return "".join([*pieces, answer[at:]]).strip()
