"""What a question is: its language, its content terms, and the kind of thing it asks for."""

from __future__ import annotations

import re
import unicodedata
from enum import StrEnum
from typing import Literal

from kb.errors import InvalidInput
from kb.tokens import HAN
from retrieval.han import fold_han
from retrieval.lexical import find_stem

Language = Literal["zh", "en"]

# The patterns below are written in Simplified characters: what they are held against is folded (`fold_han`).
HAN_FUNCTION = re.compile(
    r"为什么|为何|什么时候|什么样|什么|怎么样|怎么|怎样|如何|是否|请问|多少|何时|何地|何人|何种|何处|哪一|哪些|哪个|哪里|哪位|哪年|哪家|哪种|"
    r"哪|谁|几|吗|呢|吧|的|了|是|在|有|和|与|及|被|于|由|其|该|这|那|之|也|都|为|把|对|从|到|而|或|所|个|能|会|可以|可|请|我|你|他|她|它|们"
)
FUNCTION_WORDS = (
    "a an the and or of in on at to by for from with as is are was were be been being am do does did done has have had "
    "having i you he she it we they me him her them my your his its our their this that these those there here what "
    "which who whom whose when where why how many much can could will would shall should may might must not no if then "
    "than so such into about over under after before between during through also only just very s t mean means"
)
STOPWORDS = frozenset(FUNCTION_WORDS.split())
WORD = re.compile(r"[^\W_]+(?:[-.'/+#][^\W_]+)*[+#]*")
PART = re.compile(r"[^\W\d_]+|\d+")


class AnswerKind(StrEnum):
    PERSON = "person"
    TIME = "time"
    NUMBER = "number"
    PLACE = "place"
    REASON = "reason"
    OTHER = "other"


NUMERAL = (
    r"(?:\d|[一二三四五六七八九十百千万亿两]{1,}(?:[个名位人次年月天日夜元米公吨岁座条种项家所部集章倍分成张])|"
    r"\b(?:one|two|three|four|five|six|seven|eight|nine|ten|eleven|twelve|dozen|twenty|thirty|forty|fifty|sixty|seventy|"
    r"eighty|ninety|hundred|thousand|million|billion|half|third|quarter)\b)"
)
ASKS: tuple[tuple[AnswerKind, re.Pattern[str]], ...] = (
    (AnswerKind.REASON, re.compile(r"\bwhy\b|为什么|为何|原因|什么缘故", re.IGNORECASE)),
    (
        AnswerKind.NUMBER,
        re.compile(
            r"\bhow (?:many|much|long|far|tall|high|old|large|big|fast|deep|wide|heavy|often)\b|"
            r"\bwhat (?:percent|number|amount|proportion|size|population)|"
            r"多少|几(?!乎|何)|多大|多高|多长|多远|多重|多久|多深|多快|多宽|人数|面积",
            re.IGNORECASE,
        ),
    ),
    (
        AnswerKind.TIME,
        re.compile(
            r"\bwhen\b|\b(?:what|which) (?:year|date|day|month|decade|century|time)\b|什么时候|何时|"
            r"哪一?[年天日月]|哪个月|时间|日期|什么年代|哪个世纪|几[年月日点]",
            re.IGNORECASE,
        ),
    ),
    (AnswerKind.PERSON, re.compile(r"\bwho(?:se|m)?\b|谁|哪位|何人|什么人|哪些人", re.IGNORECASE)),
    (
        AnswerKind.PLACE,
        re.compile(
            r"\bwhere\b|\b(?:what|which) (?:city|country|state|place)\b|"
            r"哪里|何处|何地|什么地方|哪个?[国省市县城]|位于哪",
            re.IGNORECASE,
        ),
    ),
)
HOLDS: dict[AnswerKind, re.Pattern[str]] = {
    AnswerKind.NUMBER: re.compile(NUMERAL, re.IGNORECASE),
    AnswerKind.TIME: re.compile(
        r"\d{3,4}(?!\d)|\d\s*[年月日点时]|[一二三四五六七八九十〇零]+[年月日]|世纪|年间|年代|"
        r"\b(?:January|February|March|April|May|June|July|August|September|October|November|December|century|"
        r"Monday|Tuesday|Wednesday|Thursday|Friday|Saturday|Sunday|noon|midnight|o'clock|a\.m\.|p\.m\.)\b|\d:\d\d"
    ),
    AnswerKind.PERSON: re.compile(
        r"(?<=[a-z,;] )[A-Z][a-z]+|^[A-Z]\w+ [A-Z]|[·•]|先生|女士|教授|医生|经理|主任|导演|皇帝|公司|由"
    ),
    AnswerKind.PLACE: re.compile(
        r"\b(?:in|at|near|from|of|to) (?:the )?[A-Z]|[省市县区州镇乡村路街国岛山河湖海]|位于|坐落"
    ),
    AnswerKind.REASON: re.compile(
        r"因为|由于|因此|所以|为了|导致|使得|原因|造成|引起|以免|避免|"
        r"\b(?:because|due to|owing to|since|so that|in order to|as a result|reasons?|cause[sd]?|explain(?:s|ed)?|"
        r"led to|to avoid|to prevent)\b",
        re.IGNORECASE,
    ),
}


def check_question(question: str, longest: int) -> str:
    """The question without white space at its ends.

    Raises InvalidInput (`question_empty`, `question_too_long`).
    """
    trimmed = question.strip()
    if not trimmed:
        raise InvalidInput("question_empty", "the question is empty")
    if len(trimmed) > longest:
        raise InvalidInput("question_too_long", f"the question has {len(trimmed)} characters, the limit is {longest}")
    return trimmed


def choose_language(question: str, wanted: Literal["auto", "zh", "en"] = "auto") -> Language:
    """The language to answer in: the one asked for, else that of the question's own words around names and codes."""
    if wanted != "auto":
        return wanted
    if not HAN.search(question):
        return "en"
    han = len(HAN_FUNCTION.findall(fold_han(question)))
    latin = sum(word in STOPWORDS for word in re.findall(r"[a-z]+", question.lower()))
    return "zh" if han >= latin else "en"


def _fold(text: str) -> str:
    return fold_han(unicodedata.normalize("NFKC", text).lower())


def list_terms(text: str) -> set[str]:
    """Content terms: Han bigrams (a lone Han character itself) and stems of words, function words left out."""
    folded = _fold(text)
    terms: set[str] = set()
    for run in re.findall(rf"{HAN.pattern}+", HAN_FUNCTION.sub(" ", folded)):
        terms.update(run[i : i + 2] for i in range(len(run) - 1)) if len(run) > 1 else terms.add(run)
    for word in WORD.findall(HAN.sub(" ", folded)):
        parts = PART.findall(word)
        terms.update(find_stem(part) for part in {word, *parts} if part not in STOPWORDS)
    return terms


def list_matchable(text: str) -> set[str]:
    """Terms of a text that questions are matched against: every Han bigram and character, every stem."""
    folded = _fold(text)
    terms: set[str] = set()
    for run in re.findall(rf"{HAN.pattern}+", folded):
        terms.update(run)
        terms.update(run[i : i + 2] for i in range(len(run) - 1))
    for word in WORD.findall(HAN.sub(" ", folded)):
        terms.update(find_stem(part) for part in {word, *PART.findall(word)})
    return terms


def find_kind(question: str) -> AnswerKind:
    folded = fold_han(question)
    return next((kind for kind, pattern in ASKS if pattern.search(folded)), AnswerKind.OTHER)


def holds_kind(text: str, kind: AnswerKind) -> bool:
    """Whether something of that kind may stand in `text`; a hint, made to be cheap."""
    pattern = HOLDS.get(kind)
    return bool(pattern and pattern.search(fold_han(text)))
