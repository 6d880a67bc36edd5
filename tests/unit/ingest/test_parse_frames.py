"""What a parse child may say of a file that it could not read, and what is believed of it."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.parse_frames import (
    LONGEST_DETAIL,
    BadFrame,
    describe_failure,
    describe_links,
    read_failure,
    read_page_links,
)
from ingest.web.page import LONGEST_URL, MOST_LINKS, PageLinks
from kb.errors import DocumentFailed
from kb.types import PageVerdict

FAILURE = DocumentFailed("no_text", "no page has text", verdicts=[PageVerdict.SCANNED, PageVerdict.GARBLED])


def test_a_failure_comes_over_with_the_verdicts_on_its_pages() -> None:
    read = read_failure(describe_failure(FAILURE), most_pages=2)
    assert read is not None
    assert (read.code, read.detail, read.verdicts) == (FAILURE.code, FAILURE.detail, FAILURE.verdicts)


def test_a_failure_without_pages_has_none() -> None:
    read = read_failure({"code": "parse_limit", "detail": "x" * 9_999}, most_pages=2)
    assert read is not None
    assert (read.verdicts, len(read.detail)) == ((), LONGEST_DETAIL)


def test_a_document_is_no_failure() -> None:
    assert read_failure({"pages": [], "headings": []}, most_pages=2) is None


@pytest.mark.parametrize(
    "told",
    [
        {"verdicts": ["scanned"] * 3},
        {"verdicts": ["lost"]},
        {"verdicts": [["scanned"]]},
        {"verdicts": [None]},
        {"verdicts": {"scanned": 1}},
        {"verdicts": 10**9},
        {"verdicts": "scanned"},
        {"code": "no\0text"},
        {"detail": "\0"},
    ],
)
def test_what_makes_no_sense_is_not_believed(told: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_failure({**describe_failure(FAILURE), **told}, most_pages=2)


LINKS = PageLinks(links=("https://a.example/页", "http://b.example"), canonical="https://a.example/", noindex=True)


@pytest.mark.parametrize("links", [LINKS, PageLinks()])
def test_links_come_over_as_they_were_found(links: PageLinks) -> None:
    read = read_page_links(describe_links(links), b"")
    assert (tuple(read.links), read.canonical, read.nofollow, read.noindex) == (
        tuple(links.links), links.canonical, links.nofollow, links.noindex,
    )  # fmt: skip


@pytest.mark.parametrize(
    "told",
    [
        {"links": None},
        {"links": {"https://a.example": 1}},
        {"links": ["https://a.example"] * (MOST_LINKS + 1)},
        {"links": ["javascript:alert(1)"]},
        {"links": ["file:///etc/passwd"]},
        {"links": [7]},
        {"links": ["https://a.example/\0"]},
        {"links": ["https://a.example/" + "x" * LONGEST_URL]},
        {"canonical": "ftp://a.example"},
        {"canonical": ["https://a.example"]},
        {"nofollow": 1},
        {"noindex": None},
    ],
)
def test_links_that_make_no_sense_are_not_believed(told: dict[str, Any]) -> None:
    with pytest.raises(BadFrame):
        read_page_links({**describe_links(LINKS), **told}, b"")
