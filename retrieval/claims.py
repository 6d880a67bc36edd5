"""Which sentences of an answer no cited passage supports: found by words, without a model.

A sentence is held against the passages that it cites, stretch by stretch where it cites several; one that cites nothing
against all that the answer cites. A stretch is supported when some sentence of a passage, with the ones before and
after it and what it stands under, has most of its terms and all of its numbers, and says no where it says no. Where
that fails for the stretch as a whole, each of its clauses may be supported by itself: a sentence that sums two passages
up.

What only a reader sees it does not: who did what to whom, and words turned into their opposite. A sentence in another
language than its passages shares no words with them; of it the numbers alone are checked.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from kb.tokens import HAN
from retrieval.citations import MARKER, list_code, list_named, meets_code
from retrieval.numbers import list_claimed_numbers, list_numbers
from retrieval.passages import Passage
from retrieval.polarity import agrees
from retrieval.question import list_terms
from retrieval.sentences import NUMBERING, RULE, Span, cut_sentences, holds_statement, is_row
from retrieval.support import Claim, Sentence, list_sentences, weigh_claim

LEAST_COVER = 0.5  # of a stretch's weight
FOREIGN = 2.0  # times that a term which another cited passage alone has counts against
TELLING = 2  # terms; "according to [1]" is no claim beside what it leads to
CLAUSE = re.compile(r"[，；、,;](?!\d)|(?<=\s)(?:and|but|while|whereas)(?=\s)")
# "According to the passages" says nothing of what stands in them.
LEAD_IN = re.compile(
    r"(?:根据|依据|按照|基于|据)(?:(?:所|您)?(?:提供|给出|给定)的?|上述|以上|相关|现有|这些|该)*(?:参考)?(?:资料|文档|文件|材料|段落|来源|信息|内容)"
    r"(?:中?的?(?:内容|信息|记载|描述|说明)|中|里|显示|所述|可知)?"
    r"|\b(?:according to|based on|as (?:stated|described|mentioned|noted|given|shown) in) (?:the |these |your )?"
    r"(?:(?:provided|given|above|numbered) )?(?:passages?|documents?|sources?|texts?|context|information)\b",
    re.IGNORECASE,
)
ASKS_OR_LEADS_IN = re.compile(r"[?？:：]\W*$")


@dataclass(frozen=True, kw_only=True, slots=True)
class _Window:
    """A sentence of a passage and its neighbours. `foreign` are the terms of the other passages."""

    place: int
    terms: frozenset[str]
    foreign: frozenset[str]
    numbers: frozenset[float]
    sentences: Sequence[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class _Stretch:
    """Words of the answer and the passages, from 0, that they are to stand in."""

    text: str
    places: frozenset[int]


def find_unsupported(answer: str, cited: Sequence[Passage]) -> list[Span]:
    """The places in `answer` of the sentences that no cited passage supports. `cited[0]` is its `[1]`."""
    windows = _list_windows(cited)
    sentences = list_sentences(cited)
    code = list_code(answer)
    every = frozenset(range(len(cited)))
    found = []
    for span in _cut_answer(answer):
        if meets_code(code, span.start, span.end) or _names_columns(answer, span):
            continue
        sentence = LEAD_IN.sub("", answer[span.start : span.end])
        if not _claims(sentence):
            continue
        stretches = list(_cut_stretches(sentence, every))
        telling = [stretch for stretch in stretches if len(list_terms(stretch.text)) >= TELLING] or stretches
        if not all(_is_supported(stretch, windows, sentences, cited) for stretch in telling):
            found.append(span)
    return found


def _names_columns(answer: str, span: Span) -> bool:
    """Whether it is the first row of a table that the answer draws."""
    if not is_row(answer[span.start : span.end]):
        return False
    below = answer[span.end :].lstrip().partition("\n")[0].strip()
    return bool(below) and bool(RULE.fullmatch(below))


def _cut_answer(answer: str) -> Iterator[Span]:
    """Its sentences, each with the markers behind its full stop."""
    spans = cut_sentences(answer)
    start = None
    for number, span in enumerate(spans):
        begin = span.start if start is None else start
        end = span.end
        following = spans[number + 1] if number + 1 < len(spans) else None
        start = None
        if following is not None:
            led = re.match(rf"(?:{MARKER.pattern.replace('?P<gap>', '?:').replace('?P<numbers>', '?:')}\s*)+",
                           answer[following.start : following.end])  # fmt: skip
            if led:
                end = following.start + len(led.group().rstrip())
                start = following.start + led.end()
        if begin < end:
            yield Span(start=begin, end=end)


def _cut_stretches(sentence: str, every: frozenset[int]) -> Iterator[_Stretch]:
    """What stands before each marker, or group of them, goes with it; what stands behind the last with all of them."""
    at, held, named = 0, "", frozenset[int]()
    waiting: frozenset[int] = frozenset()
    for match in MARKER.finditer(sentence):
        text = sentence[at : match.start()]
        places = frozenset(number - 1 for number in list_named(match["numbers"])) & every
        if not list_terms(text) and waiting:
            waiting |= places
            held += text
        else:
            if waiting:
                yield _Stretch(text=held, places=waiting)
            held, waiting = text, places
        named |= places
        at = match.end()
    rest = sentence[at:]
    if waiting:
        yield _Stretch(text=held, places=waiting)
    if list_terms(rest) or not named:
        yield _Stretch(text=rest, places=named or every)


def _claims(sentence: str) -> bool:
    """Whether it says something that a document can bear out: no heading, question, lead-in or number of an item."""
    text = MARKER.sub("", sentence).strip()
    if not any(not term.isdecimal() for term in list_terms(text)) or ASKS_OR_LEADS_IN.search(text):
        return False
    return text != sentence.strip() or holds_statement(text) or bool(_list_own_numbers(text))


def _list_own_numbers(text: str) -> set[float]:
    """Without the number of the item that it stands in."""
    return list_claimed_numbers(NUMBERING.sub("", text.strip()))


def _is_supported(
    stretch: _Stretch, windows: Sequence[_Window], sentences: Sequence[Sentence], cited: Sequence[Passage]
) -> bool:
    if not list_terms(stretch.text):
        return True
    near = [window for window in windows if window.place in stretch.places]
    numbers = _list_own_numbers(stretch.text)
    readable = [place for place in stretch.places if _share_script(stretch.text, cited[place].text)]
    if stretch.places and not readable:
        return any(numbers <= list_numbers(cited[place].text) for place in stretch.places)
    if _find_window(stretch.text, near, sentences):
        return True
    clauses = [clause for clause in CLAUSE.split(stretch.text) if list_terms(clause)]
    return len(clauses) > 1 and all(_find_window(clause, near, sentences) for clause in clauses)


def _find_window(text: str, windows: Sequence[_Window], sentences: Sequence[Sentence]) -> bool:
    claim = weigh_claim(text, sentences)
    numbers = _list_own_numbers(text)
    return any(
        numbers <= window.numbers and _covers(window, claim) and agrees(text, window.sentences) for window in windows
    )


def _covers(window: _Window, claim: Claim) -> bool:
    """What another passage alone has counts against: two halves make no whole."""
    foreign = sum(
        weight for term, weight in claim.weights.items() if term in window.foreign and term not in window.terms
    )
    return claim.weigh_loosely(window.terms) - FOREIGN * foreign >= LEAST_COVER * sum(claim.weights.values())


def _list_windows(passages: Sequence[Passage]) -> list[_Window]:
    cut = [list_sentences([passage]) for passage in passages]
    own: list[frozenset[str]] = [frozenset().union(*[sentence.terms for sentence in sentences]) for sentences in cut]
    windows: list[_Window] = []
    for place, (passage, sentences) in enumerate(zip(passages, cut, strict=True)):
        foreign: frozenset[str] = frozenset().union(*own[:place], *own[place + 1 :])
        above = list_numbers(f"{passage.title or ''}\n{passage.heading or ''}")
        numbers = [list_numbers(f"{sentence.text}\n{sentence.head or ''}") for sentence in sentences]
        for i, sentence in enumerate(sentences):
            near = slice(max(0, i - 1), i + 2)
            windows.append(
                _Window(
                    place=place,
                    terms=sentence.context.union(*[one.terms for one in sentences[near]]),
                    foreign=foreign,
                    numbers=frozenset(above.union(*numbers[near])),
                    sentences=[one.text for one in sentences[near]],
                )
            )
    return windows


def _share_script(text: str, other: str) -> bool:
    """Whether both are written in Han characters, or neither."""
    return _is_han(text) == _is_han(other)


def _is_han(text: str) -> bool:
    han = len(HAN.findall(text))
    latin = len(re.findall(r"[A-Za-z]{2,}", text))
    return han > 2 * latin
