"""From a follow-up to a full question, by rule: what it leaves out is taken from the questions before it.

A question is a follow-up when it has a pronoun with nothing of its own before it, or when it is a fragment:
「学生票呢？」, "And in winter?", "Why?". Three ways to complete it:

fragment that names something   the question before, and the fragment: 「成人票多少钱？学生票呢？」
「它」 and its like              the pronoun gives way to what the question before was about: 「灯塔有多高？」
all else                        what the question before was about stands in front: "the lighthouse: who built it?"

Many follow-ups have neither: 「找谁修」, "is there a limit". A short question all of whose words are common in the
documents asked is one as well, and one that has a rare word is none (`retrieval/naming.py`).

Where the question before asked for somebody or for one of several, "he" and "it" may be in its answer, whose first
supported sentence is added. The rule cannot parse; it may add a word too many, and takes none of the user's away,
pronouns excepted. That is what a search bears best.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from kb.tokens import HAN
from retrieval.citations import MARKER, strip_markers
from retrieval.follow_up_words import (
    EN_ABOUT,
    EN_ASKING,
    EN_AUXILIARY,
    EN_BARE,
    EN_EXPLETIVE,
    EN_LEAD,
    EN_NAME,
    EN_PERSON,
    EN_PREPOSITION,
    EN_PRONOUN,
    EN_WHICH,
    ENDS,
    ZH_ASKING,
    ZH_BARE,
    ZH_FRAGMENT,
    ZH_LEAD,
    ZH_NAME,
    ZH_OPENING,
    ZH_PERSON,
    ZH_POINTER,
    ZH_PREDICATE,
    ZH_PRONOUN,
)
from retrieval.han import fold_han
from retrieval.naming import TermSource, names_something
from retrieval.prompt import ChatMessage
from retrieval.question import AnswerKind, find_kind, list_terms
from retrieval.sentences import cut_sentences

LATEST = 20  # messages that are looked at
LONGEST_TURN = 8_000  # characters of a message: a longer one is a pasted page
LONGEST_CONTEXT = 300  # characters that are taken from the conversation
LONGEST_FRAGMENT = 24  # Han characters; words: a quarter of that
LONGEST_UNSURE = 60  # characters of a question that may leave out its subject without a sign; Han: a third of that
OWN_TERMS = 2  # before a pronoun: it then stands for something in its own question


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A question so far: the last one that stood by itself, the fragment behind it, and the answer it got."""

    base: str
    fragment: str = ""
    answer: str = ""

    @property
    def text(self) -> str:
        return join_questions(self.base, self.fragment) if self.fragment else self.base


# Whether a question names something, given what the conversation is about; None where that is not known.
Naming = Callable[[str, str], bool | None]


class Rewriter(Protocol):
    """Makes a full question of one that needs the conversation before it."""

    async def rewrite(self, question: str, history: Sequence[ChatMessage], kb_ids: Sequence[str] = ()) -> str:
        """`kb_ids` are the knowledge bases that are asked."""
        ...


class RuleRewriter:
    """A Rewriter without a model. Without `terms` it goes by the question's words alone."""

    def __init__(self, terms: TermSource | None = None) -> None:
        self._terms = terms

    async def rewrite(self, question: str, history: Sequence[ChatMessage], kb_ids: Sequence[str] = ()) -> str:
        terms = self._terms
        if terms is None or not kb_ids:
            return complete_question(question, history)
        return await asyncio.to_thread(
            complete_question, question, history, lambda asked, about: names_something(asked, about, terms, kb_ids)
        )


def complete_question(question: str, history: Sequence[ChatMessage], names: Naming | None = None) -> str:
    """The question with what it leaves out; as it is when it leaves out nothing."""
    asked: _Asked | None = None
    for message in history[max(0, len(history) - LATEST) :]:
        said = message.content[:LONGEST_TURN].strip()
        if message.role == "user":
            if asked is not None or not is_follow_up(said):  # what it follows is out of sight: it tells of nothing
                asked = _follow(said, asked, names)
        elif asked is not None:
            asked = _Asked(base=asked.base, fragment=asked.fragment, answer=said)
    return _follow(question, asked, names).text


def is_follow_up(question: str) -> bool:
    """Whether it cannot be understood by itself, as far as its words tell."""
    return _is_fragment(question) or _lacks_subject(question) or _find_pronoun(question) is not None


def _follow(question: str, before: _Asked | None, names: Naming | None) -> _Asked:
    if before is None or not before.base or not _follows(question, before, names):
        return _Asked(base=question)
    if _is_fragment(question) and list_terms(question):
        return _Asked(base=before.base[:LONGEST_CONTEXT], fragment=question)
    return _Asked(base=_put_in_subject(question, before))


def _follows(question: str, before: _Asked, names: Naming | None) -> bool:
    """By its words; where those are no sure sign and it is short, by what it names, as far as the documents tell."""
    by_words = is_follow_up(question)
    if names is None or _is_sure(question):
        return by_words
    named = names(question, find_subject(question, before)[:LONGEST_CONTEXT])
    return by_words if named is None else not named


def _is_sure(question: str) -> bool:
    """Whether its words alone tell: it has a sign of a follow-up, or it is long, or it writes a name as one."""
    plain = question.strip(ENDS)
    if _find_pronoun(question) is not None:
        return True
    if HAN.search(plain):
        told = ZH_FRAGMENT.search(fold_han(plain)) or ZH_NAME.search(plain)
        return bool(told) or len(plain) > LONGEST_UNSURE // 3
    return bool(EN_LEAD.search(plain) or EN_ABOUT.search(plain) or EN_NAME.search(plain)) or len(plain) > LONGEST_UNSURE


def _put_in_subject(question: str, before: _Asked) -> str:
    subject = find_subject(question, before)[:LONGEST_CONTEXT]
    if not subject:
        return question
    found = ZH_PRONOUN.search(fold_han(question)) if HAN.search(question) else None
    if found and not ZH_OPENING.search(fold_han(before.base)) and len(subject) <= LONGEST_FRAGMENT:
        of = "的" if found.group() == "其" else ""
        return question[: found.start()] + subject + of + question[found.end() :]
    lead = ZH_LEAD if HAN.search(question) else EN_LEAD
    rest = lead.sub("", question, count=1) or question
    return f"{subject}，{rest}" if HAN.search(question) else f"{subject}: {rest}"


def find_subject(question: str, before: _Asked) -> str:
    """What the question before was about, and whom or what its answer named where it asked for that."""
    parts = [_strip_asking(before.base)]
    if before.fragment:
        parts.append(_strip_fragment(before.fragment))
    if before.answer and _asks_for_a_name(before.base):
        evidence = _cut_evidence(before.answer)
        named = _take_new(evidence, before.base)
        if named and _means_somebody(question):
            return named
        parts.append(evidence)
    return " ".join(dict.fromkeys(part for part in parts if part))


def join_questions(first: str, second: str) -> str:
    if HAN.search(second) and HAN.search(first):
        return f"{first.strip(ENDS)}？{second}"
    return f"{first.strip(ENDS)}? {second}"


def _is_fragment(question: str) -> bool:
    """Names something and asks nothing of it."""
    plain = question.strip(ENDS)
    if HAN.search(plain):
        folded = fold_han(plain)
        short = len(plain) <= LONGEST_FRAGMENT
        return short and bool(ZH_FRAGMENT.search(folded)) and not ZH_ASKING.search(folded.removesuffix("呢"))
    rest = EN_LEAD.sub("", plain)
    words = rest.split()
    if EN_ABOUT.search(rest):
        return True
    if len(words) > LONGEST_FRAGMENT // 4 or EN_AUXILIARY.search(rest):
        return False
    return rest != plain or bool(EN_PREPOSITION.search(rest)) or len(words) <= 3


def _lacks_subject(question: str) -> bool:
    plain = question.strip(ENDS)
    if not list_terms(plain):
        return True
    if HAN.search(plain):
        rest = ZH_LEAD.sub("", fold_han(plain))
        opens = ZH_PREDICATE.search(rest) or ZH_BARE.search(rest)
        asks = ZH_OPENING.match(rest)
        if asks and len(list_terms(rest[asks.end() :])) >= OWN_TERMS:  # 「谁设计了灯塔」 says of what
            return False
        return len(rest) <= LONGEST_FRAGMENT // 2 and bool(opens) and not re.search("[A-Za-z]", rest)
    rest = EN_LEAD.sub("", plain)
    return bool(EN_BARE.search(rest)) and len(list_terms(rest)) <= OWN_TERMS and not EN_NAME.search(rest)


def _find_pronoun(question: str) -> re.Match[str] | None:
    if HAN.search(question):
        folded = fold_han(question)
        found = ZH_PRONOUN.search(folded) or ZH_POINTER.search(folded)
    else:
        found = None if EN_EXPLETIVE.search(question) else EN_PRONOUN.search(question)
    if found is None:
        return None
    own = question[: found.start()]
    named = len(list_terms(own)) > OWN_TERMS or (not HAN.search(question) and EN_NAME.search(own))
    return None if named else found


def _strip_asking(question: str) -> str:
    """The question without what makes it one."""
    plain = question.strip(ENDS)
    if not HAN.search(plain):
        return EN_ASKING.sub("", plain, count=1).strip(ENDS)
    folded = fold_han(plain)
    if ZH_OPENING.search(folded):
        return _cut_out(ZH_ASKING, plain)
    pieces, at = [], 0
    for match in ZH_ASKING.finditer(folded):
        pieces.append(plain[at : match.start()])
        at = match.end()
    pieces.append(plain[at:])
    cleaned = (piece.strip(ENDS + "的了是在由被把请问") for piece in pieces)
    return next((piece for piece in cleaned if len(piece) > 1), plain)


def _cut_out(pattern: re.Pattern[str], text: str) -> str:
    pieces, at = [], 0
    for match in pattern.finditer(fold_han(text)):
        pieces.append(text[at : match.start()])
        at = match.end()
    return "".join([*pieces, text[at:]]).strip(ENDS + "的了")


def _strip_fragment(fragment: str) -> str:
    plain = fragment.strip(ENDS)
    if HAN.search(plain):
        return ZH_LEAD.sub("", plain).removesuffix("呢").strip(ENDS)
    return EN_ABOUT.sub("", EN_LEAD.sub("", plain)).strip(ENDS)


def _asks_for_a_name(question: str) -> bool:
    if find_kind(question) is AnswerKind.PERSON:
        return True
    return bool(
        re.search("哪(?![里儿年月天日])", fold_han(question)) if HAN.search(question) else EN_WHICH.search(question)
    )


def _means_somebody(question: str) -> bool:
    return bool((ZH_PERSON if HAN.search(question) else EN_PERSON).search(fold_han(question)))


def _take_new(evidence: str, question: str) -> str:
    """What of the evidence the question did not say: the name that it asked for, with little around it."""
    if not HAN.search(evidence):
        said = list_terms(question)
        words = [word for word in evidence.split() if (terms := list_terms(word)) and terms.isdisjoint(said)]
        return " ".join(words)
    asked, folded = fold_han(question), fold_han(evidence)
    pairs = [place for place in range(len(folded) - 1) if folded[place : place + 2] in asked]
    said_at = {place + step for place in pairs for step in (0, 1)}
    rest = "".join("，" if place in said_at else evidence[place] for place in range(len(evidence)))
    pieces = (piece.strip(ENDS + "的了是在由被把") for piece in rest.split("，"))
    return " ".join(piece for piece in pieces if len(piece) > 1)


def _cut_evidence(answer: str) -> str:
    """The first sentence that cites something, else the first one."""
    sentences = [answer[span.start : span.end] for span in cut_sentences(answer)]
    chosen = next((one for one in sentences if MARKER.search(one)), sentences[0] if sentences else "")
    return " ".join(strip_markers(chosen).split()).strip(ENDS)[: LONGEST_CONTEXT // 2]
