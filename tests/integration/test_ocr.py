"""Scanned pages read by OCR, in Chinese and English, through the pool of parse children as a worker has it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from pypdfium2 import PdfDocument, PdfImage

from ingest.loaders import LoadLimits, check_ocr
from ingest.loaders.ocr import TextBox, join_rows, order_boxes
from ingest.parsing import ParserLimits, ParserPool
from kb.errors import DocumentFailed, StartRefused
from kb.media_type import PDF
from kb.types import PageVerdict, ParsedDocument

SAMPLES = Path(__file__).parents[2] / "data/samples"
SCANNED_LOG = SAMPLES / "记录/2025-11-02 值班日志（扫描）.pdf"
MANUAL = SAMPLES / "manuals/heron-camera-manual.pdf"
DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data")) / "docs/pdf"
ON = ParserLimits(load=LoadLimits(ocr_pages=2), ocr_page_seconds=120)


def explain_missing() -> str:
    """Why no page can be read here; "" when it can."""
    try:
        check_ocr()
    except StartRefused as refusal:
        return refusal.detail
    return ""


MISSING = explain_missing()
needs_ocr = pytest.mark.skipif(bool(MISSING), reason=MISSING)


@pytest.fixture(scope="module")
def pool() -> Iterator[ParserPool]:
    with ParserPool(ON) as pool:
        yield pool


def squeeze(text: str) -> str:
    return re.sub(r"\s", "", text)


def check_read(document: ParsedDocument, language: str) -> None:
    assert {page.verdict for page in document.pages} == {PageVerdict.INDEXED}
    assert (document.coverage, document.encoding, document.language) == (1.0, "ocr", language)


@needs_ocr
def test_a_chinese_scan_of_the_samples(pool: ParserPool) -> None:
    document = pool.parse(SCANNED_LOG, PDF)
    check_read(document, "zh")
    for row in ("时刻 云量 风速 湿度 气温", "03:00 4 97% -18"):  # the paper lies askew, and rows are rows all the same
        assert row in document.text
    for words in ("湿度过限，关天窗", "报警D07。重试两次无效。", "天窗关严", "周予安"):
        assert words in squeeze(document.text)


@needs_ocr
@pytest.mark.evaluation
@pytest.mark.parametrize(
    ("name", "language", "wanted"),
    [
        (
            "zh-scanned-2p.pdf",
            "zh",
            ("健康档案", "张三九，男，出生于1985年5月20日", "接受降压药物治疗。2010年，他被确诊为二型糖尿病", "李四六"),
        ),
        ("en-scanned-1p.pdf", "en", ("This is an example of a non-text-searchable PDF. Because it was created from",)),
    ],
)
def test_scans_of_the_evaluation_data(pool: ParserPool, name: str, language: str, wanted: tuple[str, ...]) -> None:
    if not DATA.exists():
        pytest.skip("no evaluation data at KB_EVAL_DATA")
    document = pool.parse(DATA / name, PDF)
    check_read(document, language)
    assert [words for words in wanted if words not in document.text] == []


def test_off_by_default_a_scan_has_no_text() -> None:
    with ParserPool() as pool, pytest.raises(DocumentFailed) as caught:
        pool.parse(SCANNED_LOG, PDF)
    assert (caught.value.code, "1 scanned page" in caught.value.detail) == ("no_text", True)


def write_mixed(folder: Path) -> Path:
    """A page of text, the same page as a picture, and two pages of another scan."""
    mixed, manual, log = PdfDocument.new(), PdfDocument(MANUAL), PdfDocument(SCANNED_LOG)
    mixed.import_pages(manual, [0])
    width, height = manual[0].get_size()
    page, image = mixed.new_page(width, height), PdfImage.new(mixed)
    image.set_bitmap(manual[0].render(scale=2))
    image.set_matrix(image.get_matrix().scale(width, height))
    page.insert_obj(image)
    page.gen_content()
    mixed.import_pages(log, [0])
    mixed.import_pages(log, [0])
    path = folder / "mixed.pdf"
    mixed.save(path)
    return path


@needs_ocr
def test_text_is_kept_and_only_so_many_pages_are_read(pool: ParserPool, tmp_path: Path) -> None:
    document = pool.parse(write_mixed(tmp_path), PDF)
    assert [page.verdict.value for page in document.pages] == ["indexed", "indexed", "indexed", "scanned"]
    assert (document.encoding, document.coverage) == ("ocr", 0.75)
    text, picture = (squeeze(document.text[page.start : page.end]) for page in document.pages[:2])
    words = re.findall(r"[A-Za-z]{6,}", text)
    assert len(words) > 20
    assert sum(word in picture for word in words) > 0.9 * len(words)


def test_a_missing_package_refuses_the_start() -> None:
    with pytest.raises(StartRefused) as refused:
        check_ocr("no_such_package")
    assert (refused.value.code, refused.value.exit_code) == ("ocr_missing", 78)
    assert "No module named 'no_such_package'" in refused.value.detail
    assert "kb-server[ocr]" in refused.value.detail


@pytest.mark.parametrize("command", ["serve", "worker"])
def test_a_system_library_that_is_missing_refuses_the_start(tmp_path: Path, command: str) -> None:
    """The package is there, but what it is made of cannot be loaded: nothing is served, and nothing written."""
    package = tmp_path / "rapidocr_onnxruntime"
    package.mkdir()
    (package / "__init__.py").write_text('raise ImportError("libGL.so.1: cannot open shared object file")')
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(tmp_path), *sys.path]),
        "KB_OCR": "on",
        "KB_DATA_DIR": str(tmp_path / "store"),
        "KB_PORT": "0",
    }
    done = subprocess.run([sys.executable, "-m", "api.cli.main", command], env=environment, capture_output=True)
    assert (done.returncode, b"ocr_missing" in done.stderr, b"libGL.so.1" in done.stderr) == (78, True, True)
    assert not (tmp_path / "store").exists()


# -- reading order --------------------------------------------------------------------------------------------------


def make_box(text: str, left: float, top: float, width: float) -> TextBox:
    return TextBox(text=text, left=left, top=top, right=left + width, bottom=top + 30)


def make_columns(rows: int, width: float, **lefts: float) -> list[TextBox]:
    """Boxes `a0`, `b0`, `a1` … of the columns that begin at `a=…`, `b=…`."""
    return [
        make_box(f"{name}{row}", left, 100 + 40 * row, width) for row in range(rows) for name, left in lefts.items()
    ]


def read(boxes: list[TextBox]) -> list[str]:
    return join_rows(order_boxes(boxes))


def test_columns_are_read_one_after_the_other() -> None:
    across = [make_box("head", 50, 20, 900), make_box("foot", 50, 400, 900)]
    lines = read([*across, *make_columns(4, 400, a=50, b=550)])
    assert lines == ["head", "a0", "a1", "a2", "a3", "b0", "b1", "b2", "b3", "foot"]


def test_three_columns() -> None:
    lines = read(make_columns(3, 280, a=0, b=300, c=600))
    assert lines == ["a0", "a1", "a2", "b0", "b1", "b2", "c0", "c1", "c2"]


def test_rows_of_a_table_stay_rows() -> None:
    assert read(make_columns(3, 60, a=0, b=300, c=700)) == ["a0 b0 c0", "a1 b1 c1", "a2 b2 c2"]


def test_no_boxes_no_lines() -> None:
    assert read([]) == []
