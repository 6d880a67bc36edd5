import pytest

from kb.document_path import check_path
from kb.errors import InvalidInput


@pytest.mark.parametrize(
    "path",
    [
        "a.pdf",
        "reports/2024/a.pdf",
        "报告/二〇二四年（最终）.pdf",
        "CON.pdf",
        "a.pdf.",
        "a ",
        ".hidden",
        "...",
        'say "hi".txt',
        "emoji 🔭.md",
        "x" * 255,
        "/".join(["x" * 200] * 5),
    ],
)
def test_a_plain_relative_path_is_kept(path):
    assert check_path(path) == path


def test_a_path_is_kept_in_nfc():
    assert check_path("cafe\u0301.txt") == "caf\u00e9.txt"


@pytest.mark.parametrize(
    "path",
    [
        "",
        " ",
        ".",
        "..",
        "../a",
        "a/../b",
        "a/..",
        "./a",
        "a/./b",
        "/etc/passwd",
        "//host/share",
        "a//b",
        "a/",
        "a/ /b",
        "C:/a",
        "c:a",
        "C:\\a",
        "..\\a",
        "a\\b",
        "a\0b",
        "a\nb",
        "a\rb",
        "a\u2028b",
        "a\x7fb",
        "a\ud800b",
        "https://host/a",
        "x" * 256,
        "字" * 86,
        "/".join(["x" * 200] * 6),
    ],
)
def test_any_other_path_is_refused(path):
    with pytest.raises(InvalidInput) as caught:
        check_path(path)
    assert caught.value.code == "bad_path"
