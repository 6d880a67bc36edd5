"""What a document is called when it is downloaded."""

import pytest

from kb.document_path import name_file

HTML = "text/html; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "media_type", "name"),
    [
        ("hr/leave.md", "text/markdown", "leave.md"),
        ("a.html", "text/html", "a.html"),
        ("https://docs.test/", HTML, "docs.test.html"),
        ("https://docs.test/guide/", HTML, "guide.html"),
        ("https://docs.test/guide/index.HTML", HTML, "index.HTML"),
        ("https://docs.test/a.php?page=/etc/passwd&x=1", HTML, "a.php.html"),
        ("https://docs.test/files/%E4%BB%B7%E6%A0%BC.csv", "text/csv", "价格.csv"),
        ("https://docs.test/a%2F..%2Fb.csv", "text/csv", "b.csv"),
        ("https://docs.test/a%5Cb.csv", "text/csv", "b.csv"),
        ("https://docs.test/a%0D%0Ab.csv", "text/csv", "a__b.csv"),
        ("https://docs.test/%FF.csv", "text/csv", "\ufffd.csv"),
        ("https://docs.test/?q=1", "application/pdf", "docs.test"),
    ],
)
def test_a_pages_address_becomes_a_name_for_a_file(path: str, media_type: str, name: str) -> None:
    assert name_file(path, media_type) == name
