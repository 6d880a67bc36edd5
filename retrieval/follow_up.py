"""From a follow-up to a full question, by rule: what it leaves out is taken from the questions before it.

A question is a follow-up when it has a pronoun with nothing of its own before it, or when it is a fragment:
「学生票呢？」, "And in winter?", "Why?". Three ways to complete it:

fragment that names something   the question before, and the fragment: 「成人票多少钱？学生票呢？」
「它」 and its like              the pronoun gives way to what the question before was about: 「灯塔有多高？」
all else                        what the question before was about stands in front: "the lighthouse: who built it?"

Where the question before asked for somebody or for one of several, "he" and "it" may be in its answer, whose first
supported sentence is added. The rule cannot parse; it may add a word too many, and takes none of the user's away,
pronouns excepted. That is what a search bears best.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kb.tokens import HAN
from retrieval.citations import MARKER, strip_markers
from retrieval.han import fold_han
from retrieval.prompt import ChatMessage
from retrieval.question import AnswerKind, find_kind, list_terms
from retrieval.sentences import cut_sentences

LATEST = 20  # messages that are looked at
LONGEST_CONTEXT = 300  # characters that are taken from the conversation
LONGEST_FRAGMENT = 24  # Han characters; words: a quarter of that
OWN_TERMS = 2  # before a pronoun: it then stands for something in its own question
ENDS = " \t\r\n。.？?！!，,；;：:…"

# Chinese patterns are held against Simplified characters (`fold_han` keeps every place).
ZH_PRONOUN = re.compile(r"它们?|他们|她们|(?<!其)他(?!人)|她|(?<![尤极与何之])其(?![他它中实余次间])")
ZH_POINTER = re.compile(
    r"(?:这|那|该|此)(?:一|两|几|些)?[个座家种款台份条项部间所位处套张本艘辆只件场次些里边儿]|[这那]些|[这那]时|"
    r"^(?:这|那)(?=是|有|要|怎|多|能|会|可|在|为|叫|什|里)|该[^不怎如]|此事|后者|前者|对方|同一|上述"
)
ZH_LEAD = re.compile(r"^(?:请问|那么|那|还有|以及|另外|至于|而|可是|但是|但|如果|要是|假如|换成|改成)+[，,\s]*")
ZH_FRAGMENT = re.compile(r"呢$")
# What a subject may be followed by; a question that opens with one of these has lost its subject.
ZH_PREDICATE = re.compile(
    r"^(?:还|也|都|又|再|总共|一共|大概|需要|要|得|可以|可|能不能|能|会不会|会|应该|"
    r"有没有|有多|有几|有哪|有什么|是不是|是否|是什么|是谁|是哪|为什么|为何|怎么|怎样|如何|多少|多久|多大|多高|多长|多远|多重|几|"
    r"什么时候|何时|在哪|在什么|位于|由谁|谁|哪)"
)
ZH_BARE = re.compile(r"^[^A-Za-z0-9]{1,4}(?:是|为)(?:多少|几)")  # 「电话是多少」: of what?
ZH_ASKING = re.compile(
    r"为什么|为何|什么时候|什么|怎么样|怎么|怎样|如何|是否|请问|多少|何时|何地|哪一?[年月天日个些座家位里种]|哪|谁|几|吗$|呢$|"
    r"有没有|有多|有(?=哪|几|什么)|是不是|是(?=什么|谁|哪|多少)|能不能|可不可以|需要|(?:成立|坐落|始建|[建创位生])于|[在由](?=哪|谁|什么)|"
    r"[，。？！,?!；;]"
)
ZH_OPENING = re.compile(
    r"^(?:谁|什么|哪|为什么|为何|怎么|怎样|如何|几[点时月天年号]?|多少|请问(?:谁|什么|哪|为什么|怎么|如何))"
)
ZH_PERSON = re.compile(r"[他她]|对方")

EN_PRONOUN = re.compile(
    r"\b(?:it|its|they|them|their|theirs|he|him|his|she|her|hers|this|these|those(?! \w+ (?:who|that|which|whose)\b)|"
    r"the (?:same|former|latter|other|others)|(?:which|this|that|the \w+|another) ones?)\b"
    r"|(?:^|\b(?:about|of|for|with|to|in|on|at|by|from|after|before|is|was|does|did|do|are|were|and|or) )"
    r"that\b(?! [a-z]+s? )"
    r"|\bthere(?=[?.!,]|$)|\bthere\b(?! (?:a|an|any|is|are|was|were|be)\b)|\b(?:what|who|anything|anyone|where) else\b",
    re.IGNORECASE,
)
EN_EXPLETIVE = re.compile(
    r"\b(?:is|was|are|were|be|has|have|had)(?:n't)? there\b|\bthere (?:is|are|was|were)\b"
    r"|\bit (?:takes?|took) (?:\w+ )?to\b|\b(?:is|was) it (?:possible|necessary|true|allowed|legal|safe|better)\b",
    re.IGNORECASE,
)
EN_LEAD = re.compile(r"^(?:(?:and|but|or|so|then|ok(?:ay)?|well|also|plus)\b[, ]*)+", re.IGNORECASE)
EN_ABOUT = re.compile(r"^(?:how|what) about\b|^(?:what|how) (?:if|of)\b", re.IGNORECASE)
EN_PREPOSITION = re.compile(
    r"^(?:in|on|at|for|with|without|during|after|before|since|from|to|by|until|as|under|over)\b", re.IGNORECASE
)
EN_ASKING = re.compile(
    r"^(?:(?:please|can you tell me|could you tell me|tell me|do you know|and|but|so)\b[, ]*)*"
    r"(?:(?:at|in|on|for|by|from|since|until|to|with) )?"
    r"(?:(?:who|whom|whose|when|where|why|what|which|how)\b"
    r"(?: (?:many|much|long|far|tall|high|old|large|big|often|fast|deep|heavy|year|time|day|kind of|sort of))?\s*)?"
    r"(?:(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|must)\b(?:n't)?\s*)?",
    re.IGNORECASE,
)
# A question about "I" or "one", or about an adjective alone, says nothing of where.
EN_BARE = re.compile(
    r"^(?:(?:when|where|how|why|what)\b )?(?:do|does|did|can|could|must|may|should|will|is|are)\b "
    r"(?:i|we|you|one|people|that|this)\b|^how \w+$",
    re.IGNORECASE,
)
EN_NAME = re.compile(r"(?<=[a-z,] )(?!I\b)[A-Z]|\d")
EN_AUXILIARY = re.compile(
    r"\b(?:is|are|was|were|do|does|did|has|have|had|can|could|will|would|should|may|must|who|what|when|where|why|how|which)\b",
    re.IGNORECASE,
)
EN_PERSON = re.compile(r"\b(?:he|him|his|she|her|hers|they|them|their)\b", re.IGNORECASE)
EN_WHICH = re.compile(r"\bwhich\b|\bwhat(?:'s| is| was) the name\b", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True, slots=True)
class _Asked:
    """A question so far: the last one that stood by itself, the fragment behind it, and the answer it got."""

    base: str
    fragment: str = ""
    answer: str = ""

    @property
    def text(self) -> str:
        return join_questions(self.base, self.fragment) if self.fragment else self.base


class Rewriter(Protocol):
    """Makes a full question of one that needs the conversation before it."""

    async def rewrite(self, question: str, history: Sequence[ChatMessage]) -> str: ...


class RuleRewriter:
    """A Rewriter without a model."""

    async def rewrite(self, question: str, history: Sequence[ChatMessage]) -> str:
        return complete_question(question, history)


def complete_question(question: str, history: Sequence[ChatMessage]) -> str:
    """The question with what it leaves out; as it is when it leaves out nothing."""
    asked: _Asked | None = None
    for message in history[max(0, len(history) - LATEST) :]:
        said = message.content.strip()
        if message.role == "user":
            if asked is not None or not is_follow_up(said):  # what it follows is out of sight: it tells of nothing
                asked = _follow(said, asked)
        elif asked is not None:
            asked = _Asked(base=asked.base, fragment=asked.fragment, answer=said)
    return _follow(question, asked).text


def is_follow_up(question: str) -> bool:
    """Whether it cannot be understood by itself, as far as its words tell."""
    return _is_fragment(question) or _lacks_subject(question) or _find_pronoun(question) is not None


def _follow(question: str, before: _Asked | None) -> _Asked:
    if before is None or not before.base or not is_follow_up(question):
        return _Asked(base=question)
    if _is_fragment(question) and list_terms(question):
        return _Asked(base=before.base[:LONGEST_CONTEXT], fragment=question)
    return _Asked(base=_put_in_subject(question, before))


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
