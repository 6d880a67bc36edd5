"""Where sentences end: the rules for each mark, Chinese and English, in one pass over the text.

A full-width mark ends a sentence unless its quotation goes on ("……？”他说。") or it stands in a title (《你好！明天》);
an ASCII mark only where it is no abbreviation, decimal, initial, address, ellipsis or list number. Work for each mark
is bounded, so that cost is linear whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

CLOSERS = "”’」』】》〉）)\\]}\"'»］｝〕〗*_"
FULL_MARKS = "。！？；…｡‼⁇⁈⁉"
QUOTES = frozenset("”’」』\"'")
OPENERS = frozenset("“‘「『《（(\"'[")
SPEAKING = (
    r"(?<![小听传据聽傳據])[说說説]|(?<![知难味街频渠报通難頻報])道"
    r"|(?<![学访疑慰顾學訪顧])[问問]|(?<!问)答|[喊叫嚷吼骂罵]"
)
TELLING = (
    r"表示|指出|[强強][调調]|[认認][为為]|提醒|透露|坦言|感[叹嘆慨]|介[绍紹]|解[释釋]|[补補]充|建[议議]|回[忆憶]"
    r"|(?<![名职简人職簡])[称稱]"
)
# Behind a closing quote: who said it, or a word that makes the quotation part of a longer sentence.
QUOTE_GOES_ON = re.compile(
    rf"(?!据|據|会议|會議)[\u3400-\u9fff·\w]{{0,30}}?(?:(?:{SPEAKING})[着著]?(?=[。.！!；;]|[，,][“「『\"])|(?:{TELLING})(?=。))"
    r"|的|之|等|而已|云云|[一二两兩三四五六七八九十几幾][个個种種句词詞语語番]"
)
SPEAKER = re.compile(
    r"\s(?:I|(?!He |She |They |We |You |It |The )(?:(?:Mr|Mrs|Ms|Dr)\.? )?[A-Z][\w'’-]{1,20}(?: [A-Z][\w'’-]{1,20})?) "
    r"(?:said|asked|cried|answered|replied|exclaimed|shouted|whispered|remarked|inquired|enquired|called|demanded|added)\b"
)
# Behind an ellipsis: the sentence has not ended.
ELLIPSIS_GOES_ON = frozenset("的等得却就才也都还又吧呢吗了么卻還嗎")
LAST_WORD = re.compile(r"[A-Za-z0-9\u00c0-\u024f.]*\Z")
DOTTED = re.compile(r"(?:[^\W\d_]\.)+[^\W\d_]\Z")
LEADING_NUMBER = re.compile(r"(?:\d{1,3}(?:\.\d{1,3})*|[ivxlc]{1,5}|[IVXLC]{1,5}|[A-Za-z])\Z")
ROMAN = re.compile(r"[IVXLC]+\Z")
TITLE_REACH = 24  # characters between 《 and a mark inside that title

# Never the end of a sentence, whatever follows.
TITLES = frozenset(
    """
    mr mrs ms dr prof st messrs mme mlle rev hon gen col capt cmdr lt maj sgt gov sen rep pres supt mt ft vs v cf viz
    e.g i.e eg ie approx
    """.split()  # noqa: SIM905  a list of seventy quoted words says less
)
# An abbreviation before a number only: "No. 5", "Fig. 2"; otherwise a plain word or the last one.
BEFORE_NUMBER = frozenset(
    """
    no nos fig figs sec secs vol vols ch p pp eq eqs art arts tab ed eds para pt sect cl c ca b d r
    """.split()  # noqa: SIM905
)
# May end a sentence: it does when a word follows that often begins one ("in the U.S. The …"); so with initials.
SELDOM_LAST = frozenset(
    "al appt dept est assn ave blvd rd jan feb mar apr jun jul aug sep sept oct nov dec univ misc tel ext".split()  # noqa: SIM905
)
# Does when any capital follows.
OFTEN_LAST = frozenset("etc inc ltd co corp jr sr bros a.m p.m am pm ph.d m.d b.c a.d".split())  # noqa: SIM905
BEGINNERS = frozenset(
    """
    The This That These Those It He She They We You I In On At But And Or So If When While After Before As For From With
    By Then There Here However Although Because Since What Who Where Why How Is Are Was Were Do Does Did No Not Yes His
    Her Its Their Our My Your One All Some Many Most Each Every Such Both Another Other Now Also Even Once Until Under
    Over During Despite Unlike Meanwhile Moreover Furthermore Finally Nevertheless Instead Let Perhaps Maybe A An To
    """.split()  # noqa: SIM905
)
# A capital that begins no sentence: "at 5 p.m. Monday", "9 a.m. EST".
AFTER_HOURS = frozenset(
    "Monday Tuesday Wednesday Thursday Friday Saturday Sunday EST EDT ET CST PST PDT GMT UTC BST".split()  # noqa: SIM905
)


ABBREVIATIONS = TITLES | BEFORE_NUMBER | SELDOM_LAST | OFTEN_LAST

# A mark with what closes behind it (quotes, brackets, an HTML tag, a reference "[3]"), and what follows.
END = re.compile(
    rf"[{FULL_MARKS}.!?](?:[{FULL_MARKS}.!?{CLOSERS}]|</\w{{1,9}}>|\[\w{{1,3}}\])*+"
    r"(?=(\s*)([“‘「『《（(\"'\[*_]*)(\w{0,12}))"
)


def is_han(char: str) -> bool:
    return "\u3400" <= char <= "\u9fff" or "\uf900" <= char <= "\ufaff"


def find_ends(text: str, marks: Iterable[int]) -> Iterator[int]:
    """Offsets just behind the last mark, closing quotes and brackets included, of the sentences that end at `marks`."""
    reached = 0
    for mark in marks:
        found = END.match(text, mark) if mark >= reached else None
        if found:
            reached = found.end()
            if ends_sentence(text, found):
                yield reached


def goes_on(text: str, end: int) -> bool:
    """Whether the sentence goes on behind a closing quote at `end`."""
    return QUOTE_GOES_ON.match(text, end) is not None


def ends_sentence(text: str, found: re.Match[str]) -> bool:
    """Whether the marks that END found end a sentence."""
    start, end = found.span()
    mark = text[start]
    if mark == "…" or text.startswith("...", start):
        return ends_after_ellipsis(text, found)
    if mark in FULL_MARKS:
        return ends_after_full_mark(text, found)
    space, opener, word = found.groups()
    if not space and end < len(text) and not may_follow_glued(text, start, end):
        return False
    if begins_small(word) and "\n" not in space and (not opener or opens_aside(text, found)):
        return False  # "Yahoo! is", '"What?" he said', "Stop. (see below)"
    if mark == ".":
        return not is_abbreviation(text, start, word)
    return not (text[end - 1] in QUOTES and SPEAKER.match(text, end))


def may_follow_glued(text: str, start: int, end: int) -> bool:
    """Whether what follows the marks `text[start:end]` without a space may begin a sentence."""
    after = text[end]
    if not is_han(after) and after not in OPENERS:
        return False
    if text[start] == ".":
        return text[start - 1 : start].isalpha()
    return "://" not in text[max(0, start - 64) : start].rpartition(" ")[2]


def opens_aside(text: str, found: re.Match[str]) -> bool:
    """Whether a bracket opens behind the marks, and not around a list number: "(iii) Then …"."""
    return found[2] == "(" and text[found.end(3) : found.end(3) + 1] != ")"


def begins_small(word: str) -> bool:
    """A small letter first, and not as in iPhone."""
    return word[:1].islower() and not word[1:2].isupper()


def ends_after_full_mark(text: str, found: re.Match[str]) -> bool:
    start, end = found.span()
    if text[end - 1] in QUOTES:
        space, _, word = found.groups()
        if space:
            return not (word.isascii() and begins_small(word))
        return not goes_on(text, end)
    if text[start] in "！？":
        title = text.rfind("《", max(0, start - TITLE_REACH), start)
        return title < 0 or text.find("》", title, start) >= 0 or text.find("》", end, end + TITLE_REACH) < 0
    return True


def ends_after_ellipsis(text: str, found: re.Match[str]) -> bool:
    """In Chinese an ellipsis closes unless the next word says otherwise; in English it may stand anywhere."""
    start, end = found.span()
    space, _, word = found.groups()
    quoted = text[end - 1] in QUOTES
    if is_han(text[start - 1 : start]) or is_han(word[:1]):
        if quoted:
            return ends_after_full_mark(text, found)
        return bool(space) or word[:1] not in ELLIPSIS_GOES_ON
    if text.startswith("....", start):
        return bool(space) or end == len(text)
    glued = not text[start - 1 : start].isspace()
    return glued and (end == len(text) or (bool(space) and not begins_small(word) and word != "I"))


def is_abbreviation(text: str, dot: int, follower: str) -> bool:
    """Whether the full stop at `dot` belongs to an abbreviation, an initial or a list number."""
    found = LAST_WORD.search(text, max(0, dot - 12), dot)
    word = found.group() if found else ""
    if not word or len(word) > 8:
        return False
    lower = word.lower()
    if lower in TITLES:
        return True
    if lower in BEFORE_NUMBER and (follower[:1].isdigit() or (ROMAN.match(follower) and follower != "I")):
        return True
    if LEADING_NUMBER.match(word) and starts_line(text, dot - len(word)):
        return True
    if lower in OFTEN_LAST:
        return not follower[:1].isupper() or follower in AFTER_HOURS
    initial = len(word) == 1 and word.isupper() and word != "I"
    return (initial or lower in SELDOM_LAST or DOTTED.match(word) is not None) and follower not in BEGINNERS


def starts_line(text: str, position: int) -> bool:
    """Whether only blanks and markup stand between the line's start and `position` (looking back a short way)."""
    return text[max(0, position - 12) : position].rpartition("\n")[2].strip(" \t\u3000>#*_(-") == "" and (
        position <= 12 or "\n" in text[position - 12 : position]
    )
