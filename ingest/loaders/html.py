"""Web pages: the main content as text, with its headings.

trafilatura finds the main content best; resiliparse stands in where it finds nothing, or where a page is so large or so
deeply nested that it would be slow (libxml2 drops what is nested deeper than 256, resiliparse does not).
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.loaders.html_facts import choose_language, find_date, find_headline, read_title, squeeze
from ingest.loaders.html_markup import is_deep, parse_page, read_markup
from ingest.loaders.html_tree import HeadedText, keep_lines, render_body
from ingest.loaders.limits import LoadLimits
from ingest.loaders.parsers import ask_parser
from ingest.loaders.plain import check_has_text, whole_page
from kb.text import clean_text
from kb.types import Heading, ParsedDocument

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_LARGEST_FOR_TRAFILATURA = 3_000_000
_SPACES = re.compile(r"\s+")
_LEAST_CONTENT = 25
_HIDDEN = ["script", "style", "noscript", "template", "svg", "iframe", "object", "head > *:not(title)"]


def load_html(path: Path, limits: LoadLimits, charset: str | None = None) -> ParsedDocument:
    """One page with the main content; nothing of scripts, styles, comments, templates or `noscript`. `charset` is what
    its server said of it.

    Raises DocumentFailed: `no_text`, `text_too_large`, `parse_limit` when elements are nested too deeply.
    """
    data = path.read_bytes()
    limits.check_characters(len(data) // 8)  # of markup that large, text would be over the limit as well
    decoded = read_markup(data, charset)
    markup = decoded.text
    check_has_text(markup)
    page_title = read_title(markup)
    headline = find_headline(markup, page_title or "")
    content = extract_content(markup)
    text = _put_first(headline, content.headed)
    check_has_text(text.text)
    limits.check_characters(len(text.text))
    first = next((heading.title for heading in text.headings if heading.level == 1), None)
    return ParsedDocument(
        text=text.text,
        pages=whole_page(text.text),
        headings=text.headings,
        title=headline or page_title or first,
        language=choose_language(markup, text.text),
        encoding=decoded.encoding,
        date=content.date,
    )


@dataclass(frozen=True, kw_only=True, slots=True)
class Content:
    """The main content of a page, and its day."""

    headed: HeadedText
    date: str | None = None


def extract_content(markup: str) -> Content:
    """Raises DocumentFailed (`parse_limit`)."""
    date = None
    if not is_deep(markup) and len(markup) <= _LARGEST_FOR_TRAFILATURA:
        tree = _parse(markup)
        if tree is not None:
            date = find_date(tree, markup)
            content = ask_parser(lambda: _extract_with_trafilatura(tree))
            if content is not None and len(content.text) >= _LEAST_CONTENT:
                return Content(headed=content, date=date)
    return Content(headed=_extract_with_resiliparse(markup, main_content=True), date=date)


def extract_everything(markup: str) -> HeadedText:
    """All text of a page, however deep; tables are not told from paragraphs."""
    return _extract_with_resiliparse(markup, main_content=False)


def _parse(markup: str) -> HtmlElement | None:
    from trafilatura import load_html as parse

    return ask_parser(lambda: parse(markup))


def _extract_with_trafilatura(tree: HtmlElement) -> HeadedText | None:
    from lxml.etree import strip_elements
    from trafilatura import bare_extraction

    strip_elements(tree, "template", "noscript", with_tail=False)
    for block in list(tree.iter("pre")):
        keep_lines(block)
    found = bare_extraction(
        tree,
        favor_precision=True,
        include_comments=False,
        include_tables=True,
        include_formatting=True,
        with_metadata=False,
    )
    body = getattr(found, "body", None)
    return render_body(body) if body is not None else None


def _extract_with_resiliparse(markup: str, *, main_content: bool) -> HeadedText:
    from resiliparse.extract.html2text import extract_plain_text

    tree = parse_page(markup)
    text = str(extract_plain_text(tree, main_content=main_content, alt_texts=False, skip_elements=_HIDDEN))
    if len(text.strip()) < _LEAST_CONTENT:
        text = str(extract_plain_text(tree, main_content=False, alt_texts=False, skip_elements=_HIDDEN))
    text = clean_text(text).strip("\n")
    found: list[Heading] = []
    offset = 0
    root = tree.document
    # The list's own iterator asks anew for each element: minutes for some thousands of them.
    for element in root.query_selector_all("h1, h2, h3, h4, h5, h6").values() if root is not None else ():
        title = _SPACES.sub(" ", clean_text(element.text or "")).strip()
        start = text.find(title, offset) if 0 < len(title) <= 300 else -1
        if start >= 0:
            offset = start + len(title)
            found.append(Heading(start=start, end=offset, level=int(str(element.tag)[1]), title=title))
    return HeadedText(text=text, headings=tuple(found))


def _put_first(headline: str | None, content: HeadedText) -> HeadedText:
    """Main-content extraction often drops the headline as decoration; it says what the text is about."""
    if headline is None or not content.text or squeeze(headline) in squeeze(content.text[:2000]):
        return content
    shift = len(headline) + 1
    moved = (
        Heading(start=heading.start + shift, end=heading.end + shift, level=heading.level, title=heading.title)
        for heading in content.headings
    )
    first = Heading(start=0, end=len(headline), level=1, title=headline)
    return HeadedText(text=f"{headline}\n{content.text}", headings=(first, *moved))
