"""Office files and e-books that are damaged, closed, or made to hurt: each costs its own document alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from io import BytesIO
from lzma import LZMAError
from pathlib import Path
from zipfile import ZIP_LZMA, ZipFile

import pytest
from fakes.office_files import (
    add_part,
    change_parts,
    replace_in,
    write_docx,
    write_epub,
    write_pptx,
    write_xlsx,
    write_zip,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ingest.loaders import LoadLimits, load_document
from ingest.parsing import ParserLimits, ParserPool
from kb.errors import DocumentFailed
from kb.media_type import DOCX, EPUB, MAIL, PPTX, XLSX

pytestmark = pytest.mark.faults

OLE = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(504)
# Written once: the libraries put the time of writing into the files, and hypothesis wants the same bytes every time.
WRITERS: dict[str, Callable[[], bytes]] = {
    DOCX: cache(lambda: write_docx("the words of it")),
    XLSX: cache(lambda: write_xlsx({"s": [["the words of it"]]})),
    PPTX: cache(lambda: write_pptx(("the words of it", "more"))),
    EPUB: cache(lambda: write_epub("<p>the words of it</p>")),
}
MAIN_PARTS = {
    DOCX: "word/document.xml",
    XLSX: "xl/worksheets/sheet1.xml",
    PPTX: "ppt/slides/slide1.xml",
    EPUB: "OEBPS/chapter 0.xhtml",
}
KINDS = pytest.mark.parametrize("media_type", list(WRITERS))
OFFICE = pytest.mark.parametrize("media_type", [DOCX, XLSX, PPTX])


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(ParserLimits(cpu_seconds=20)) as pool:
        yield pool


def parse_to_outcome(pool: ParserPool, folder: Path, content: bytes, media_type: str) -> str:
    """The text, or the code of the failure."""
    path = folder / "blob"
    path.write_bytes(content)
    try:
        return pool.parse(path, media_type).text
    except DocumentFailed as error:
        return error.code


@KINDS
def test_good_files_are_read_in_the_child(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    assert "the words of it" in parse_to_outcome(pool, tmp_path, WRITERS[media_type](), media_type)


@KINDS
@pytest.mark.parametrize("share", [0.0, 0.02, 0.3, 0.5, 0.9, 0.99])
def test_files_cut_short(pool: ParserPool, tmp_path: Path, media_type: str, share: float) -> None:
    whole = WRITERS[media_type]()
    assert parse_to_outcome(pool, tmp_path, whole[: int(share * len(whole))], media_type) == "file_malformed"


@KINDS
@pytest.mark.parametrize(
    "content",
    [b"words", b"PK\x03\x04", write_zip({"a.txt": "words"}), write_zip({})],
    ids=["text", "magic", "zip", "none"],
)
def test_what_is_no_such_file(pool: ParserPool, tmp_path: Path, media_type: str, content: bytes) -> None:
    assert parse_to_outcome(pool, tmp_path, content, media_type) == "file_malformed"


@KINDS
def test_one_kind_under_the_name_of_another(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    for other, write in WRITERS.items():
        if other != media_type:
            assert parse_to_outcome(pool, tmp_path, write(), media_type) == "file_malformed"


@OFFICE
def test_a_password_is_told_from_an_old_format(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    closed = OLE + "EncryptedPackage".encode("utf-16-le") + bytes(100)
    assert parse_to_outcome(pool, tmp_path, closed, media_type) == "file_encrypted"
    assert parse_to_outcome(pool, tmp_path, OLE + "WordDocument".encode("utf-16-le"), media_type) == "file_malformed"


@KINDS
def test_entries_with_a_password(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    packed = bytearray(WRITERS[media_type]())
    at = packed.index(b"PK\x01\x02")
    packed[at + 8] |= 1
    assert parse_to_outcome(pool, tmp_path, bytes(packed), media_type) == "file_encrypted"


@OFFICE
def test_empty_files(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    empty = {DOCX: write_docx(), XLSX: write_xlsx({"s": [], "t": [[None]]}), PPTX: write_pptx(("", ""))}[media_type]
    assert parse_to_outcome(pool, tmp_path, empty, media_type) == "no_text"


def test_an_e_book_of_white_space(pool: ParserPool, tmp_path: Path) -> None:
    assert parse_to_outcome(pool, tmp_path, write_epub("<p> </p>", "<br/>"), EPUB) == "no_text"


@KINDS
def test_zip_bombs_are_not_unpacked(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    bomb = add_part(WRITERS[media_type](), "bomb.bin", b"x")
    at = bomb.rindex(b"PK\x01\x02")
    size = (600_000_000).to_bytes(4, "little")
    bomb = bomb[: at + 24] + size + bomb[at + 28 :]
    assert parse_to_outcome(pool, tmp_path, bomb, media_type) == "parse_limit"


@KINDS
def test_real_bombs_of_spaces(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    """Under the limit of sizes, but at a thousand times what it is packed to."""
    bomb = change_parts(
        WRITERS[media_type](), lambda name, data: data + b" " * 120_000_000 if name == MAIN_PARTS[media_type] else data
    )
    assert len(bomb) < 400_000
    assert parse_to_outcome(pool, tmp_path, bomb, media_type) == "parse_limit"


@KINDS
def test_sizes_that_lie(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    """More bytes than declared are never unpacked: the part's checksum is wrong then."""
    packed = change_parts(
        WRITERS[media_type](), lambda name, data: data + b" " * 1_000_000 if name == MAIN_PARTS[media_type] else data
    )
    at = packed.index(MAIN_PARTS[media_type].encode(), packed.index(b"PK\x01\x02")) - 46
    assert packed[at : at + 4] == b"PK\x01\x02"
    packed = packed[: at + 24] + (10).to_bytes(4, "little") + packed[at + 28 :]
    assert parse_to_outcome(pool, tmp_path, packed, media_type) == "file_malformed"


def declare(entities: bytes) -> Callable[[str, bytes], bytes]:
    """Parts with a declaration of entities before their root, and one of them in their text."""

    def change(name: str, data: bytes) -> bytes:
        if name not in MAIN_PARTS.values():
            return data
        head, _, rest = data.rpartition(b"?>")
        return (
            head + (b"?>" if head else b"") + b"<!DOCTYPE x [" + entities + b"]>" + rest.replace(b"the words", b"&e;")
        )

    return change


LAUGHS = (
    b'<!ENTITY l0 "lol lol lol">'
    + b"".join(b'<!ENTITY l%d "%s">' % (level, b"&l%d;" % (level - 1) * 10) for level in range(1, 9))
    + b'<!ENTITY e "&l8;&l8;">'
)


@OFFICE
@pytest.mark.parametrize("entities", [LAUGHS, b'<!ENTITY e SYSTEM "file:///etc/passwd">'], ids=["laughs", "file"])
def test_office_files_that_declare_entities(pool: ParserPool, tmp_path: Path, media_type: str, entities: bytes) -> None:
    packed = change_parts(WRITERS[media_type](), declare(entities))
    assert parse_to_outcome(pool, tmp_path, packed, media_type) == "file_malformed"


def test_declarations_in_utf_16_are_seen(pool: ParserPool, tmp_path: Path) -> None:
    def widen(name: str, data: bytes) -> bytes:
        if name != MAIN_PARTS[DOCX]:
            return data
        return declare(LAUGHS)(name, data).decode().partition("?>")[2].encode("utf-16")

    assert parse_to_outcome(pool, tmp_path, change_parts(WRITERS[DOCX](), widen), DOCX) == "file_malformed"


@pytest.mark.parametrize("target", ["file:///etc/passwd", "{secret}", "http://127.0.0.1:9/x"])
def test_entities_of_e_books_are_not_expanded(pool: ParserPool, tmp_path: Path, target: str) -> None:
    secret = tmp_path / "secret.txt"
    secret.write_text("TOP SECRET")
    entity = f'<!ENTITY e SYSTEM "{target.format(secret=secret.as_uri())}">'.encode()
    for entities in (LAUGHS, entity):
        packed = change_parts(write_epub("<p>kept the words</p>", "<p>other</p>"), declare(entities))
        text = parse_to_outcome(pool, tmp_path, packed, EPUB)
        assert "kept" in text
        assert "other" in text
        assert len(text) < 100
        assert "root:" not in text
        assert "SECRET" not in text


def test_entities_of_an_e_books_list_are_not_expanded(pool: ParserPool, tmp_path: Path) -> None:
    packed = replace_in(
        write_epub("<p>kept</p>"), "OEBPS/content.opf", b"<package", b"<!DOCTYPE p [" + LAUGHS + b"]><package"
    )
    packed = replace_in(packed, "OEBPS/content.opf", "书".encode(), b"&e;")
    assert parse_to_outcome(pool, tmp_path, packed, EPUB) in {
        "kept",
        "file_malformed",
    }  # libxml2 counts what they would be


def test_links_out_of_the_e_book_lead_nowhere(pool: ParserPool, tmp_path: Path) -> None:
    packed = replace_in(
        write_epub("<p>kept</p>", "<p>lost</p>"),
        "OEBPS/content.opf",
        b'href="chapter%201',
        b'href="../../../../etc/passwd',
    )
    assert parse_to_outcome(pool, tmp_path, packed, EPUB) == "kept"


@pytest.mark.parametrize("media_type", [DOCX, PPTX])
def test_xml_nested_100k_deep(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    tag, text = {DOCX: (b"w:smartTag", b"<w:r>"), PPTX: (b"a:r", b"<a:t>")}[media_type]
    packed = change_parts(
        WRITERS[media_type](),
        lambda name, data: (
            data.replace(text, b"<%s>" % tag * 100_000 + text, 1) if name == MAIN_PARTS[media_type] else data
        ),
    )
    assert parse_to_outcome(pool, tmp_path, packed, media_type) in {"file_malformed", "parse_limit"}


def write_sheet(rows: bytes) -> bytes:
    head = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>'
    sheet = head + rows + b"</sheetData></worksheet>"
    return change_parts(WRITERS[XLSX](), lambda name, data: sheet if name == MAIN_PARTS[XLSX] else data)


def test_a_cell_at_the_end_of_every_row(pool: ParserPool, tmp_path: Path) -> None:
    rows = b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (number, number) for number in range(1, 50_001))
    assert parse_to_outcome(pool, tmp_path, write_sheet(rows), XLSX) == "parse_limit"


def test_a_column_whose_name_has_no_end_is_the_last(pool: ParserPool, tmp_path: Path) -> None:
    rows = b'<row r="1"><c r="%s1"><v>7</v></c></row>' % (b"A" * 2_000_000)
    assert parse_to_outcome(pool, tmp_path, write_sheet(rows), XLSX) == "s\n7"


def test_a_million_rows_end_within_limits(pool: ParserPool, tmp_path: Path) -> None:
    rows = b"".join(b'<row r="%d"><c r="A%d"><v>%d</v></c></row>' % (n, n, n) for n in range(1, 1_000_001))
    outcome = parse_to_outcome(pool, tmp_path, write_sheet(rows), XLSX)
    assert outcome in {"parse_limit", "parse_timeout"} or outcome.endswith("\n1000000")
    assert "the words of it" in parse_to_outcome(pool, tmp_path, WRITERS[XLSX](), XLSX)


def test_errors_of_the_libraries_own_are_the_files_fault(pool: ParserPool, tmp_path: Path) -> None:
    """They derive from Exception alone."""
    packed = replace_in(WRITERS[PPTX](), "[Content_Types].xml", b"ContentType=", b"ContentTyp=")
    assert parse_to_outcome(pool, tmp_path, packed, PPTX) == "file_malformed"
    packed = replace_in(WRITERS[DOCX](), "[Content_Types].xml", b"ContentType=", b"ContentTyp=")
    assert parse_to_outcome(pool, tmp_path, packed, DOCX) == "file_malformed"
    packed = replace_in(WRITERS[XLSX](), MAIN_PARTS[XLSX], b'r="A1"', b'r="1A"')
    assert parse_to_outcome(pool, tmp_path, packed, XLSX) in {"file_malformed", "s\nthe words of it"}


@KINDS
def test_damage_that_only_its_own_library_names(pool: ParserPool, tmp_path: Path, media_type: str) -> None:
    target = BytesIO()
    with ZipFile(BytesIO(WRITERS[media_type]())) as whole, ZipFile(target, "w", ZIP_LZMA) as archive:
        for name in whole.namelist():
            archive.writestr(name, whole.read(name))
        place = archive.getinfo(MAIN_PARTS[media_type]).header_offset + len(MAIN_PARTS[media_type]) + 30
    packed = bytearray(target.getvalue())
    packed[place + 15 : place + 60] = b"\xff" * 45
    with ZipFile(BytesIO(packed)) as archive, pytest.raises(LZMAError):  # which derives from Exception alone
        archive.read(MAIN_PARTS[media_type])
    assert parse_to_outcome(pool, tmp_path, bytes(packed), media_type) == "file_malformed"


def test_an_e_book_that_names_no_package(pool: ParserPool, tmp_path: Path) -> None:
    packed = replace_in(WRITERS[EPUB](), "META-INF/container.xml", b"<rootfile ", b"<rootfil ")
    assert parse_to_outcome(pool, tmp_path, packed, EPUB) == "file_malformed"


def test_headers_without_end(pool: ParserPool, tmp_path: Path) -> None:
    """Their parameters would be read in the square of their length."""
    mail = b"From: a@b\nContent-Type: text/plain; " + b"x; " * 1_000_000 + b"\n\nwords"
    assert parse_to_outcome(pool, tmp_path, mail, MAIL) == "parse_limit"
    mail = b"From: a@b\nSubject: s" + b"\x0c" * 300_000 + b"\n\nwords"
    assert parse_to_outcome(pool, tmp_path, mail, MAIL) == "From: a@b\nSubject: s\nwords"


def test_mail_in_mail_in_mail(pool: ParserPool, tmp_path: Path) -> None:
    for depth, outcomes in ((50, {"From: a@b\nAttachment: message/rfc822"}), (10_000, {"parse_limit"})):
        mail = b"From: a@b\n" + b"Content-Type: message/rfc822\n\n" * depth + b"\nwords"
        assert parse_to_outcome(pool, tmp_path, mail, MAIL) in outcomes


CODES = {"file_malformed", "file_encrypted", "no_text", "parse_limit", "too_many_pages", "text_too_large"}


@KINDS
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_bytes_give_text_or_a_known_code(tmp_path: Path, media_type: str, data: st.DataObject) -> None:
    whole = bytearray(WRITERS[media_type]())
    for place, byte in data.draw(
        st.lists(st.tuples(st.integers(0, len(whole) - 1), st.integers(0, 255)), min_size=1, max_size=20)
    ):
        whole[place] = byte
    check_outcome(tmp_path, bytes(whole), media_type)


@KINDS
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_damaged_parts_give_text_or_a_known_code(tmp_path: Path, media_type: str, data: st.DataObject) -> None:
    """Bytes changed inside the XML, so that checksums are right and parsers see them."""
    packed = WRITERS[media_type]()
    names: list[str] = []
    change_parts(packed, lambda name, content: names.append(name) or content)  # type: ignore[func-returns-value]
    chosen = data.draw(st.sampled_from(names))
    start, length = data.draw(st.integers(0, 3_000)), data.draw(st.integers(0, 200))
    new = data.draw(st.binary(max_size=30))

    def damage(name: str, content: bytes) -> bytes:
        return content[:start] + new + content[start + length :] if name == chosen else content

    check_outcome(tmp_path, change_parts(packed, damage), media_type)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.sampled_from(
            [b"Content-Type: ", b"multipart/mixed; boundary=x", b"text/html", b"message/rfc822", b"; charset=", b"gbk",
             b"--x", b"--", b"\n\n", b"Content-Transfer-Encoding: ", b"base64", b"quoted-printable", b"=?", b"?=",
             b"\n", b"utf-8", b"Subject: ", b"From: ", b"\xff", b"<p>", b"words", b"name*0*=", b"filename=",
             b'"', b"\0", b"uuencode"]
        ),
        max_size=40,
    ).map(b"".join)
)  # fmt: skip
def test_any_mail_gives_text_or_a_known_code(tmp_path: Path, mail: bytes) -> None:
    check_outcome(tmp_path, mail, MAIL)


def check_outcome(folder: Path, content: bytes, media_type: str) -> None:
    path = folder / "blob"
    path.write_bytes(content)
    try:
        document = load_document(path, media_type, LoadLimits())
    except DocumentFailed as error:
        outcome = error.code
    else:
        assert document.pages[-1].end <= len(document.text)
        return
    assert outcome in CODES
