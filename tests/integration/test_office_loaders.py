"""Loaders of Office files, e-books, tables and mail, on files that the formats' own libraries write."""

from __future__ import annotations

import datetime as dt
from email.message import EmailMessage
from pathlib import Path

import docx
import openpyxl
import pptx
import pytest
from docx.oxml import parse_xml
from fakes.office_files import (
    add_part,
    change_parts,
    replace_in,
    save,
    write_docx,
    write_epub,
    write_pptx,
    write_xlsx,
)
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pptx.util import Inches

from ingest.loaders import LoadLimits, load_document
from ingest.loaders.word_styles import write_number
from kb.errors import DocumentFailed
from kb.media_type import CSV, DOCX, EPUB, MAIL, PPTX, TSV, XLSX
from kb.types import PageVerdict, ParsedDocument

W = 'xmlns:w="http://schemas.openxmlformats.org/wordprocessingml/2006/main"'
PARAGRAPHS = st.lists(
    st.text("天地玄黄 abc,。.|-é\u3000“”1２", min_size=1, max_size=30).filter(str.strip), min_size=1, max_size=8
)
UNRULED = PARAGRAPHS.map(lambda texts: [text.replace("|", "I") for text in texts])  # a bar is for cells in HTML
MANY = settings(max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def load(folder: Path, content: bytes, media_type: str, limits: LoadLimits | None = None) -> ParsedDocument:
    path = folder / "file"
    path.write_bytes(content)
    document = load_document(path, media_type, limits or LoadLimits())
    check_offsets(document)
    return document


def fail(folder: Path, content: bytes, media_type: str, limits: LoadLimits | None = None) -> str:
    with pytest.raises(DocumentFailed) as caught:
        load(folder, content, media_type, limits)
    return caught.value.code


def check_offsets(document: ParsedDocument) -> None:
    """Pages follow each other over the whole text; headings are lines of it."""
    assert document.pages[0].start == 0
    assert document.pages[-1].end == len(document.text)
    for before, after in zip(document.pages, document.pages[1:], strict=False):
        assert before.end <= after.start <= before.end + 1
    for heading in document.headings:
        assert heading.start == 0 or document.text[heading.start - 1] == "\n"
        assert heading.end == len(document.text) or document.text[heading.end] == "\n"


def list_pages(document: ParsedDocument) -> list[str]:
    return [document.text[page.start : page.end] for page in document.pages]


def list_headings(document: ParsedDocument) -> list[tuple[int, str]]:
    return [(heading.level, heading.title) for heading in document.headings]


def squeeze(text: str) -> str:
    return "".join(text.split())


# -- Word -----------------------------------------------------------------------------------------------------------


def build_report() -> bytes:
    document = docx.Document()
    document.core_properties.title = "观测报告"
    document.sections[0].header.paragraphs[0].text = "RUNNING HEAD"
    document.add_heading("总结", 1)
    document.add_paragraph("第一段。The first paragraph.")
    document.add_paragraph("望远镜", style="List Bullet")
    document.add_paragraph("first step", style="List Number")
    document.add_paragraph("second step", style="List Number")
    document.add_heading("Figures", 2)
    table = document.add_table(rows=3, cols=3)
    for row, values in zip(table.rows, [("名称", "口径", "年份"), ("Heron", "8 m", "2024"), ("", "", "")], strict=True):
        for cell, value in zip(row.cells, values, strict=True):
            cell.text = value
    table.cell(2, 0).merge(table.cell(2, 2)).text = "all of them"
    document.add_paragraph("结尾。")
    return save(document)


def test_a_word_document(tmp_path: Path) -> None:
    document = load(tmp_path, build_report(), DOCX)
    assert document.text == (
        "总结\n第一段。The first paragraph.\n- 望远镜\n1. first step\n2. second step\nFigures\n"
        "名称 | 口径 | 年份\nHeron | 8 m | 2024\nall of them\n结尾。"
    )
    assert list_headings(document) == [(1, "总结"), (2, "Figures")]
    assert (document.title, document.coverage, len(document.pages)) == ("观测报告", 1.0, 1)


@pytest.mark.parametrize("name", ["标题 2", "heading 2", "標題 2", "Überschrift 2"])
def test_headings_by_localised_style_names(tmp_path: Path, name: str) -> None:
    document = docx.Document()
    document.styles.add_style("x", 1).element.find(f"{{{docx.oxml.ns.nsmap['w']}}}name").set(
        f"{{{docx.oxml.ns.nsmap['w']}}}val", name
    )
    document.add_paragraph("章节", style=name)
    document.add_paragraph("words")
    assert list_headings(load(tmp_path, save(document), DOCX)) == [(2, "章节")]


def test_headings_by_outline_level(tmp_path: Path) -> None:
    document = docx.Document()
    for text, level in (("Deep", 2), ("only text", 9)):
        paragraph = document.add_paragraph(text)
        paragraph._p.get_or_add_pPr().append(parse_xml(f'<w:outlineLvl {W} w:val="{level}"/>'))
    assert list_headings(load(tmp_path, save(document), DOCX)) == [(3, "Deep")]


def test_numbered_articles_keep_their_numbers(tmp_path: Path) -> None:
    document = docx.Document()
    numbering = document.part.numbering_part.element
    numbering.insert(
        0,
        parse_xml(
            f'<w:abstractNum {W} w:abstractNumId="77"><w:lvl w:ilvl="0"><w:start w:val="9"/>'
            '<w:numFmt w:val="chineseCountingThousand"/><w:lvlText w:val="第%1条"/></w:lvl><w:lvl w:ilvl="1">'
            '<w:start w:val="1"/><w:numFmt w:val="decimal"/><w:lvlText w:val="%1.%2"/></w:lvl></w:abstractNum>'
        ),
    )
    numbering.append(parse_xml(f'<w:num {W} w:numId="77"><w:abstractNumId w:val="77"/></w:num>'))
    for text, depth in (("甲方", 0), ("付款", 1), ("交货", 1), ("乙方", 0), ("验收", 1)):
        paragraph = document.add_paragraph(text)
        paragraph._p.get_or_add_pPr().append(
            parse_xml(f'<w:numPr {W}><w:ilvl w:val="{depth}"/><w:numId w:val="77"/></w:numPr>')
        )
    text = load(tmp_path, save(document), DOCX).text
    assert text == "第九条 甲方\n九.1 付款\n九.2 交货\n第十条 乙方\n十.1 验收"


@pytest.mark.parametrize(
    ("number", "form", "written"),
    [
        (4, "upperRoman", "IV"),
        (1994, "lowerRoman", "mcmxciv"),
        (27, "lowerLetter", "aa"),
        (20, "chineseCounting", "二十"),
        (105, "chineseCounting", "一百零五"),
        (1010, "chineseCountingThousand", "一千零一十"),
        (3, "decimalEnclosedCircle", "③"),
        (21, "decimalEnclosedCircle", "21"),
        (7, "decimalZero", "07"),
        (7, "hebrew1", "7"),
        (10**9, "upperRoman", "1000000000"),
    ],
)
def test_numbers_in_their_forms(number: int, form: str, written: str) -> None:
    assert write_number(number, form) == written


TRACKED = (
    f"<w:p {W}><w:ins><w:r><w:t>inserted </w:t></w:r></w:ins><w:del><w:r><w:delText>deleted</w:delText></w:r></w:del>"
    "<w:r><w:rPr><w:vanish/></w:rPr><w:t>hidden</w:t></w:r><w:smartTag><w:r><w:t>tagged</w:t></w:r></w:smartTag>"
    "<w:moveFrom><w:r><w:t>moved</w:t></w:r></w:moveFrom></w:p>"
)
CONTROLLED = f"<w:sdt {W}><w:sdtContent><w:p><w:r><w:t>controlled</w:t></w:r></w:p></w:sdtContent></w:sdt>"
BOX = "<w:txbxContent><w:p><w:r><w:t>boxed</w:t></w:r></w:p></w:txbxContent>"
BOXED = (
    f'<w:p {W} xmlns:mc="http://schemas.openxmlformats.org/markup-compatibility/2006"><w:r><w:t>anchor</w:t>'
    f"<mc:AlternateContent><mc:Choice>{BOX}</mc:Choice><mc:Fallback>{BOX}</mc:Fallback></mc:AlternateContent></w:r></w:p>"
)
RUBY = (
    f"<w:p {W}><w:r><w:ruby><w:rt><w:r><w:t>hàn</w:t></w:r></w:rt><w:rubyBase><w:r><w:t>汉</w:t></w:r></w:rubyBase>"
    "</w:ruby></w:r><w:r><w:t>字</w:t></w:r></w:p>"
)


def test_what_word_hides_and_what_it_wraps(tmp_path: Path) -> None:
    document = docx.Document()
    for xml in (TRACKED, CONTROLLED, BOXED, RUBY):
        document.element.body.insert(len(document.element.body) - 1, parse_xml(xml))
    assert load(tmp_path, save(document), DOCX).text == "inserted tagged\ncontrolled\nanchor\nboxed\n汉字"


def test_footnotes_stand_at_the_end(tmp_path: Path) -> None:
    notes = (
        f'<w:footnotes {W}><w:footnote w:type="separator" w:id="0"><w:p><w:r><w:t>---</w:t></w:r></w:p></w:footnote>'
        '<w:footnote w:id="2"><w:p><w:r><w:t>脚注一</w:t></w:r></w:p></w:footnote></w:footnotes>'
    ).encode()
    relation = (
        b'<Relationship Id="rId99" Type="http://schemas.openxmlformats.org/officeDocument/2006/relationships/footnotes"'
        b' Target="footnotes.xml"/></Relationships>'
    )
    packed = replace_in(write_docx("正文"), "word/_rels/document.xml.rels", b"</Relationships>", relation)
    packed = replace_in(
        packed,
        "[Content_Types].xml",
        b"</Types>",
        b'<Override PartName="/word/footnotes.xml" ContentType="application/vnd.openxmlformats-officedocument.'
        b'wordprocessingml.footnotes+xml"/></Types>',
    )
    assert load(tmp_path, add_part(packed, "word/footnotes.xml", notes), DOCX).text == "正文\n脚注一"


@pytest.mark.parametrize(
    "kind", ["ms-word.document.macroEnabled.main", "openxmlformats-officedocument.wordprocessingml.template.main"]
)
def test_word_templates_and_macro_files_are_read(tmp_path: Path, kind: str) -> None:
    usual = b"openxmlformats-officedocument.wordprocessingml.document.main"
    packed = replace_in(write_docx("模板"), "[Content_Types].xml", usual, kind.encode())
    assert load(tmp_path, packed, DOCX).text == "模板"


@MANY
@given(PARAGRAPHS)
def test_every_paragraph_of_a_word_document_is_in_the_text(tmp_path: Path, paragraphs: list[str]) -> None:
    text = load(tmp_path, write_docx(*paragraphs), DOCX).text
    assert squeeze(text) == squeeze("".join(paragraphs))


# -- Excel ----------------------------------------------------------------------------------------------------------


def build_workbook() -> bytes:
    workbook = openpyxl.Workbook()
    sheet = workbook.active
    sheet.title = "一月"
    sheet.append(["日期", "站点", "亮度", "达标"])
    sheet.append([dt.date(2025, 1, 2), "岚川", 0.1 + 0.2, True])
    sheet.append([dt.datetime(2025, 1, 2, 3, 4, 5, tzinfo=dt.UTC).replace(tzinfo=None), None, 0.153, "=SUM(C2:C3)"])
    sheet["C3"].number_format = "0.0%"
    sheet.merge_cells("A4:C4")
    sheet["A4"] = "merged\nacross"
    sheet["C5"] = dt.time(21, 30)
    hidden = workbook.create_sheet("hidden")
    hidden.append(["secret"])
    hidden.sheet_state = "hidden"
    workbook.create_sheet("nothing")
    workbook.create_sheet("Notes").append(["the last", 3.0])
    return save(workbook)


def test_a_workbook(tmp_path: Path) -> None:
    document = load(tmp_path, build_workbook(), XLSX)
    first, *others = list_pages(document)
    assert first == (
        "一月\n日期 | 站点 | 亮度 | 达标\n2025-01-02 | 岚川 | 0.3 | TRUE\n"
        "2025-01-02 03:04:05 |  | 15.3% | =SUM(C2:C3)\nmerged across\n21:30:00"
    )
    assert others == ["", "", "Notes\nthe last | 3"]
    assert [page.verdict for page in document.pages] == [
        PageVerdict.INDEXED,
        PageVerdict.EMPTY,
        PageVerdict.EMPTY,
        PageVerdict.INDEXED,
    ]
    assert list_headings(document) == [(1, "一月"), (1, "Notes")]
    assert (document.title, document.coverage) == ("一月", 0.5)


def test_the_value_of_a_formula_wins(tmp_path: Path) -> None:
    packed = replace_in(
        write_xlsx({"s": [[1, "=A1+1", "=A1+2"]]}),
        "xl/worksheets/sheet1.xml",
        b"<f>A1+1</f><v></v>",
        b"<f>A1+1</f><v>2</v>",
    )
    assert load(tmp_path, packed, XLSX).text == "s\n1 | 2 | =A1+2"


def test_a_sheet_that_lies_about_its_size(tmp_path: Path) -> None:
    packed = replace_in(write_xlsx({"s": [[1, 2], [3, 4]]}), "xl/worksheets/sheet1.xml", b'ref="A1:B2"', b'ref="A1"')
    assert load(tmp_path, packed, XLSX).text == "s\n1 | 2\n3 | 4"


def test_too_many_sheets_and_too_much_text(tmp_path: Path) -> None:
    packed = write_xlsx({f"s{number}": [["x" * 100]] for number in range(4)})
    assert fail(tmp_path, packed, XLSX, LoadLimits(max_pages=3)) == "too_many_pages"
    assert fail(tmp_path, packed, XLSX, LoadLimits(max_characters=150)) == "text_too_large"


@MANY
@given(st.lists(PARAGRAPHS, min_size=1, max_size=4))
def test_every_cell_of_a_workbook_is_in_the_text(tmp_path: Path, rows: list[list[str]]) -> None:
    text = load(tmp_path, write_xlsx({"s": rows}), XLSX).text
    lines = text.split("\n")[1:]
    assert [squeeze(line) for line in lines] == [squeeze("|".join(row)) for row in rows]


# -- PowerPoint ------------------------------------------------------------------------------------------------------


def test_a_presentation(tmp_path: Path) -> None:
    presentation = pptx.Presentation()
    first = presentation.slides.add_slide(presentation.slide_layouts[1])
    first.shapes.title.text = "开题 Opening"
    first.placeholders[1].text = "point one\n第二点"
    first.notes_slide.notes_text_frame.text = "say hello"
    second = presentation.slides.add_slide(presentation.slide_layouts[6])
    cells = second.shapes.add_table(2, 2, 0, 0, Inches(4), Inches(2)).table
    for place, text in (((0, 0), "镜"), ((0, 1), "8 m"), ((1, 1), "4 m")):
        cells.cell(*place).text = text
    box = second.shapes.add_group_shape().shapes.add_textbox(0, 0, Inches(1), Inches(1))
    box.text_frame.text = "in a group"
    third = presentation.slides.add_slide(presentation.slide_layouts[1])
    third.shapes.title.text = "backup"
    third._element.set("show", "0")
    document = load(tmp_path, save(presentation), PPTX)
    assert list_pages(document) == ["开题 Opening\npoint one\n第二点\nsay hello", "镜 | 8 m\n4 m\nin a group", ""]
    assert list_headings(document) == [(1, "开题 Opening")]
    assert (document.title, document.pages[2].verdict) == ("开题 Opening", PageVerdict.EMPTY)


def test_a_show_with_macros_is_read(tmp_path: Path) -> None:
    usual = b"openxmlformats-officedocument.presentationml.presentation.main"
    packed = replace_in(
        write_pptx(("a", "b")), "[Content_Types].xml", usual, b"ms-powerpoint.slideshow.macroEnabled.main"
    )
    assert load(tmp_path, packed, PPTX).text == "a\nb"


@MANY
@given(st.lists(st.tuples(st.sampled_from(["题", "Title"]), PARAGRAPHS.map("\n".join)), min_size=1, max_size=3))
def test_every_paragraph_of_a_presentation_is_on_its_page(tmp_path: Path, slides: list[tuple[str, str]]) -> None:
    pages = list_pages(load(tmp_path, write_pptx(*slides), PPTX))
    assert [squeeze(page) for page in pages] == [squeeze(title + body) for title, body in slides]


# -- CSV --------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("codec", ["utf-8-sig", "gbk", "big5", "utf-16"])
def test_csv_in_any_encoding(tmp_path: Path, codec: str) -> None:
    rows = "姓名,城市\n" + "李明,北京\n王小山,台北\n" * 20
    document = load(tmp_path, rows.encode(codec), CSV)
    assert document.text.startswith("姓名 | 城市\n李明 | 北京\n王小山 | 台北\n")
    assert document.encoding is not None


@pytest.mark.parametrize(
    ("content", "text"),
    [
        ("a;b,c\n1;2,3\n4;5\n", "a | b,c\n1 | 2,3\n4 | 5"),
        ('name,note\nx,"one, two\nthree"\n', "name | note\nx | one, two three"),
        ('a, "b, c", d\n', "a | b, c | d"),
        ("only words\nin lines\n", "only words\nin lines"),
        ('he said "no\nand left, then\n' + "x,y\n" * 300, 'he said "no\nand left | then\n' + "x | y\n" * 299 + "x | y"),
        ('"never closed,1\n' + "x,y\n" * 300, '"never closed | 1\n' + "x | y\n" * 299 + "x | y"),
        ("a,,c\n,,\n,b,\n", "a |  | c\nb"),
    ],
)
def test_csv_dialects(tmp_path: Path, content: str, text: str) -> None:
    assert load(tmp_path, content.encode(), CSV).text == text


def test_tsv(tmp_path: Path) -> None:
    assert load(tmp_path, b"a b\tc, d\n1\t2\n", TSV).text == "a b | c, d\n1 | 2"


@MANY
@given(st.text('ab字,;\t"\n 1', max_size=200))
def test_csv_loses_no_letter(tmp_path: Path, content: str) -> None:
    text = load(tmp_path, f"{content}\n1".encode(), CSV).text
    kept = [character for character in text if character in "ab字1"]
    assert kept == [character for character in content + "1" if character in "ab字1"]


# -- e-books ----------------------------------------------------------------------------------------------------------


def test_an_e_book(tmp_path: Path) -> None:
    packed = write_epub(
        "<h1>第一章&nbsp;起</h1><p>春<b>风</b>。</p><p>又<br/>绿</p>",
        "<h2>Two</h2><ul><li>a</li><li>b</li></ul><table><tr><td><p>x</p></td><td>y</td></tr></table>"
        "<pre>if x:\n  y</pre>",
        '<script>no()</script><div style="display: none">hidden</div><ruby>汉<rt>hàn</rt></ruby>字<!-- no -->!',
        title="诗选",
    )
    document = load(tmp_path, packed, EPUB)
    assert list_pages(document) == ["第一章 起\n春风。\n又\n绿", "Two\n- a\n- b\nx | y\nif x:\n  y", "汉字!"]
    assert list_headings(document) == [(1, "第一章 起"), (2, "Two")]
    assert document.title == "诗选"


def test_chapters_that_are_no_xml(tmp_path: Path) -> None:
    head = '<?xml version="1.0" encoding="gbk"?><html xmlns="http://www.w3.org/1999/xhtml">'
    broken = f"{head}<body><p>春风<p>two &bogus; <i>x"
    assert load(tmp_path, write_epub(broken), EPUB).text == "春风\ntwo &bogus; x"


def test_a_chapter_that_is_missing_is_an_empty_page(tmp_path: Path) -> None:
    packed = change_parts(
        write_epub("<p>a</p>", "<p>b</p>"), lambda name, data: None if name.endswith("0.xhtml") else data
    )
    document = load(tmp_path, packed, EPUB)
    assert [(page.number, page.verdict.value) for page in document.pages] == [(1, "empty"), (2, "indexed")]


def test_a_chapter_whose_address_is_none_is_an_empty_page(tmp_path: Path) -> None:
    packed = replace_in(
        write_epub("<p>a</p>", "<p>b</p>"), "OEBPS/content.opf", b'href="chapter%200.xhtml"', b'href="http://["'
    )
    document = load(tmp_path, packed, EPUB)
    assert [(page.number, page.verdict.value) for page in document.pages] == [(1, "empty"), (2, "indexed")]


def test_drm_is_told_and_encrypted_fonts_are_not(tmp_path: Path) -> None:
    def write_encrypted(place: str) -> bytes:
        listed = f'<e xmlns="x"><CipherReference URI="{place}"/></e>'
        return write_epub("<p>words</p>", extra={"META-INF/encryption.xml": listed})

    assert fail(tmp_path, write_encrypted("OEBPS/chapter%200.xhtml"), EPUB) == "file_encrypted"
    assert load(tmp_path, write_encrypted("OEBPS/font.otf"), EPUB).text == "words"


@MANY
@given(UNRULED)
def test_every_paragraph_of_an_e_book_is_in_the_text(tmp_path: Path, paragraphs: list[str]) -> None:
    chapters = [f"<p>{paragraph}</p>" for paragraph in paragraphs]
    pages = list_pages(load(tmp_path, write_epub(*chapters), EPUB))
    assert [squeeze(page) for page in pages] == [squeeze(paragraph) for paragraph in paragraphs]


# -- mail -------------------------------------------------------------------------------------------------------------


def build_mail(*, plain: str | None = None, html: str | None = None) -> EmailMessage:
    message = EmailMessage()
    message["From"] = "李明 <li@example.com>"
    message["To"] = "team@example.com"
    message["Date"] = "Mon, 06 Jan 2025 10:00:00 +0800"
    message["Subject"] = "望远镜的会议纪要 and the minutes of a long meeting about the telescope"
    if plain is not None:
        message.set_content(plain)
    if html is not None:
        (message.add_alternative if plain is not None else message.set_content)(html, subtype="html")
    return message


HEAD = (
    "From: 李明 <li@example.com>\nTo: team@example.com\nDate: Mon, 06 Jan 2025 10:00:00 +0800\n"
    "Subject: 望远镜的会议纪要 and the minutes of a long meeting about the telescope\n"
)


def test_mail_prefers_plain_text_and_names_attachments(tmp_path: Path) -> None:
    message = build_mail(plain="大家好。\nSee you.", html="<p>other words</p>")
    message.add_attachment(b"\x89PNG", maintype="image", subtype="png", filename="图 1.png")
    message.add_attachment(build_mail(plain="the forwarded words"))
    document = load(tmp_path, bytes(message), MAIL)
    subject = str(message["Subject"])
    assert document.text == f"{HEAD}大家好。\nSee you.\nAttachment: 图 1.png\nAttachment: {subject}"
    assert (document.title, list_headings(document)) == (subject, [(1, subject)])


def test_mail_of_html_alone(tmp_path: Path) -> None:
    html = "<html><body><h1>标题</h1><table><tr><td><p>one</p><p>two</p></td></tr></table><p>三</p></body></html>"
    document = load(tmp_path, bytes(build_mail(html=html)), MAIL)
    assert document.text == HEAD + "标题\none\ntwo\n三"
    assert (1, "标题") in list_headings(document)


@pytest.mark.parametrize(
    ("charset", "codec", "words"),
    [
        ("gb2312", "gbk", "朱镕基在开会。"),
        ("big5", "big5", "訂單已經寄出。"),
        ("utf-7", "utf-7", "会议 at ten"),
        ("hz-gb-2312", "hz", "会议"),
        ("unknown-charset", "utf-8", "会议 é"),
        ("us-ascii", "gb18030", "没有声明的中文，在这里已经写了很多次了。"),
    ],
)
def test_mail_in_any_charset(tmp_path: Path, charset: str, codec: str, words: str) -> None:
    raw = words.encode(codec)
    head = b"From: a@b\nSubject: " + words.encode("gb18030" if codec != "big5" else "big5")
    mail = head + f"\nContent-Type: text/plain; charset={charset}\n\n".encode() + raw
    document = load(tmp_path, mail, MAIL)
    assert document.text.endswith("\n" + words)


def test_words_of_a_header_split_inside_a_character(tmp_path: Path) -> None:
    mail = b"From: a@b\nSubject: =?gb2312?B?zfvUtg==?=\n =?gb2312?B?vr8=?= ok\n\nwords"
    assert load(tmp_path, mail, MAIL).text == "From: a@b\nSubject: 望远究 ok\nwords"


@pytest.mark.parametrize(
    "mail",
    [
        b"just words, no header",
        b"Content-Type: multipart/mixed\n\nwords without a boundary",
        b"Content-Type: multipart/mixed; boundary=x\n\n--x\n\nwords, and never closed",
        b"Content-Type: ;;;=\nContent-Transfer-Encoding: base64\n\nwords not in base64 at all!",
        b"From: =?utf-8?Q?=ZZ?= =?x?B?!?=\n\nwords",
    ],
)
def test_broken_mime_keeps_the_words(tmp_path: Path, mail: bytes) -> None:
    assert "words" in load(tmp_path, mail, MAIL).text


@pytest.mark.parametrize("charset", ["idna", "undefined", "no-such", "a\x00b"])
def test_an_attachments_name_in_an_odd_encoding_costs_no_words(tmp_path: Path, charset: str) -> None:
    parts = (
        "Content-Type: multipart/mixed; boundary=x\n\n--x\n\n正文 words\n--x\nContent-Type: image/png\n"
        f"Content-Disposition: attachment; filename*={charset}''%C3%A4.png\n\n1\n--x--\n"
    )
    text = load(tmp_path, parts.encode(), MAIL).text
    assert text.startswith("正文 words\nAttachment: ")


def nest(depth: int) -> bytes:
    mail = b"\n\nmarker in the depth"
    for level in range(depth):
        mark = f"b{level}".encode()
        mail = b"Content-Type: multipart/mixed; boundary=%s\n\n--%s\n%s\n--%s--\n" % (mark, mark, mail, mark)
    return b"From: a@b\n" + mail


def test_nested_mail(tmp_path: Path) -> None:
    assert "marker" in load(tmp_path, nest(50), MAIL).text
    assert fail(tmp_path, nest(150), MAIL) == "parse_limit"


@MANY
@given(UNRULED)
def test_every_paragraph_of_a_mail_is_in_the_text(tmp_path: Path, paragraphs: list[str]) -> None:
    plain = load(tmp_path, bytes(build_mail(plain="\n".join(paragraphs))), MAIL).text
    html = "".join(f"<div>{paragraph}</div>" for paragraph in paragraphs)
    marked = load(tmp_path, bytes(build_mail(html=html)), MAIL).text
    assert squeeze(plain) == squeeze(marked) == squeeze(HEAD + "".join(paragraphs))
