"""Damaged and locked PDFs: what can be saved of them, and what is said about the rest."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

import pytest
from fakes.bare_pdf import bind_pdf
from pypdf import PdfReader, PdfWriter

from ingest.loaders import LoadLimits, load_document
from ingest.loaders.pdf_mending import count_locked_pages, iter_mended
from kb.errors import DocumentFailed
from kb.media_type import PDF
from kb.types import PageVerdict, ParsedDocument

SAMPLES = Path(__file__).parents[2] / "data/samples"
MANUAL = SAMPLES / "manuals/heron-camera-manual.pdf"
REPORT = SAMPLES / "reports/2024-06-mirror-coating.pdf"


def load(path: Path) -> ParsedDocument:
    return load_document(path, PDF, LoadLimits())


def fail(path: Path) -> tuple[str, str]:
    with pytest.raises(DocumentFailed) as caught:
        load(path)
    return caught.value.code, caught.value.detail


def write_cut(folder: Path, source: Path, share: float) -> Path:
    content = source.read_bytes()
    path = folder / "cut.pdf"
    path.write_bytes(content[: int(share * len(content))])
    return path


def count_mended(path: Path) -> int:
    return len(list(iter_mended(path, LoadLimits())))


def write_encrypted(folder: Path, password: str) -> Path:
    writer = PdfWriter(clone_from=PdfReader(REPORT))
    writer.encrypt(user_password=password, owner_password="owner", algorithm="RC4-128")
    path = folder / "locked.pdf"
    writer.write(path)
    return path


def test_a_file_without_its_trailer_is_read_whole(tmp_path: Path) -> None:
    document = load(write_cut(tmp_path, MANUAL, 0.95))
    whole = load(MANUAL)
    assert document.text == whole.text
    assert [heading.title for heading in document.headings] == [heading.title for heading in whole.headings]
    assert document.coverage == 1.0
    assert document.title is None  # it stood in the trailer's reach


def test_pages_that_are_lost_stay_in_the_ledger(tmp_path: Path) -> None:
    document = load(write_cut(tmp_path, MANUAL, 0.6))
    assert [page.verdict for page in document.pages] == [PageVerdict.INDEXED] * 2 + [PageVerdict.EMPTY] * 2
    assert "stays cold for 31 hours" in " ".join(document.text.split())
    assert document.coverage == 0.5


def test_pages_that_pdfium_cannot_reach_are_collected_by_pypdf(tmp_path: Path) -> None:
    """Cut at 80 %, this file has lost an object that pdfium will not open it without."""
    document = load(write_cut(tmp_path, REPORT, 0.8))
    whole = load(REPORT)
    assert document.text == whole.text
    assert [(page.number, page.start, page.end) for page in document.pages] == [
        (page.number, page.start, page.end) for page in whole.pages
    ]


def test_what_is_too_far_gone_says_so(tmp_path: Path) -> None:
    code, detail = fail(write_cut(tmp_path, SAMPLES / "手册/观测员手册.pdf", 0.6))
    assert code == "pdf_malformed"
    assert detail == "this PDF is damaged, and no text can be read from what is left of it"


@pytest.mark.parametrize(
    "content",
    [b"", b"not a pdf /Catalog", b"%PDF-1.7 " + b"1 0 obj " * 1_000, b"%PDF-1.7\n1 0 obj<</Type/Catalog>>endobj"],
)
def test_what_was_never_one_is_malformed(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(content)
    assert fail(path)[0] == "pdf_malformed"


def test_mending_does_not_begin_without_a_head(tmp_path: Path) -> None:
    path = tmp_path / "x.pdf"
    path.write_bytes(b"1 0 obj<</Type/Catalog/Pages 2 0 R>>endobj")
    assert count_mended(path) == 0


def test_too_many_pages_are_too_many_in_a_mended_file(tmp_path: Path) -> None:
    with pytest.raises(DocumentFailed) as caught:
        load_document(write_cut(tmp_path, MANUAL, 0.95), PDF, LoadLimits(max_pages=3))
    assert caught.value.code == "too_many_pages"


def test_a_locked_file_names_its_cipher(tmp_path: Path) -> None:
    path = write_encrypted(tmp_path, "secret")
    assert fail(path) == (
        "pdf_encrypted",
        "a password is needed to open this PDF (RC4, 128 bits); send it again with one",
    )


def test_a_locked_file_counts_its_pages(tmp_path: Path) -> None:
    path = write_encrypted(tmp_path, "secret")
    with pytest.raises(DocumentFailed) as caught:
        load(path)
    assert caught.value.verdicts == (PageVerdict.ENCRYPTED,) * 3
    assert count_locked_pages(path, LoadLimits(max_pages=2)) == 0  # nobody believes it
    path.write_bytes(path.read_bytes().replace(b"/Count 3", b"/Kount 3"))
    assert count_locked_pages(path, LoadLimits()) == 0


def test_an_owner_password_locks_nobody_out(tmp_path: Path) -> None:
    assert load(write_encrypted(tmp_path, "")).text == load(REPORT).text


@pytest.mark.parametrize(
    ("pages", "detail"),
    [(1, "no page has text: 1 empty page"), (2, "no page has text: 2 empty pages")],
)
def test_a_file_without_text_counts_its_pages(tmp_path: Path, pages: int, detail: str) -> None:
    writer, target = PdfWriter(), BytesIO()
    for _ in range(pages):
        writer.add_blank_page(600, 800)
    writer.write(target)
    path = tmp_path / "blank.pdf"
    path.write_bytes(target.getvalue())
    assert fail(path) == ("no_text", detail)


def test_a_scan_says_that_it_is_one() -> None:
    path = SAMPLES / "记录/2025-11-02 值班日志（扫描）.pdf"
    assert fail(path) == ("no_text", "no page has text: 1 scanned page without a text layer")


def test_half_a_surrogate_pair_in_the_title_costs_no_more_than_the_title(tmp_path: Path) -> None:
    words = b"BT /F 12 Tf 50 700 Td (The words of this page) Tj ET"
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[3 0 R]/Count 1>>",
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 600 800]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d>>stream\n%s\nendstream\n" % (len(words), words),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
        b"<</Title<FEFFD8000041>>>",
    ]
    path = tmp_path / "titled.pdf"
    path.write_bytes(bind_pdf(objects).replace(b"/Root 1 0 R>>", b"/Root 1 0 R/Info 6 0 R>>"))
    document = load(path)
    assert (document.text, document.title) == ("The words of this page", None)
