"""Web pages: the main content as text, with its headings.

trafilatura finds the main content best; resiliparse stands in where it finds nothing, or where a page is so large or so
deeply nested that it would be slow (libxml2 drops what is nested deeper than 256, resiliparse does not).
"""

from __future__ import annotations

import re
from html import unescape
from pathlib import Path

from ingest.loaders.decoding import decode_as
from ingest.loaders.html_tree import HeadedText, render_body
from ingest.loaders.limits import LoadLimits
from ingest.loaders.plain import check_has_text, whole_page
from kb.errors import DocumentFailed
from kb.text import clean_text, detect_language
from kb.types import Heading, ParsedDocument

_META_CHARSET = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([\w.:-]{2,30})", re.IGNORECASE)
_META_WITHIN = 4096
_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]{0,15})(?=[\s/>])[^>]{0,2000}?(/?)>")
_VOID = frozenset(
    {
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "td",
        "tr",
        "th",
        "dt",
        "dd",
        "option",
    }
)
# Parsers look for each attribute among those before it: a tag of a million takes them minutes.
_LONG_TAG = re.compile(r"<[a-zA-Z][^<>]{100000,}")
_MOST_ATTRIBUTES = 50_000
_DEPTH_FOR_TRAFILATURA = 200
_DEEPEST = 10_000
_LARGEST_FOR_TRAFILATURA = 3_000_000
_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,1000})</title", re.IGNORECASE)
_HEADLINE = re.compile(r"<(h[1-3])(?=[\s>])[^>]{0,500}>(.{1,1000}?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_ANY_TAG = re.compile(r"<[^<>]{0,500}>")
_HEADLINES_READ = 30
_SPACES = re.compile(r"\s+")
_LEAST_CONTENT = 25
_HIDDEN = ["script", "style", "noscript", "template", "svg", "iframe", "object", "head > *:not(title)"]


def load_html(path: Path, limits: LoadLimits) -> ParsedDocument:
    """One page with the main content; nothing of scripts, styles, comments, templates or `noscript`.

    Raises DocumentFailed: `no_text`, `text_too_large`, `parse_limit` when elements are nested too deeply.
    """
    data = path.read_bytes()
    limits.check_characters(len(data) // 8)  # of markup that large, text would be over the limit as well
    declared = _META_CHARSET.search(data[:_META_WITHIN])
    decoded = decode_as(data, declared[1].decode("ascii", errors="replace") if declared else None)
    markup = clean_text(decoded.text)
    check_has_text(markup)
    page_title = _read_title(markup)
    headline = _find_headline(markup, page_title or "")
    content = _put_first(headline, extract_content(markup))
    check_has_text(content.text)
    limits.check_characters(len(content.text))
    first = next((heading.title for heading in content.headings if heading.level == 1), None)
    return ParsedDocument(
        text=content.text,
        pages=whole_page(content.text),
        headings=content.headings,
        title=headline or page_title or first,
        language=detect_language(content.text),
        encoding=decoded.encoding,
    )


def extract_content(markup: str) -> HeadedText:
    """Main content of a page. Raises DocumentFailed (`parse_limit`)."""
    if not is_deep(markup) and len(markup) <= _LARGEST_FOR_TRAFILATURA:
        content = _extract_with_trafilatura(markup)
        if content is not None and len(content.text) >= _LEAST_CONTENT:
            return content
    return _extract_with_resiliparse(markup, main_content=True)


def extract_everything(markup: str) -> HeadedText:
    """All text of a page, however deep; tables are not told from paragraphs."""
    return _extract_with_resiliparse(markup, main_content=False)


def is_deep(markup: str) -> bool:
    """Whether libxml2 would drop text of it. Raises DocumentFailed (`parse_limit`) when nothing reads it in time."""
    depth = _measure_depth(markup)
    if depth > _DEEPEST:
        raise DocumentFailed("parse_limit", f"elements are nested {depth:,} deep; at most {_DEEPEST:,} are read")
    if any(len(found[0].split()) > _MOST_ATTRIBUTES for found in _LONG_TAG.finditer(markup)):
        raise DocumentFailed("parse_limit", f"a tag has more than {_MOST_ATTRIBUTES:,} attributes")
    return depth > _DEPTH_FOR_TRAFILATURA


def _extract_with_trafilatura(markup: str) -> HeadedText | None:
    from lxml.etree import LxmlError
    from trafilatura import bare_extraction

    try:
        found = bare_extraction(
            markup,
            favor_precision=True,
            include_comments=False,
            include_tables=True,
            include_formatting=True,
            with_metadata=False,
        )
    except (LxmlError, ValueError, RecursionError):
        return None  # its parser gave up on this page; the other one may not
    body = getattr(found, "body", None)
    return render_body(body) if body is not None else None


def _extract_with_resiliparse(markup: str, *, main_content: bool) -> HeadedText:
    from resiliparse.extract.html2text import extract_plain_text
    from resiliparse.parse.html import HTMLTree

    tree = HTMLTree.parse(markup)
    text = str(extract_plain_text(tree, main_content=main_content, alt_texts=False, skip_elements=_HIDDEN))
    if len(text.strip()) < _LEAST_CONTENT:
        text = str(extract_plain_text(tree, main_content=False, alt_texts=False, skip_elements=_HIDDEN))
    text = clean_text(text).strip("\n")
    found: list[Heading] = []
    offset = 0
    root = tree.document
    for element in root.query_selector_all("h1, h2, h3, h4, h5, h6") if root is not None else ():
        title = _SPACES.sub(" ", clean_text(element.text or "")).strip()
        start = text.find(title, offset) if 0 < len(title) <= 300 else -1
        if start >= 0:
            offset = start + len(title)
            found.append(Heading(start=start, end=offset, level=int(str(element.tag)[1]), title=title))
    return HeadedText(text=text, headings=tuple(found))


def _measure_depth(markup: str) -> int:
    """Deepest nesting of elements that must be closed; an upper bound that costs one pass over the tags."""
    depth = deepest = 0
    for closing, name, empty in _TAG.findall(markup):
        if empty or name.lower() in _VOID:
            continue
        if closing:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def _read_title(markup: str) -> str | None:
    found = _TITLE.search(markup)
    title = clean_text(_SPACES.sub(" ", unescape(found[1])).strip()) if found else ""
    return title[:300] or None


def _find_headline(markup: str, page_title: str) -> str | None:
    """The heading that the page's title repeats, usually with the site's name behind it."""
    for index, found in enumerate(_HEADLINE.finditer(markup)):
        if index >= _HEADLINES_READ:
            break
        headline = clean_text(_SPACES.sub(" ", unescape(_ANY_TAG.sub("", found[2]))).strip())
        if 4 <= len(headline) <= 300 and _squeeze(headline) in _squeeze(page_title):
            return headline
    return None


def _squeeze(text: str) -> str:
    return _SPACES.sub("", text).casefold()


def _put_first(headline: str | None, content: HeadedText) -> HeadedText:
    """Main-content extraction often drops the headline as decoration; it says what the text is about."""
    if headline is None or not content.text or _squeeze(headline) in _squeeze(content.text[:2000]):
        return content
    shift = len(headline) + 1
    moved = (
        Heading(start=heading.start + shift, end=heading.end + shift, level=heading.level, title=heading.title)
        for heading in content.headings
    )
    first = Heading(start=0, end=len(headline), level=1, title=headline)
    return HeadedText(text=f"{headline}\n{content.text}", headings=(first, *moved))
