"""The tree that trafilatura leaves of a page, written out as text with the places of its headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kb.text import clean_text
from kb.types import Heading

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_BLOCKS = frozenset(
    {"p", "head", "list", "item", "table", "row", "quote", "code", "div", "body", "ab", "lb", "fw", "main"}
)
_SPACES = re.compile(r"\s+")
# "Related: …", "Read more: …": the way to another page, in the middle of this one's text.
_POINTER = re.compile(
    r"(?:related|read more|相关阅读|相关新闻|延伸阅读|推荐阅读|更多阅读)\s?[:：]\s?.{1,200}(?<![.。!！])", re.IGNORECASE
)
_LONGEST_TITLE = 300  # it stands above each of its chunks, and may be the document's
_LEVEL = re.compile(r"h([1-6])")


@dataclass(frozen=True, kw_only=True, slots=True)
class HeadedText:
    text: str
    headings: tuple[Heading, ...]


@dataclass(slots=True)
class _Block:
    """One line of output, or several for code. `level` is that of a heading, 0 for anything else."""

    words: list[str]
    level: int = 0
    verbatim: bool = False

    def write(self) -> str:
        text = clean_text("".join(self.words))
        if self.verbatim:
            return "\n".join(line.rstrip() for line in text.split("\n")).strip("\n")
        return _SPACES.sub(" ", text).strip(" |")


def render_body(body: Element) -> HeadedText:
    """A line for each paragraph, heading, list item and table row (cells joined by " | "); code as it stands.

    Walks without recursion: the tree is a stranger's.
    """
    parts: list[str] = []
    headings: list[Heading] = []
    offset = 0
    for block in _iter_blocks(body):
        text = block.write()
        if not text or _POINTER.fullmatch(text):
            continue
        if block.level:
            title = text[:_LONGEST_TITLE].rstrip()
            headings.append(Heading(start=offset, end=offset + len(text), level=block.level, title=title))
        parts.append(text)
        offset += len(text) + 1
    return HeadedText(text="\n".join(parts), headings=tuple(headings))


def _iter_blocks(body: Element) -> Iterator[_Block]:
    from lxml.etree import iterwalk

    current = _Block(words=[])
    code = 0
    for event, element in iterwalk(body, events=("start", "end")):
        tag = element.tag
        if event == "start":
            if tag == "code" and _is_block_code(element):
                code += 1
            if tag in _BLOCKS and not (code and tag == "lb") and (tag != "code" or _is_block_code(element)):
                yield current
                current = _open_block(element, tag, verbatim=code > 0)
            elif tag == "lb":
                current.words.append("\n")
            current.words.append(element.text or "")
            continue
        if tag == "cell":
            current.words.append(" | ")
        elif tag in _BLOCKS and tag != "lb" and (tag != "code" or _is_block_code(element)):
            yield current
            code -= tag == "code"
            current = _Block(words=[], verbatim=code > 0)
        current.words.append(element.tail or "" if element is not body else "")
    yield current


def keep_lines(block: Element) -> None:
    """A `<pre>` as one block of code, whatever colours its words have: else its lines would run together."""
    from lxml.etree import SubElement, strip_elements

    for line_break in list(block.iter("br")):
        line_break.tail = "\n" + (line_break.tail or "")
    strip_elements(block, "script", "style", "template", with_tail=False)
    text, tail = "".join(block.itertext()), block.tail
    block.clear()
    block.tail = tail
    SubElement(block, "code").text = text


def _is_block_code(element: Element) -> bool:
    """Code of more than one line; a word in code font stays in its sentence."""
    return "\n" in (element.text or "").strip() or element.find(".//lb") is not None


def _open_block(element: Element, tag: str, *, verbatim: bool) -> _Block:
    if tag == "head":
        found = _LEVEL.fullmatch(element.get("rend") or "")
        return _Block(words=[], level=int(found[1]) if found else 2)
    if tag == "item":
        return _Block(words=["- "])
    return _Block(words=[], verbatim=verbatim)
