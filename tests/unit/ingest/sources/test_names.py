from __future__ import annotations

import os
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.sources.names import are_plain, read_name, show_name
from kb.document_path import find_fault


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        ("报告.md".encode(), "报告.md"),
        ("报告.md".encode("gb18030"), "报告.md"),
        ("cafe\u0301.md".encode(), "caf\u00e9.md"),
        (b"caf\xe9.md", "caf%E9.md"),
        (b"\xff\xfe", "%FF%FE"),
        (b"100%.md", "100%.md"),
    ],
)
def test_a_name_is_utf8_or_gb18030_or_shown(raw: bytes, text: str) -> None:
    assert read_name(os.fsdecode(raw)) == text


@given(st.lists(st.binary(min_size=1, max_size=12).map(lambda raw: raw.replace(b"/", b"-")), max_size=4))
def test_a_plain_name_is_its_own_text_and_may_be_a_documents(raws: list[bytes]) -> None:
    names = [os.fsdecode(raw) for raw in raws if raw not in (b".", b"..") and raw[1:2] != b":"]
    if are_plain(names):
        assert [read_name(name) for name in names] == names
        assert [find_fault(name) for name in names] == [None] * len(names)


@given(st.text(max_size=8).filter(lambda text: "/" not in text))
def test_what_may_be_plain_is_no_worse_than_its_check(name: str) -> None:
    if are_plain(["a", name]) and name and name not in (".", "..") and name[1:2] != ":":
        assert find_fault(name) is None
        assert unicodedata.is_normalized("NFC", name)


def test_most_names_are_plain() -> None:
    assert are_plain(["a.md", "年度报告（终）.pdf", "two words.txt", "emoji 🔭.md"])
    assert are_plain([])


@pytest.mark.parametrize("name", ["a\nb", "a\\b", " ", "  ", "e\u0301", "a\u2028", "a\udc80"])
def test_others_are_looked_at_one_by_one(name: str) -> None:
    assert not are_plain(["a.md", name, "b.md"])


def test_controls_are_shown() -> None:
    assert show_name("a\nb\u2028\x7f文") == "a%0Ab%E2%80%A8%7F文"
