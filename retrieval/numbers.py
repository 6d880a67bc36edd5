"""The numbers that a text names, as values: `4,200` and `四千二百` are one, and so are `twelve` and `12`."""

from __future__ import annotations

import re
import unicodedata

from retrieval.han import fold_han

DIGITS = {character: value for value, character in enumerate("零一二三四五六七八九")} | {"〇": 0, "两": 2}
UNITS = {"十": 10, "百": 100, "千": 1_000}
MYRIADS = {"万": 10_000, "亿": 100_000_000}
LONGEST = 24  # characters or words of one number
HAN_RUN = re.compile(rf"(?<!\d)[{''.join((*DIGITS, *UNITS, *MYRIADS))}]{{1,{LONGEST}}}")
# 一 and lone units stand in too many words that count nothing: 一般, 十分, 千万.
COUNTS = r"[年月日号天周点时秒个名位人次元块角米里斤克吨岁座条种项家所部集章倍张台套间层页本度折届期艘辆]"
LATIN = re.compile(r"\d+(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?")
ONES = [
    "zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten", "eleven", "twelve",
    "thirteen", "fourteen", "fifteen", "sixteen", "seventeen", "eighteen", "nineteen",
]  # fmt: skip
TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
WORDS = dict(zip(ONES, range(20), strict=True)) | dict(zip(TENS, range(20, 100, 10), strict=True))
SCALES = {"hundred": 100, "thousand": 1_000, "million": 1_000_000, "billion": 1_000_000_000}
NAMES = "|".join((*WORDS, *SCALES))
WORD_RUN = re.compile(rf"\b(?:{NAMES})(?:(?:[\s-]+(?:and\s+)?)(?:{NAMES})){{0,{LONGEST}}}\b")


def list_numbers(text: str) -> set[float]:
    """Every number in `text`, whatever it is written with; parts of dates and times by themselves."""
    folded = _fold(text)
    words = {value for run in WORD_RUN.findall(folded) for value in _read_words(run)}
    return _read_latin(folded) | words | {_read_han(match.group()) for match in HAN_RUN.finditer(folded)}


def list_claimed_numbers(text: str) -> set[float]:
    """The same without what may be no number: `one`, 一 in 一般, 十 in 十分."""
    folded = _fold(text)
    words = {value for run in WORD_RUN.findall(folded) for value in _read_words(run) if run not in {"one", "zero"}}
    counted = {
        _read_han(match.group())
        for match in HAN_RUN.finditer(folded)
        if match.group() != "一"
        and (
            (re.match(COUNTS, folded[match.end() :]) and not set(match.group()) <= set("千万百亿"))
            or len(set(match.group()) - set("千万百亿")) > 1
        )
    }
    return _read_latin(folded) | words | counted


def _fold(text: str) -> str:
    return fold_han(unicodedata.normalize("NFKC", text).lower())


def _read_latin(text: str) -> set[float]:
    found = set()
    for match in LATIN.finditer(text):
        value = float(match.group().replace(",", ""))
        unit = text[match.end() : match.end() + 2].lstrip()[:1]
        found.add(value * MYRIADS.get(unit, 1))
    return found


def _read_han(run: str) -> float:
    """一百六十 is 160, 二〇二四 is 2024, 一万二 is 12,000."""
    if len(run) > 1 and not set(run) & (UNITS.keys() | MYRIADS.keys()):
        return float("".join(str(DIGITS[character]) for character in run))
    for myriad in ("亿", "万"):
        before, mark, after = run.rpartition(myriad)
        if mark:
            scale = MYRIADS[myriad]
            lone = DIGITS.get(after, 0) * scale / 10 if len(after) == 1 else None  # 一万二
            return (_read_han(before) if before else 1.0) * scale + (
                lone if lone is not None else _read_han(after or "零")
            )
    return float(_read_section(run))


def _read_section(run: str) -> int:
    """Below 10,000."""
    total, digit, last = 0, 0, 1
    for character in run:
        if character in DIGITS:
            digit = DIGITS[character]
            last = last if digit else 1  # 一百零五
        else:
            last = UNITS[character]
            total, digit = total + (digit or 1) * last, 0
    return total + digit * max(1, last // 10)


def _read_words(run: str) -> list[float]:
    """`four thousand two hundred` is one number, `nineteen twenty` are two."""
    values: list[float] = []
    total, part, before = 0, 0, ""
    for word in re.split(r"[\s-]+", run):
        if word == "and":
            continue
        if word in SCALES:
            part = (part or 1) * SCALES[word]
            if SCALES[word] > 100:
                total, part = total + part, 0
        elif before in WORDS and not (before in TENS and 0 < WORDS[word] < 10):
            values.append(float(total + part))
            total, part = 0, WORDS[word]
        else:
            part += WORDS[word]
        before = word
    return [*values, float(total + part)]
