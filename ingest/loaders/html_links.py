"""What a web page says of others: its links, its canonical address, and whether robots may follow and keep it.

lexbor reads it, which takes a page nested 200,000 deep in its stride.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from itertools import chain
from typing import Protocol
from urllib.parse import urljoin, urlsplit

from ingest.loaders.html_markup import check_attributes, decode_markup, parse_page
from ingest.web.page import LONGEST_URL, MOST_LINKS, PageLinks
from kb.media_type import find_charset

_MOST_CHARACTERS = 2_000_000  # of all links together
_DROPPED = re.compile(r"[\t\n\r]")  # as browsers do it
_ROUND = "".join(map(chr, range(0x21)))  # likewise, at both ends
_NOT_IN_URLS = re.compile(r"[\x00-\x1f\x7f-\x9f\ufffe\uffff]")
_DELAY = re.compile(r"[\d.]+\s*[;,\s]\s*")
_URL_IS = re.compile(r"url\s*=\s*", re.IGNORECASE)
_ROBOTS = frozenset({"robots", "kb-server"})


class _Element(Protocol):
    """Of lexbor's tree."""

    def getattr(self, attribute: str, /) -> str | None: ...


def read_links(body: bytes, content_type: str | None, url: str) -> PageLinks:
    """Links of `a` and `area` in their order, each once, without those marked `nofollow`; http and https alone. Before
    them where a `<meta http-equiv="refresh">` leads: the first page of many a site is nothing else.

    Raises DocumentFailed (`parse_limit`).
    """
    markup = decode_markup(body, find_charset(content_type)).text  # uncleaned: an address is what its letters are
    check_attributes(markup)
    root = parse_page(markup).document
    if root is None:
        return PageLinks()

    def select(wanted: str) -> Iterable[_Element]:
        found: Iterable[_Element] = root.query_selector_all(wanted).values()  # its own iterator asks anew for each
        return found

    base = _find_base(select("base[href]"), url)
    canonical = next((one for one in select("head link[rel][href]") if "canonical" in _list_words(one, "rel")), None)
    said = {word for one in select("meta[name][content]") for word in _list_robots(one)}
    hrefs = chain(_iter_refreshes(select("meta[http-equiv][content]")), _iter_hrefs(select("a[href], area[href]")))
    return PageLinks(
        links=tuple(_bound(_iter_links(hrefs, base))),
        canonical=None if canonical is None else _resolve(base, canonical.getattr("href")),
        nofollow=not said.isdisjoint({"nofollow", "none"}),
        noindex=not said.isdisjoint({"noindex", "none"}),
    )


def _find_base(elements: Iterable[_Element], url: str) -> str:
    """The first `<base>` counts, and only where it is an address that could be asked for."""
    first = next(iter(elements), None)
    return url if first is None else _resolve(url, first.getattr("href")) or url


def _iter_refreshes(elements: Iterable[_Element]) -> Iterable[str | None]:
    for element in elements:
        if (element.getattr("http-equiv") or "").strip().lower() == "refresh":
            yield _read_refresh((element.getattr("content") or "").strip())


def _read_refresh(content: str) -> str | None:
    """`0; url='/next'`, as browsers read it."""
    delay = _DELAY.match(content)
    if delay is None:
        return None
    told = content[delay.end() :]
    told = told[named.end() :] if (named := _URL_IS.match(told)) else told
    return told[1:].partition(told[0])[0] if told[:1] in {'"', "'"} else told


def _iter_hrefs(elements: Iterable[_Element]) -> Iterable[str | None]:
    return (element.getattr("href") for element in elements if "nofollow" not in _list_words(element, "rel"))


def _iter_links(hrefs: Iterable[str | None], base: str) -> Iterable[str]:
    seen: set[str] = set()
    for href in hrefs:
        link = _resolve(base, href)
        if link is not None and link not in seen:
            seen.add(link)
            yield link


def _bound(links: Iterable[str]) -> Iterable[str]:
    left = _MOST_CHARACTERS
    for count, link in enumerate(links):
        left -= len(link)
        if left < 0 or count >= MOST_LINKS:
            return
        yield link


def _resolve(base: str, href: str | None) -> str | None:
    """An absolute http address; None for anything else, and for what no address could be."""
    told = _DROPPED.sub("", href or "").strip(_ROUND)
    if not told or len(told) > LONGEST_URL or _NOT_IN_URLS.search(told):
        return None
    try:
        link = urljoin(base, told)
        split = urlsplit(link)
    except ValueError:  # an address like `http://[`
        return None
    is_asked_for = split.scheme in {"http", "https"} and bool(split.hostname)
    if not is_asked_for or len(link) > LONGEST_URL:
        return None
    return split.scheme + link[len(split.scheme) :]


def _list_robots(meta: _Element) -> list[str]:
    if (meta.getattr("name") or "").strip().lower() not in _ROBOTS:
        return []
    return [word.strip().lower() for word in (meta.getattr("content") or "").split(",")]


def _list_words(element: _Element, attribute: str) -> list[str]:
    return (element.getattr(attribute) or "").lower().split()
