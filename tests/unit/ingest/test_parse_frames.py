"""What a parse child may say of a file that it could not read, and what is believed of it."""

from __future__ import annotations

from typing import Any

import pytest

from ingest.parse_frames import LONGEST_DETAIL, BadFrame, describe_failure, read_failure
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
