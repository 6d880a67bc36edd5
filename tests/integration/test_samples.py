"""The sample documents are what their page says: encodings, pages, text layers, and questions that can be answered."""

from __future__ import annotations

import json
import re
import unicodedata
from functools import cache
from pathlib import Path
from typing import Any

import pypdfium2
import pytest

ROOT = Path(__file__).parents[2]
SAMPLES = ROOT / "data" / "samples"
QUESTIONS = [json.loads(line) for line in (ROOT / "tests/samples/questions.jsonl").read_text("utf-8").splitlines()]
ANSWERABLE = [question for question in QUESTIONS if question["answerable"]]
ENCODINGS = {
    "记录/2025-11-18 台务会纪要.txt": "gbk",
    "历史/台史.txt": "gb18030",
    "历史/訪客手記.txt": "big5",
    "letters/2026-01-intern-letter.txt": "utf-16",
}
PDF_PAGES = {
    "手册/观测员手册.pdf": 4,
    "manuals/heron-camera-manual.pdf": 4,
    "reports/2024-06-mirror-coating.pdf": 3,
    "记录/2025-11-02 值班日志（扫描）.pdf": 1,
}


@cache
def read_pages(path: str) -> tuple[str, ...]:
    file = SAMPLES / path
    if file.suffix != ".pdf":
        return (file.read_bytes().decode(ENCODINGS.get(path, "utf-8")),)
    with pypdfium2.PdfDocument(file) as document:
        return tuple(page.get_textpage().get_text_range() for page in document)


def squeeze(text: str) -> str:
    """Without white space: where lines break is the printer's business."""
    return re.sub(r"\s+", "", text)


def list_paths() -> list[str]:
    return sorted(file.relative_to(SAMPLES).as_posix() for file in SAMPLES.rglob("*") if file.is_file())


@pytest.mark.parametrize("question", ANSWERABLE, ids=lambda question: question["question"])
def test_the_answer_stands_in_the_document_and_on_the_page(question: dict[str, Any]) -> None:
    pages = read_pages(question["path"])
    text = "".join(pages) if question["page"] is None else pages[question["page"] - 1]
    assert squeeze(question["answer"]) in squeeze(text)


def test_there_are_questions_in_both_languages_and_some_without_an_answer() -> None:
    counts = {language: sum(question["language"] == language for question in ANSWERABLE) for language in ("zh", "en")}
    assert min(counts.values()) >= 10
    assert len(QUESTIONS) - len(ANSWERABLE) >= 4


def test_pdfs_have_their_pages_and_only_the_scan_lacks_text() -> None:
    assert {path: len(read_pages(path)) for path in list_paths() if path.endswith(".pdf")} == PDF_PAGES
    without_text = {path for path in PDF_PAGES if not "".join(read_pages(path)).strip()}
    assert without_text == {"记录/2025-11-02 值班日志（扫描）.pdf"}


@pytest.mark.parametrize("path", list_paths())
def test_text_holds_characters_and_not_their_look_alikes(path: str) -> None:
    text = "".join(read_pages(path))
    assert not [
        character for character in text if unicodedata.name(character, "").startswith(("KANGXI", "CJK RADICAL"))
    ]
    assert "\ufffd" not in text


@pytest.mark.parametrize("path", ENCODINGS)
def test_old_encodings_are_not_utf8(path: str) -> None:
    with pytest.raises(UnicodeDecodeError):
        (SAMPLES / path).read_bytes().decode("utf-8")


def test_the_history_needs_the_four_byte_range_of_gb18030() -> None:
    with pytest.raises(UnicodeDecodeError):
        (SAMPLES / "历史/台史.txt").read_bytes().decode("gbk")


def test_the_folder_stays_small() -> None:
    assert sum((SAMPLES / path).stat().st_size for path in list_paths()) < 1_500_000
