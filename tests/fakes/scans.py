"""PDFs put together of pages of the samples: some with a text layer, some scanned."""

from __future__ import annotations

from io import BytesIO
from pathlib import Path

from pypdf import PdfReader, PdfWriter

SAMPLES = Path(__file__).parents[2] / "data/samples"
MANUAL = SAMPLES / "manuals/heron-camera-manual.pdf"  # four pages of text
SCAN = SAMPLES / "记录/2025-11-02 值班日志（扫描）.pdf"  # one page


def make_pdf(pages: str) -> bytes:
    """A page of text for each `t`, a scanned one for each `s`, one with nothing on it for each space."""
    writer, target = PdfWriter(), BytesIO()
    for number, kind in enumerate(pages):
        if kind == " ":
            writer.add_blank_page(600, 800)
        else:
            source = PdfReader(MANUAL if kind == "t" else SCAN).pages
            writer.add_page(source[number % len(source)])
    writer.write(target)
    return target.getvalue()
