"""Every document of the evaluation data: its verdict, and the strings that must be in its text."""

from __future__ import annotations

import json
import os
import re
import unicodedata
from pathlib import Path
from typing import Any

import pytest

from ingest.loaders import LoadLimits, load_document
from kb.errors import DocumentFailed, InvalidInput
from kb.media_type import HEAD_BYTES, sniff_media_type
from kb.types import PageVerdict, ParsedDocument

DOCS = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data")) / "docs"
MANIFEST = DOCS / "manifest.jsonl"

# What may become of a file for each verdict of the manifest; "ok" stands for a document.
OUTCOMES = {
    "ok": {"ok"},
    "ok-after-repair": {"ok"},
    "ok-lossy": {"ok"},
    "scanned-no-text": {"no_text"},
    "garbled-text": {"no_text", "ok"},
    "encrypted": {"pdf_encrypted"},
    "corrupt": {"pdf_malformed", "no_text", "type_mismatch", "ok"},
    "corrupt-or-repaired": {"pdf_malformed", "no_text", "ok"},
    "empty": {"no_text"},
}
CODECS = {"utf-8-sig": {"utf-8-sig"}, "gbk": {"gb18030"}}  # GB18030 holds all of GBK

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not MANIFEST.exists(), reason="no evaluation data at KB_EVAL_DATA"),
]


def read_manifest() -> list[dict[str, Any]]:
    if not MANIFEST.exists():
        return []
    return [json.loads(line) for line in MANIFEST.read_text(encoding="utf-8").splitlines()]


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00ad]", "", unicodedata.normalize("NFKC", text))


@pytest.mark.parametrize("entry", read_manifest(), ids=lambda entry: entry["path"])
def test_every_document_of_the_manifest(entry: dict[str, Any]) -> None:
    document = load_or_code(DOCS / entry["path"])
    assert ("ok" if isinstance(document, ParsedDocument) else document) in OUTCOMES[entry["expected"]]
    if isinstance(document, str):
        return
    check_shape(document)
    exact = entry["format"] in {"txt", "md"}
    text = document.text if exact else squeeze(document.text)
    assert [
        wanted for wanted in entry["must_contain"] or () if (wanted if exact else squeeze(wanted)) not in text
    ] == []
    if entry["format"] == "pdf":
        assert len(document.pages) == entry["pages"]
    elif entry["encoding"]:
        assert document.encoding in CODECS.get(entry["encoding"], {entry["encoding"]})
    if entry["lang"] in {"zh", "en"}:
        assert document.language == entry["lang"]


@pytest.mark.parametrize(
    "entry", [entry for entry in read_manifest() if entry["format"] in {"txt", "md"}], ids=lambda entry: entry["path"]
)
def test_text_files_decode_exactly(entry: dict[str, Any]) -> None:
    data = (DOCS / entry["path"]).read_bytes()
    wanted = data.decode(entry["encoding"] or "utf-8")
    if not wanted.strip():
        return
    media_type = sniff_media_type(entry["path"], data[:HEAD_BYTES])
    text = load_document(DOCS / entry["path"], media_type, LoadLimits()).text
    assert text == unicodedata.normalize("NFC", wanted.replace("\r\n", "\n").replace("\r", "\n"))


def load_or_code(path: Path) -> ParsedDocument | str:
    try:
        with path.open("rb") as file:
            media_type = sniff_media_type(path.name, file.read(HEAD_BYTES))
        return load_document(path, media_type, LoadLimits())
    except (InvalidInput, DocumentFailed) as error:
        return error.code


def check_shape(document: ParsedDocument) -> None:
    assert "\x00" not in document.text
    document.text.encode()
    assert [page.number for page in document.pages] == list(range(1, len(document.pages) + 1))
    for page, following in zip(document.pages, document.pages[1:], strict=False):
        assert page.end + 1 == following.start
    for page in document.pages:
        assert (page.end > page.start) == (page.verdict is PageVerdict.INDEXED)
    assert document.pages[-1].end == len(document.text)
    for heading in document.headings:
        assert heading.title
        assert document.text[heading.start : heading.end].strip()
