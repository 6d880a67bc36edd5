"""What a Word document says beside its words: which paragraphs are headings, and the numbers that Word puts before
them and before items of lists."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

NUMBERS = "numbering"  # how the part of the lists is related to the document

_W = "{http://schemas.openxmlformats.org/wordprocessingml/2006/main}"
_HEADING = re.compile(
    r"(?:heading|标题|標題|見出し|제목|überschrift|titre|título|titolo|kop|rubrik|заголовок)\s*([1-9])", re.IGNORECASE
)
_TITLE = re.compile(r"title|标题|標題|文档标题|表題", re.IGNORECASE)
_BODY_LEVEL = 9  # of an outline: text
_MOST_STEPS = 20  # a style is based on another, which is based on another; in a broken file on itself
_DEEPEST = 9
_PLACE = re.compile(r"%([1-9])")
_BULLET = "- "
_LARGEST = 9_999
_HAN_DIGITS = "〇一二三四五六七八九"
_CIRCLED = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class ParagraphStyle:
    """`level` of a heading, 0 for text; `list_id` and `depth` of the list it belongs to by itself, "" without one."""

    level: int = 0
    list_id: str = ""
    depth: int = 0


@dataclass(frozen=True, kw_only=True, slots=True)
class _Level:
    start: int
    form: str
    pattern: str


@dataclass(frozen=True, kw_only=True, slots=True)
class _List:
    """Lists of one `kind` go on counting where the last one ended, but for those that start anew."""

    kind: str
    levels: Mapping[int, _Level]
    starts_anew: bool


def read_value(element: Element | None) -> str:
    return (element.get(_W + "val") or "") if element is not None else ""


class Styles:
    """Heading levels by outline level or by name: Word writes English names, other programs their own language's."""

    def __init__(self, root: Element) -> None:
        self._styles = {style.get(_W + "styleId") or "": style for style in root.iterchildren(_W + "style")}
        self._default = next(
            (
                key
                for key, style in self._styles.items()
                if style.get(_W + "default") in {"1", "true"} and style.get(_W + "type") == "paragraph"
            ),
            "",
        )
        self._known: dict[str, ParagraphStyle] = {}

    def find(self, paragraph: Element) -> ParagraphStyle:
        properties = paragraph.find(_W + "pPr")
        if properties is None:
            return self._resolve(self._default)
        style = self._resolve(read_value(properties.find(_W + "pStyle")) or self._default)
        level = _read_outline(properties)
        list_id, depth = _read_list(properties)
        return ParagraphStyle(
            level=style.level if level is None else level,
            list_id=list_id or style.list_id,
            depth=depth if list_id else style.depth,
        )

    def _resolve(self, key: str) -> ParagraphStyle:
        if key not in self._known:
            self._known[key] = self._follow(key)
        return self._known[key]

    def _follow(self, key: str) -> ParagraphStyle:
        """A style and those it is based on; the nearest that says something counts."""
        level: int | None = None
        list_id, depth = "", 0
        for _ in range(_MOST_STEPS):
            style = self._styles.get(key)
            if style is None:
                break
            properties = style.find(_W + "pPr")
            if level is None:
                level = _name_level(read_value(style.find(_W + "name")))
            if properties is not None:
                level = _read_outline(properties) if level is None else level
                if not list_id:
                    list_id, depth = _read_list(properties)
            key = read_value(style.find(_W + "basedOn"))
        return ParagraphStyle(level=level or 0, list_id=list_id, depth=depth)


class Numbering:
    """Counts the lists of a document in reading order."""

    def __init__(self, root: Element | None) -> None:
        self._lists = _read_lists(root) if root is not None else {}
        self._counts: defaultdict[str, dict[int, int]] = defaultdict(dict)
        self._begun: set[str] = set()

    def count(self, style: ParagraphStyle) -> str:
        """What Word shows before the paragraph, with a space behind it: `1.1 `, `第三条 `, `- ` for a bullet, or ""."""
        of = self._lists.get(style.list_id)
        level = of.levels.get(style.depth) if of else None
        if of is None or level is None:
            return ""
        counts = self._counts[of.kind]
        if of.starts_anew and style.list_id not in self._begun:
            counts.clear()
        self._begun.add(style.list_id)
        counts[style.depth] = counts.get(style.depth, level.start - 1) + 1
        for deeper in [depth for depth in counts if depth > style.depth]:
            del counts[deeper]
        if level.form == "bullet":
            return "" if style.level else _BULLET

        def write(place: re.Match[str]) -> str:
            depth = int(place[1]) - 1
            shown = of.levels.get(depth, level)
            return write_number(counts.get(depth, shown.start), shown.form)

        mark = _PLACE.sub(write, level.pattern).strip()
        return mark + " " if mark else ""


def write_number(number: int, form: str) -> str:
    """`number` in one of Word's forms; in Arabic digits for those that are not known here."""
    if not 0 < number <= _LARGEST:
        return str(number)
    match form:
        case "none":
            return ""
        case "upperLetter" | "lowerLetter":
            letter = chr(ord("A") + (number - 1) % 26) * ((number - 1) // 26 + 1)
            return letter if form == "upperLetter" else letter.lower()
        case "upperRoman" | "lowerRoman":
            return _write_roman(number) if form == "upperRoman" else _write_roman(number).lower()
        case "chineseCounting" | "chineseCountingThousand" | "ideographDigital" | "taiwaneseCountingThousand":
            return _write_han(number)
        case "japaneseCounting" | "taiwaneseCounting":
            return _write_han(number)
        case "decimalEnclosedCircle" | "decimalEnclosedCircleChinese" if number <= _CIRCLED:
            return chr(ord("①") + number - 1)
        case "decimalZero":
            return f"{number:02}"
    return str(number)


def _write_roman(number: int) -> str:
    written = ""
    for value, letters in (
        *((1000, "M"), (900, "CM"), (500, "D"), (400, "CD"), (100, "C"), (90, "XC"), (50, "L"), (40, "XL")),
        *((10, "X"), (9, "IX"), (5, "V"), (4, "IV"), (1, "I")),
    ):
        written += letters * (number // value)
        number %= value
    return written


def _write_han(number: int) -> str:
    """Up to 9,999: 十, 十一, 二十, 一百零五."""
    written, gap = "", False
    for value, unit in ((1000, "千"), (100, "百"), (10, "十"), (1, "")):
        digit, number = divmod(number, value)
        if digit:
            written += ("零" if gap else "") + _HAN_DIGITS[digit] + unit
            gap = False
        else:
            gap = bool(written)
    return written.removeprefix("一") if written.startswith("一十") else written


def _name_level(name: str) -> int | None:
    found = _HEADING.fullmatch(name.strip())
    if found:
        return int(found[1])
    return 1 if _TITLE.fullmatch(name.strip()) else None


def _read_outline(properties: Element) -> int | None:
    """0 for one that is expressly text, None for one that does not say."""
    level = read_value(properties.find(_W + "outlineLvl"))
    if not level.isdecimal():
        return None
    return int(level) + 1 if int(level) < _BODY_LEVEL else 0


def _read_list(properties: Element) -> tuple[str, int]:
    """The list's id, "" for none, and how deep in it."""
    numbers = properties.find(_W + "numPr")
    if numbers is None:
        return "", 0
    depth = read_value(numbers.find(_W + "ilvl"))
    return read_value(numbers.find(_W + "numId")), min(int(depth), _DEEPEST) if depth.isdecimal() else 0


def _read_lists(root: Element) -> Mapping[str, _List]:
    """By the id that paragraphs name. A list names the abstract one it follows."""
    abstract = {
        one.get(_W + "abstractNumId") or "": dict(_read_level(level) for level in one.iterchildren(_W + "lvl"))
        for one in root.iterchildren(_W + "abstractNum")
    }
    lists: dict[str, _List] = {}
    for one in root.iterchildren(_W + "num"):
        kind = read_value(one.find(_W + "abstractNumId"))
        starts_anew = one.find(f"{_W}lvlOverride/{_W}startOverride") is not None
        lists[one.get(_W + "numId") or ""] = _List(kind=kind, levels=abstract.get(kind, {}), starts_anew=starts_anew)
    return lists


def _read_level(level: Element) -> tuple[int, _Level]:
    depth, start = level.get(_W + "ilvl") or "0", read_value(level.find(_W + "start"))
    return int(depth) if depth.isdecimal() else 0, _Level(
        start=int(start) if start.isdecimal() and len(start) < _DEEPEST else 1,
        form=read_value(level.find(_W + "numFmt")),
        pattern=read_value(level.find(_W + "lvlText")),
    )
