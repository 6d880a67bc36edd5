"""All text of a page of HTML or XHTML, not only its main content: chapters of books and bodies of mail are all content.

The page's own tree is turned into the one that `render_body` writes out.
"""

from __future__ import annotations

import re
from html import unescape
from typing import TYPE_CHECKING

from ingest.loaders.html import extract_everything
from ingest.loaders.html_markup import is_deep
from ingest.loaders.html_tree import HeadedText, render_body
from ingest.loaders.parsers import ask_parser

if TYPE_CHECKING:
    from lxml.etree import _Element as Element

_PROLOG = re.compile(r"\A\s*(?:<\?xml[^>]*\?>)?\s*(?:<!--.*?-->\s*)*(?:<!DOCTYPE[^>\[]*(?:\[.*?\]\s*)?>)?", re.DOTALL)
_XHTML = re.compile(r"<html[^>]*\sxmlns\s*=", re.IGNORECASE)
_NAMED = re.compile(r"&([A-Za-z][A-Za-z0-9]{1,31});")
_OF_XML = frozenset({"amp", "lt", "gt", "quot", "apos"})
_UNDER_NAMESPACE = re.compile(r"\{[^}]*\}")
_DROPPED = frozenset(
    {"head", "script", "style", "noscript", "template", "svg", "iframe", "object", "select", "textarea", "rt", "rp"}
)
_HIDDEN = re.compile(r"display\s*:\s*none|visibility\s*:\s*hidden", re.IGNORECASE)
_HEADINGS = {f"h{level}": f"h{level}" for level in range(1, 7)}
_AS = {
    **dict.fromkeys(("br", "hr"), "lb"),
    "li": "item",
    **dict.fromkeys(("td", "th"), "cell"),
    "tr": "row",
    "blockquote": "quote",
    **dict.fromkeys(
        ("p", "section", "article", "header", "footer", "nav", "aside", "figure", "figcaption", "address", "center"),
        "p",
    ),
    **dict.fromkeys(
        ("ul", "ol", "dl", "dt", "dd", "table", "caption", "tbody", "thead", "tfoot", "main", "body"), "div"
    ),
}
_OUTSIDE_CELLS = ("table", "ul", "ol", "dl", "pre", "h1", "h2", "h3", "h4", "h5", "h6")


def extract_whole(markup: str) -> HeadedText:
    """Every paragraph, heading, list item and table row of the page. `markup` is clean text.

    Raises DocumentFailed (`parse_limit`).
    """
    body = None if is_deep(markup) else _parse_body(markup)
    return extract_everything(markup) if body is None else render_body(_translate(body))


def _parse_body(markup: str) -> Element | None:
    """The body, tags without namespace; None when neither parser finds one."""
    from lxml.etree import HTML, HTMLParser, XMLParser, fromstring

    markup = _PROLOG.sub("", markup, count=1)
    options = {"remove_comments": True, "remove_pis": True, "no_network": True}
    root: Element | None = None
    if _XHTML.search(markup[:2000]):  # where `<title/>` is a whole element; for HTML it begins one that never ends
        named = _NAMED.sub(_write_named, markup)
        root = ask_parser(lambda: fromstring(named, XMLParser(resolve_entities=False, **options)))
    if root is None:
        root = ask_parser(lambda: HTML(markup, HTMLParser(**options)))
    for element in root.iter() if root is not None else ():
        if isinstance(element.tag, str):
            element.tag = _UNDER_NAMESPACE.sub("", element.tag).lower()
    return root.find("body") if root is not None else None


def _write_named(found: re.Match[str]) -> str:
    return found[0] if found[1] in _OF_XML else unescape(found[0])


def _translate(body: Element) -> Element:
    """The same tree in the words of `render_body`."""
    for element in list(body.iter()):
        tag = element.tag
        if not isinstance(tag, str):
            element.tag = "hi"
        elif element is not body and (tag in _DROPPED or _is_hidden(element)):
            _empty(element)
        elif tag == "tr" and not _is_row(element):
            element.tag = "div"
            for cell in element:
                cell.tag = "div"
    for element in list(body.iter()):
        _rename(element)
    return body


def _rename(element: Element) -> None:
    tag = str(element.tag)
    if tag in _HEADINGS:
        element.tag = "head"
        element.set("rend", tag)
    elif tag == "tr":
        _flatten_cells(element)
        element.tag = "row"
    elif tag == "pre":
        _join_lines(element)
    elif tag == "code":
        element.tag = "hi"  # a word in a sentence
    elif tag in _AS:
        element.tag = _AS[tag]


def _flatten_cells(row: Element) -> None:
    """Paragraphs in a cell would end the row's line."""
    for cell in row:
        for inner in cell.iterdescendants():
            inner.tag = "hi"
            inner.text = " " + (inner.text or "")


def _join_lines(code: Element) -> None:
    text, tail = "".join(code.itertext()), code.tail
    code.clear()
    code.text, code.tail, code.tag = text, tail, "code" if "\n" in text.strip() else "p"


def _is_row(row: Element) -> bool:
    """Cells beside each other; a table that only lays out a page has one in a row, or whole tables in them."""
    cells = [cell for cell in row if cell.tag in {"td", "th"}]
    filled = sum(bool("".join(cell.itertext()).strip()) for cell in cells)
    return filled > 1 and not any(next(cell.iter(*_OUTSIDE_CELLS), None) is not None for cell in cells)


def _is_hidden(element: Element) -> bool:
    return element.get("hidden") is not None or _HIDDEN.search(element.get("style") or "") is not None


def _empty(element: Element) -> None:
    """Nothing of it, but what follows it."""
    tail = element.tail
    element.clear()
    element.tail = tail
    element.tag = "hi"
