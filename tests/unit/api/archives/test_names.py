import pytest

from api.archives.entries import is_left_out, trim_path
from api.archives.names import choose_codecs, decode_name

SIMPLIFIED = ("报告/2024 年年度报告.pdf", "制度/暗夜保护办法.md", "记录/会议纪要.txt")
TRADITIONAL = ("報告/2024 年年度報告.pdf", "制度/暗夜保護辦法.md", "記錄/會議紀要.txt")


@pytest.mark.parametrize(
    ("names", "codec", "guessed"),
    [
        (("a.txt", "b/c.txt"), "ascii", "utf-8"),
        (SIMPLIFIED, "utf-8", "utf-8"),
        (TRADITIONAL, "utf-8", "utf-8"),
        (("Crème brûlée.txt", "Brûlée.txt"), "utf-8", "utf-8"),
        (("Привет.txt",), "utf-8", "utf-8"),
        (SIMPLIFIED, "gbk", "gb18030"),
        (TRADITIONAL, "gb18030", "gb18030"),
        (TRADITIONAL, "big5", "big5hkscs"),
        (("目录",), "gbk", "gb18030"),
        (("报告.txt",), "gbk", "gb18030"),
        (("岚川.txt",), "gbk", "gb18030"),
        (("Café Müller.txt", "naïve.txt"), "cp437", "cp437"),
        ((), "ascii", "utf-8"),
    ],
)
def test_the_encoding_of_names_is_guessed(names, codec, guessed):
    raw = [name.encode(codec) for name in names]
    codecs = choose_codecs(raw)
    assert guessed in codecs
    assert [decode_name(one, codecs) for one in raw] == list(names)


def test_one_broken_name_does_not_change_the_others():
    raw = [name.encode("gbk") for name in SIMPLIFIED]
    codecs = choose_codecs([*raw, b"\xff\xff"])
    assert [decode_name(one, codecs) for one in [*raw, b"\xff\xff"]] == [*SIMPLIFIED, None]


def test_a_name_in_gbk_among_others_in_utf8():
    raw = [*(name.encode() for name in SIMPLIFIED), "目录.txt".encode("gbk"), "附件一.txt".encode("gbk")]
    codecs = choose_codecs(raw)
    assert [decode_name(one, codecs) for one in raw[:3]] == list(SIMPLIFIED)
    assert decode_name(raw[4], codecs) == "附件一.txt"


@pytest.mark.parametrize(
    "path", ["__MACOSX/a.txt", ".DS_Store", "a/.DS_Store", ".git/config", "a/.b/c.txt", "._a.txt", "...", "a/./.b"]
)
def test_what_every_folder_has_beside_documents_is_left_out(path):
    assert is_left_out(path)


@pytest.mark.parametrize(
    "path", ["a.txt", "a/b.", "a/__MACOSX/b.txt", "../.a", "/.a", "a/./b", "a//.b", "", "__MACOSX.txt"]
)
def test_anything_else_is_looked_at(path):
    assert not is_left_out(path)


@pytest.mark.parametrize(
    ("path", "trimmed"),
    [("./a", "a"), ("././a", "a"), (".//a", "a"), ("a/./b", "a/./b"), (".a", ".a"), ("../a", "../a")],
)
def test_a_leading_dot_says_nothing(path, trimmed):
    assert trim_path(path) == trimmed
