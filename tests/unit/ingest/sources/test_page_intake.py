"""What a web page is: by its content, and by what its server says where that is of use."""

from __future__ import annotations

import pytest

from ingest.sources.page_intake import PageIntake
from kb.errors import InvalidInput

SITE = "https://docs.test"
HTML = b"<!doctype html><title>t</title><p>text"
BARE = b"<p>a piece of a page that begins in the middle</p>"
ZIP = b"PK\x03\x04" + bytes(60)


def find_type(path: str, body: bytes, content_type: str | None, *readers: str) -> str:
    return PageIntake(None, 1_000, readers=readers).find_type(SITE + path, body, content_type)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("path", "body", "content_type", "expected"),
    [
        ("/", HTML, "text/html", "text/html"),
        ("/", HTML, None, "text/html"),
        ("/index.php?id=5", HTML, "text/html; charset=GBK", "text/html; charset=gbk"),
        ("/v2.0", BARE, "text/html", "text/html"),
        ("/v2.0", BARE, None, "text/plain"),
        ("/app.exe", HTML, "text/html", "text/html"),
        ("/%E6%96%87.html", BARE, None, "text/html"),
        ("/a", HTML, "application/xhtml+xml", "text/html"),
        ("/a", b"%PDF-1.7\n", "application/pdf", "application/pdf"),
        ("/download?id=3", b"%PDF-1.7\n", "application/octet-stream", "application/pdf"),
        ("/a.pdf", HTML, "text/html", "text/html"),
        ("/README.md", b"# Title\n", "text/plain; charset=utf-8", "text/markdown"),
        ("/notes", b"From: a\nnothing more\n", "text/plain", "text/plain"),
        ("/table", b"a,b\n1,2\n", "text/csv", "text/csv"),
        ("/table.csv", b"a,b\n1,2\n", "text/plain", "text/csv"),
        ("/data.json", b'{"a": 1}', "application/json", "text/plain"),
        ("/c.srt", b"1\n00:00 --> 00:01\nhello\n", None, "application/x-reader+srt"),
    ],
)
def test_what_a_page_is(path: str, body: bytes, content_type: str | None, expected: str) -> None:
    assert find_type(path, body, content_type, ".srt") == expected


@pytest.mark.parametrize(
    ("path", "body", "content_type", "code"),
    [
        ("/logo", b"\x89PNG\r\n\x1a\n" + bytes(50), "image/png", "unsupported_type"),
        ("/logo", b"\x89PNG\r\n\x1a\n" + bytes(50), "text/html", "unsupported_type"),
        ("/all.zip", ZIP, "application/zip", "unsupported_type"),
        ("/feed", b"<?xml version='1.0'?><rss></rss>", "application/rss+xml", "unsupported_type"),
        ("/a.pdf", b"not found", None, "type_mismatch"),
        ("/", b"", "text/html", "file_empty"),
        ("/", b"x" * 1_001, "text/plain", "too_large"),
    ],
)
def test_what_no_page_may_be(path: str, body: bytes, content_type: str | None, code: str) -> None:
    with pytest.raises(InvalidInput) as refused:
        find_type(path, body, content_type)
    assert refused.value.code == code
