from __future__ import annotations

import random
import zipfile
from io import BytesIO

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kb.errors import InvalidInput
from kb.media_type import (
    CSV,
    DOCX,
    EPUB,
    HTML,
    MAIL,
    MARKDOWN,
    PDF,
    PLAIN,
    PPTX,
    TSV,
    XLSX,
    find_reader_extension,
    sniff_media_type,
)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
ZIP = b"PK\x03\x04\x14\x00\x06\x00" + bytes(range(200))
EXE = b"MZ\x90\x00\x03\x00\x00\x00" + bytes(range(200))
PDF_HEAD = b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n"
NOISE = random.Random(1).randbytes(8192)
OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99)
MAIL_HEAD = "Received: from a\r\n\tby b\r\nFrom: 李明 <li@example.com>\r\nDate: today\r\n\r\nWords.".encode()
CHINESE = "合同自双方签字之日起生效，任何一方不得擅自变更。\n"


def write_head(*names: str, content: bytes = b"x" * 40) -> bytes:
    """The first 8 KiB of a zip with these entries."""
    target = BytesIO()
    with zipfile.ZipFile(target, "w") as archive:
        for name in names:
            archive.writestr(name, content)
    return target.getvalue()[:8192]


def write_kind(kind: bytes) -> bytes:
    return write_head("mimetype", "META-INF/container.xml", content=kind)


WORD = write_head("[Content_Types].xml", "_rels/.rels", "word/document.xml")
EXCEL = write_head("docProps/app.xml", "_rels/.rels", "xl/workbook.xml")
SLIDES = write_head("_rels/.rels", "ppt/presentation.xml")
LARGE = write_head("[Content_Types].xml", "large.xml", "word/document.xml", content=b"x" * 9000)
FOLDER = write_head("word/a.txt", "b.txt")
BOOK = write_kind(b"application/epub+zip")
TEXT_OF_ODF = write_kind(b"application/vnd.oasis.opendocument.text")


@pytest.mark.parametrize(
    ("name", "head", "media_type"),
    [
        ("a.pdf", PDF_HEAD, PDF),
        ("a.txt", PDF_HEAD, PDF),
        ("a", b"\n\njunk" + PDF_HEAD, PDF),
        ("A.PDF", PDF_HEAD, PDF),
        ("a.pdf.", PDF_HEAD, PDF),
        ("CON.pdf ", PDF_HEAD, PDF),
        ("folder.pdf/notes.txt", b"words", PLAIN),
        ("notes.txt", b"the mark %PDF- begins every PDF", PLAIN),
        ("page.html", b"<html><body>the mark is %PDF-1.4</body>", HTML),
        ("a.md", b"<html><body>x</body></html>", MARKDOWN),
        ("a.markdown", b"# x", MARKDOWN),
        ("a.html", b"just words", HTML),
        ("a.htm", b"<p>x", HTML),
        ("a.txt", b"\xef\xbb\xbf <!-- c -->\n<!DOCTYPE HTML>\n<p>", HTML),
        ("a", '<?xml version="1.0"?><html xmlns="…">'.encode(), HTML),
        ("a", "<html>合同".encode("utf-16"), HTML),
        ("main.py", b"print(1)\n", PLAIN),
        ("MZ.txt", b"MZ is the mark of a program", PLAIN),
        ("terminal.log", b"\x1b[31mred\x1b[0m\n" * 50, PLAIN),
        ("a.txt", b"", PLAIN),
        ("a.docx", WORD, DOCX),
        ("a.DOCM", WORD, DOCX),
        ("a.dotx", LARGE, DOCX),
        ("a.docx", ZIP, DOCX),  # its entries tell nothing, the loader will
        ("a.docx", FOLDER, DOCX),
        ("a.docx", OLE, DOCX),  # a password, or an old file under a new name: the loader tells which
        ("a.xlsx", EXCEL, XLSX),
        ("a.xlsm", EXCEL, XLSX),
        ("a.pptx", SLIDES, PPTX),
        ("a.ppsx", SLIDES, PPTX),
        ("a.epub", BOOK, EPUB),
        ("a.epub", ZIP, EPUB),
        ("a", WORD, DOCX),
        ("a.txt", EXCEL, XLSX),
        ("download.tmp", BOOK, EPUB),
        ("a.csv", b"a,b\n1,2\n", CSV),
        ("a.csv", "姓名,年龄\n".encode("gbk"), CSV),
        ("a.csv", b"<html><table>", HTML),
        ("a.TSV", b"a\tb\n", TSV),
        ("a.eml", b"words", MAIL),
        ("a.eml", MAIL_HEAD, MAIL),
        ("a", MAIL_HEAD, MAIL),
        ("a.mail", b"From li@x Thu Jan  1 00:00:00 1970\n" + MAIL_HEAD, MAIL),
        ("a.txt", MAIL_HEAD, PLAIN),
        ("a", b"From: a\nTo: b\n\nA letter.", PLAIN),
        ("a", b"Dear all,\n" + MAIL_HEAD, PLAIN),
        ("noise.txt", NOISE, PLAIN),  # the loader says not_text: a text name deserves that answer
        *((f"{codec}.txt", (CHINESE * 9).encode(codec), PLAIN) for codec in ("utf-8", "gbk", "utf-16", "utf-16-le")),
        *((codec, (CHINESE * 9).encode(codec), PLAIN) for codec in ("gb18030", "utf-16-be", "utf-32", "utf-32-le")),
        ("big5.txt", "威尼斯影展創辦於一九三二年，為世界上最早的影展。".encode("big5"), PLAIN),
    ],
)
def test_what_is_read(name: str, head: bytes, media_type: str) -> None:
    assert sniff_media_type(name, head) == media_type


@pytest.mark.parametrize(
    ("name", "head", "code"),
    [
        ("a.pdf", PNG, "type_mismatch"),
        ("a.pdf", ZIP, "type_mismatch"),
        ("a.pdf", EXE, "type_mismatch"),
        ("a.pdf", b"<html>", "type_mismatch"),
        ("a.pdf", b"words", "type_mismatch"),
        ("a.pdf", b"", "type_mismatch"),
        ("a.docx", PDF_HEAD, "type_mismatch"),
        ("a.docx", b"words", "type_mismatch"),
        ("a.png", b"words", "type_mismatch"),
        ("a.png", PDF_HEAD, "type_mismatch"),
        ("a.docx", EXCEL, "type_mismatch"),
        ("a.docx", TEXT_OF_ODF, "type_mismatch"),
        ("a.xlsx", BOOK, "type_mismatch"),
        ("a.epub", WORD, "type_mismatch"),
        ("a.epub", OLE, "type_mismatch"),
        ("a.pdf", WORD, "type_mismatch"),
        ("a.csv", PNG, "unsupported_type"),
        ("a.zip", ZIP, "unsupported_type"),
        ("a.zip", WORD, "unsupported_type"),
        ("a.xlsb", EXCEL, "unsupported_type"),
        ("a.odt", TEXT_OF_ODF, "unsupported_type"),
        ("a", LARGE, "unsupported_type"),
        ("a", FOLDER, "unsupported_type"),
        ("a.png", PNG, "unsupported_type"),
        ("a.exe", EXE, "unsupported_type"),
        ("a.txt", PNG, "unsupported_type"),
        ("a.txt", ZIP, "unsupported_type"),
        ("a", NOISE, "unsupported_type"),
        ("a.doc", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(99), "unsupported_type"),
        ("a.svg", b'<svg xmlns="http://www.w3.org/2000/svg"><script>1</script></svg>', "unsupported_type"),
        ("a.txt", b"<?xml version='1.0'?><!DOCTYPE svg><svg/>", "unsupported_type"),
        ("a.xml", b"<feed/>", "unsupported_type"),
        ("a.xml", "<?xml version='1.0'?><a/>".encode("utf-16"), "unsupported_type"),
        ("a.rtf", b"{\\rtf1\\ansi words}", "unsupported_type"),
        ("a.tar", bytes(257) + b"ustar\x00", "unsupported_type"),
    ],
)
def test_what_is_refused(name: str, head: bytes, code: str) -> None:
    """SVG and XML among them (bad input 50)."""
    with pytest.raises(InvalidInput) as caught:
        sniff_media_type(name, head)
    assert caught.value.code == code


@pytest.mark.parametrize("head", [b"words", PNG, PDF_HEAD, b"<svg>", NOISE])
def test_what_an_operator_gave_to_a_reader_is_left_to_it(head: bytes) -> None:
    media_type = sniff_media_type("films/A.SRT", head, {".srt", ".pdf"})
    assert find_reader_extension(media_type) == ".srt"
    assert len(media_type) <= 64
    assert sniff_media_type("a.txt", b"words", {".srt"}) == PLAIN
    assert [find_reader_extension(other) for other in (PDF, HTML, MARKDOWN, PLAIN)] == [None] * 4


@pytest.mark.parametrize(
    ("name", "head", "advice"),
    [("a.doc", OLE, ".docx"), ("a.xls", OLE, ".xlsx"), ("a.ppt", OLE, ".pptx"), ("a.xlsb", EXCEL, ".xlsx")],
)
def test_old_formats_are_told_what_to_be_saved_as(name: str, head: bytes, advice: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        sniff_media_type(name, head)
    assert caught.value.detail.endswith(f"save it as {advice}")


@given(st.text(max_size=30), st.binary(max_size=600))
def test_anything_is_read_or_refused(name: str, head: bytes) -> None:
    try:
        outcome = sniff_media_type(name, head)
    except InvalidInput as error:
        outcome = error.code
    assert outcome in {
        PDF,
        HTML,
        MARKDOWN,
        PLAIN,
        CSV,
        TSV,
        MAIL,
        DOCX,
        XLSX,
        PPTX,
        EPUB,
        "unsupported_type",
        "type_mismatch",
    }


@given(
    st.text("天地玄黄宇宙洪荒日月盈昃辰宿列张寒来暑往，。\n", min_size=1),
    st.sampled_from(["gb18030", "utf-8", "utf-16"]),
)
def test_chinese_text_is_never_taken_for_binary(text: str, codec: str) -> None:
    assert sniff_media_type("合同", text.encode(codec)) == PLAIN
