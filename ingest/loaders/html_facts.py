"""What a page of HTML says of itself: its title, its language, and when it was last changed."""

from __future__ import annotations

import re
from datetime import date
from html import unescape
from typing import TYPE_CHECKING

from ingest.loaders.parsers import ask_parser
from kb.text import clean_text, detect_language

if TYPE_CHECKING:
    from lxml.html import HtmlElement

_TITLE = re.compile(r"<title[^>]{0,200}>([^<]{1,1000})</title", re.IGNORECASE)
_HEADLINE = re.compile(r"<(h[1-3])(?=[\s>])[^>]{0,500}>(.{1,1000}?)</\1\s*>", re.IGNORECASE | re.DOTALL)
_ANY_TAG = re.compile(r"<[^<>]{0,500}>")
_HEADLINES_READ = 30
_LANGUAGE = re.compile(
    r"<html\s[^>]{0,500}?(?<=\s)(?:xml:)?lang\s*=\s*[\"']?\s*([a-zA-Z]{2,3})(?![a-zA-Z])", re.IGNORECASE
)
_WITHIN = 20_000
_SPACES = re.compile(r"\s+")
# As Chinese pages write it, with a tag or two in between.
_LABELLED = re.compile(
    r"(?:发布|更新|修改|公布|发表|發布|公佈|發表)(?:时间|日期|時間|于|於)?\s?[:：]?\s?(?:<[^<>]{0,100}>\s?){0,2}"
    r"((?:19|20)\d\d)[年/.-](\d\d?)[月/.-](\d\d?)(?!\d)"
)
_DATE = re.compile(r"(?:19|20)\d\d-\d\d-\d\d")


def read_title(markup: str) -> str | None:
    found = _TITLE.search(markup)
    title = clean_text(_SPACES.sub(" ", unescape(found[1])).strip()) if found else ""
    return title[:300] or None


def find_headline(markup: str, page_title: str) -> str | None:
    """The heading that the page's title repeats, usually with the site's name behind it."""
    for index, found in enumerate(_HEADLINE.finditer(markup)):
        if index >= _HEADLINES_READ:
            break
        headline = clean_text(_SPACES.sub(" ", unescape(_ANY_TAG.sub("", found[2]))).strip())
        if 4 <= len(headline) <= 300 and squeeze(headline) in squeeze(page_title):
            return headline
    return None


def squeeze(text: str) -> str:
    return _SPACES.sub("", text).casefold()


def choose_language(markup: str, text: str) -> str | None:
    """The script of the text counts. What the page declares tells Japanese without kana from Chinese, and settles what
    has no letters at all."""
    found = _LANGUAGE.search(markup[:_WITHIN])
    declared = found[1].lower() if found else None
    written = detect_language(text)
    if written == "zh" and declared in {"ja", "ko"}:
        return None
    if written is None and declared in {"zh", "en"} and not any(map(str.isalpha, text)):
        return declared
    return written


def find_date(tree: HtmlElement, markup: str) -> str | None:
    """The day on which the page was last changed, else published, in ISO form: of its meta tags, its JSON-LD, `<time>`,
    or a line above or below the text."""
    return _ask_htmldate(tree, original=False) or _ask_htmldate(tree, original=True) or _find_labelled_date(markup)


def _ask_htmldate(tree: HtmlElement, *, original: bool) -> str | None:
    import htmldate

    found = ask_parser(lambda: htmldate.find_date(tree, extensive_search=False, original_date=original))
    return found if found and _DATE.fullmatch(found) else None


def _find_labelled_date(markup: str) -> str | None:
    found = _LABELLED.search(markup)
    if found is None:
        return None
    try:
        return date(*map(int, found.groups())).isoformat()
    except ValueError:  # the 31st of February
        return None
