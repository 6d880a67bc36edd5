"""Makes those files of `data/samples/` that no text editor can write: the PDFs and the texts in old encodings.

    python tests/samples/make_samples.py

Needs on the machine: Chromium (prints HTML to PDF), `pdftoppm` (poppler-utils) and the TrueType fonts Liberation and
WenQuanYi Micro Hei: of the PostScript-flavoured Noto CJK Chromium makes a Type 3 font for every few glyphs. Needs in
the Python that runs it: pypdf, Pillow and numpy. The other files are written by hand where they lie.
"""

from __future__ import annotations

import io
import re
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image, ImageFilter
from pypdf import PdfReader, PdfWriter

SOURCE = Path(__file__).parent / "source"
SAMPLES = Path(__file__).parents[2] / "data" / "samples"

# Fixed, so that the files tell the story's dates and not the day they were printed on.
PDF_DATE = "D:20260105090000+08'00'"

PRINTED = {
    "handbook.zh.html": "手册/观测员手册.pdf",
    "heron-camera.en.html": "manuals/heron-camera-manual.pdf",
    "mirror-coating.en.html": "reports/2024-06-mirror-coating.pdf",
}
SCANNED = {"duty-log.zh.html": "记录/2025-11-02 值班日志（扫描）.pdf"}


@dataclass(frozen=True, kw_only=True)
class EncodedText:
    path: str
    encoding: str
    newline: str


ENCODED = {
    "minutes.zh.txt": EncodedText(path="记录/2025-11-18 台务会纪要.txt", encoding="gbk", newline="\r\n"),
    "history.zh.txt": EncodedText(path="历史/台史.txt", encoding="gb18030", newline="\n"),
    "visitor.zht.txt": EncodedText(path="历史/訪客手記.txt", encoding="big5", newline="\r\n"),
    "intern-letter.en.txt": EncodedText(path="letters/2026-01-intern-letter.txt", encoding="utf-16", newline="\r\n"),
}


def print_html(source: Path, target: Path) -> None:
    with tempfile.TemporaryDirectory() as profile:
        command = ["chromium", "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"]
        command += ["--disable-background-networking", "--disable-component-update", "--disable-sync"]
        command += [f"--user-data-dir={profile}", "--no-pdf-header-footer", "--generate-pdf-document-outline"]
        command += [f"--print-to-pdf={target}", source.resolve().as_uri()]
        subprocess.run(command, check=True, capture_output=True, timeout=120)


def finish_pdf(printed: Path, target: Path, title: str, author: str) -> None:
    writer = PdfWriter(clone_from=PdfReader(printed))
    dates = {"/CreationDate": PDF_DATE, "/ModDate": PDF_DATE}
    writer.add_metadata({"/Title": title, "/Author": author, **dates})
    writer.write(target)


def read_head(source: Path) -> tuple[str, str]:
    html = source.read_text(encoding="utf-8")
    title = re.search(r"<title>(.*?)</title>", html)
    author = re.search(r'<meta name="author" content="(.*?)">', html)
    return (title.group(1) if title else "", author.group(1) if author else "")


def age_picture(picture: Image.Image) -> Image.Image:
    """What an office scanner makes of a page: a little askew, soft, grey paper with noise, a dark edge."""
    turned = picture.convert("L").rotate(1.3, resample=Image.Resampling.BICUBIC, expand=False, fillcolor=196)
    soft = np.asarray(turned.filter(ImageFilter.GaussianBlur(0.6)), dtype=np.float32)
    noise = np.random.default_rng(1958)
    height, width = soft.shape
    paper = 0.80 * soft + 30 + noise.normal(0, 5, soft.shape)
    paper -= 34 * np.exp(-np.arange(width) / (0.02 * width))[None, :]
    paper -= 12 * (np.arange(height) / height)[:, None]
    return Image.fromarray(np.clip(paper, 0, 255).astype(np.uint8))


def scan_page(printed: Path, target: Path) -> None:
    """Writes a PDF of one picture, without any text layer."""
    with tempfile.TemporaryDirectory() as folder:
        stem = Path(folder) / "page"
        subprocess.run(["pdftoppm", "-r", "130", "-png", "-singlefile", printed, stem], check=True, timeout=60)
        aged = age_picture(Image.open(stem.with_suffix(".png")))
    jpeg = io.BytesIO()
    aged.save(jpeg, "PDF", resolution=130, quality=55)
    writer = PdfWriter(clone_from=PdfReader(jpeg))
    writer.add_metadata({"/Producer": "flatbed scanner", "/CreationDate": PDF_DATE, "/ModDate": PDF_DATE})
    writer.write(target)


def make_samples() -> None:
    for name, path in (PRINTED | SCANNED).items():
        target = SAMPLES / path
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory() as folder:
            printed = Path(folder) / "printed.pdf"
            print_html(SOURCE / name, printed)
            if name in SCANNED:
                scan_page(printed, target)
            else:
                finish_pdf(printed, target, *read_head(SOURCE / name))
    for name, text in ENCODED.items():
        target = SAMPLES / text.path
        target.parent.mkdir(parents=True, exist_ok=True)
        characters = (SOURCE / name).read_text(encoding="utf-8").replace("\n", text.newline)
        target.write_bytes(characters.encode(text.encoding))


if __name__ == "__main__":
    make_samples()
