"""Lines of a PDF page to paragraphs.

A PDF knows where glyphs stand, not where a paragraph ends. A line is taken to run on into the next one when it is about
as wide as the lines around it and nothing says otherwise: no list mark, table row, code line or heading begins or ends
there. Lines that are not joined stay lines, so that rows of tables and items of lists are kept.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from ingest.loaders.pdf_outline import normalise_title

_CJK = "\u2e80-\u303f\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\uff00-\uff65“”‘’…—"
_WIDE = re.compile("[\u2e80-\u9fff\uf900-\ufaff\uff00-\uff60]")
_CJK_END = re.compile(f"[{_CJK}]$")
_CJK_START = re.compile(f"^[{_CJK}]")
_LATIN_START = re.compile("^[a-z]")

_SENTENCE_END = re.compile("[.!?。！？：:；;][”’\"')）】」]*$")
_LIST_START = re.compile(
    r"[•●○■□◆◇▪►▶·※★☆✓➢➤\ue000-\uf8ff]|[-–—*]\s|//|"
    r"[(（]?(?:\d{1,3}|[a-zA-Z]|[ivxIVX]{1,4}|[一二三四五六七八九十]{1,3})[)）、]|\d{1,3}(?:\.\d{1,3}){1,4}[.．]?\s|\d{1,3}[.．](?!\d)|"
    r"[①-⑳]|第\s*[\d一二三四五六七八九十百零]{1,6}\s*[章节節条條部编編篇款]|"
    r"(?:附录|附件|附表|表|图|圖|注|说明|正例|反例)\s*[\d一二三四五六七八九十A-Z:：]|(?:Table|Figure|Fig\.|Item|Section|Chapter|Note)\s+\d"
)
_NUMBER_START = re.compile(r"\d{1,3}\s")  # an item of a list, or a number in the middle of a sentence
_CAPTION = re.compile(r"[表图圖]\s*\d.{0,40}$")
_CODE_END = re.compile(r"[{}]$|\)?;$")
_LEADERS = re.compile(r"\.{5,}|…{3,}|(?:\. ){4,}")
_NUMBERS = re.compile(r"(?:^|\s)[-+($￥¥]*\d[\d,.%)]*(?=\s|$)")
_AMOUNT = r"(?:[$￥¥]\s*)?[-+(]*\d[\d,.]*(?<![,.])[%)]*"
_ROW_END = re.compile(rf"(?<!\S)(?P<one>{_AMOUNT})\s+(?P<two>{_AMOUNT})$")
_FIGURE = re.compile(r"[,.]\d|[($%￥¥]")

# pdfium puts one of these where a word was cut at the end of a line, and takes the line end away; "\u00ad\n" brings it
# back, so that lines keep their width, until `join_lines` glues the word together.
_LINE_END = re.compile("[\x02\ufffe\u00ad]\\s*|\r\n|[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]|\\Z")
_CUT = "\u00ad"
_CUTS = ("\x02", "\ufffe", _CUT)
_SPACED_HAN = re.compile("(?<![\u4e00-\u9fff])(?:[\u4e00-\u9fff][ \u3000]+){2,}[\u4e00-\u9fff](?![\u4e00-\u9fff])")
_SPACED_PAIR = re.compile("^([\u4e00-\u9fff])[ \u3000]+([\u4e00-\u9fff])$")
_SPACE_AT_MARK = re.compile(
    "(?<=[，。：；！？、）】》”’]) +(?=[\u4e00-\u9fff（【《“‘])|(?<=[\u4e00-\u9fff]) +(?=[，。：；！？、）】》])"
)
_COMPATIBILITY = re.compile("[\u2e80-\u2fdf\ufb00-\ufb06]")
# Radicals that printing browsers put in place of the character they look like; Unicode has no folding for them.
_RADICALS = dict(
    zip(
        "⺠⺟⻁⻄⻅⻆⻉⻋⻓⻔⻘⻙⻚⻛⻜⻝⻢⻣⻤⻥⻦⻨⻩⻬⻮⻰⻳",
        "民母虎西见角贝车长门青韦页风飞食马骨鬼鱼鸟麦黄齐齿龙龟",
        strict=True,
    )
)

_AROUND = 3  # lines before and after that a line's width is compared with
_LEAST_WIDTH = 24
_FULL_LATIN = 0.72  # ragged right margins
_FULL_HAN = 0.86  # Chinese lines are justified
_FULL_AFTER_END = 0.93  # after a sentence end, or before a number, only a line that fills the measure runs on
_ROW_NUMBERS = 3
_ROW_DIGITS = 0.35
_COPIES = re.compile(r"(.{3,60}?)\1{2,}")


@dataclass(frozen=True, kw_only=True, slots=True)
class LineSpan:
    """A line as a reader sees it, and where it stands in the library's text: `[start, end)`."""

    text: str
    start: int
    end: int


def clean_line(line: str) -> str:
    """One line as a reader sees it: radicals and ligatures folded, spaced Han closed up, fake bold kept once."""
    line = _COMPATIBILITY.sub(_fold_compatible, line.strip())
    line = _SPACED_HAN.sub(lambda found: re.sub("[ \u3000]+", "", found[0]), line)
    line = _SPACED_PAIR.sub(r"\1\2", line)
    line = _SPACE_AT_MARK.sub("", line)
    copies = _COPIES.fullmatch(line) if len(line) <= 400 else None
    if copies and any(character.isalpha() for character in copies[1]):
        return copies[1]
    return line


def split_lines(text: str) -> list[LineSpan]:
    """The clean, non-empty lines of a page as the PDF library gives it; one that ends inside a word ends in U+00AD."""
    lines = [span for span in _iter_spans(text) if span.text]
    texts = [span.text for span in lines]
    return [span for index, span in enumerate(lines) if not _is_fourth_copy(texts, index)]


def join_lines(lines: Sequence[str], titles: AbstractSet[str], fills: Sequence[float] | None = None) -> str:
    """Paragraphs, rows and headings, one a line. Lines whose `normalise_title` is in `titles` are never joined.

    `fills` tell of each line but the last how much of its column it fills, from -1 (never joined) to 1; without them it
    is compared with the lines around it.
    """
    if not lines:
        return ""
    if fills is None:
        fills = _estimate_fills(lines)
    apart = [_stands_alone(line) or (bool(titles) and normalise_title(line) in titles) for line in lines]
    parts = [lines[0]]
    for index in range(1, len(lines)):
        above, line = lines[index - 1], lines[index]
        if above.endswith(_CUT):
            parts[-1] = above[:-1]
            if fills[index - 1] < 0:
                parts.append("\n")
        elif apart[index - 1] or apart[index] or not _runs_on(above, line, fills[index - 1]):
            parts.append("\n")
        elif not _joins_closely(above, line):
            parts.append(" ")
        parts.append(line)
    parts[-1] = parts[-1].removesuffix(_CUT)
    return "".join(parts)


def _iter_spans(text: str) -> Iterator[LineSpan]:
    start = 0
    for found in _LINE_END.finditer(text):
        cut = _CUT if found[0][:1] in _CUTS else ""
        yield LineSpan(text=clean_line(text[start : found.start()] + cut), start=start, end=found.start())
        start = found.end()


def _fold_compatible(found: re.Match[str]) -> str:
    return _RADICALS.get(found[0]) or unicodedata.normalize("NFKC", found[0])


def _is_fourth_copy(lines: Sequence[str], index: int) -> bool:
    """True for the second and later of four or more equal lines in a row: a heading drawn again for boldness."""
    line = lines[index]
    if index == 0 or lines[index - 1] != line or sum(map(str.isalpha, line)) < 4:
        return False
    first, last = index, index
    while first > 0 and index - first < 4 and lines[first - 1] == line:
        first -= 1
    while last + 1 < len(lines) and last - index < 4 and lines[last + 1] == line:
        last += 1
    return last - first >= 3


def _stands_alone(line: str) -> bool:
    """A table row, an entry of a table of contents, or a line of code."""
    if line.isdigit() or _LEADERS.search(line) or _CODE_END.search(line) or _CAPTION.match(line):
        return True
    row = _ROW_END.search(line)
    if row is not None and (_FIGURE.search(row["one"]) or _FIGURE.search(row["two"])):
        return True
    numbers = len(_NUMBERS.findall(line))
    if numbers < 2:
        return False
    if numbers >= _ROW_NUMBERS and numbers * 4 >= len(line.split()) + len(_WIDE.findall(line)) // 2:
        return True
    return sum(map(str.isdigit, line)) > _ROW_DIGITS * len(line)


def _estimate_fills(lines: Sequence[str]) -> list[float]:
    # A Han character takes three bytes and is two wide, an ASCII one takes one byte and is one wide.
    widths = [(len(line) + len(line.encode())) // 2 for line in lines]
    return [_fill_share(widths, index) for index in range(len(lines) - 1)]


def _fill_share(widths: Sequence[int], index: int) -> float:
    """Width of a line as a share of the widest near it; 0 where lines are too narrow to tell."""
    widest = max(widths[max(0, index - _AROUND) : index + _AROUND + 1])
    return widths[index] / widest if widest >= _LEAST_WIDTH else 0.0


def _runs_on(above: str, line: str, share: float) -> bool:
    if _LIST_START.match(line):
        return False
    if _SENTENCE_END.search(above) or _NUMBER_START.match(line):
        return share >= _FULL_AFTER_END
    if _CJK_END.search(above) or _CJK_START.match(line):
        return share >= _FULL_HAN
    return share >= (0.5 if _LATIN_START.match(line) else _FULL_LATIN)


def _joins_closely(above: str, line: str) -> bool:
    """No space beside a Han character, nor after a hyphen that holds a compound together."""
    if _CJK_END.search(above) or _CJK_START.match(line):
        return True
    return above[-1] in "-\u2010–/" and above[-2:-1].isalnum() and (line[0].islower() or line[0].isdigit())
