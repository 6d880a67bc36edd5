"""`make bench-loaders`: what the loaders read of the evaluation data, how fast, and with how much memory.

main content of web pages → strings and verdicts of every document → pages a second → memory → OCR
"""

from __future__ import annotations

import gzip
import json
import logging
import re
import statistics
import subprocess
import sys
import time
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pypdf
import pypdfium2
import trafilatura
from figures import Figure, describe_spread, print_group
from machine import describe_load, describe_machine
from resiliparse.extract.html2text import extract_plain_text
from texts import find_data

from ingest.loaders import LoadLimits, check_ocr, load_document
from ingest.loaders.decoding import decode_text
from ingest.loaders.html import extract_content
from kb.errors import DocumentFailed, InvalidInput, StartRefused
from kb.media_type import HEAD_BYTES, HTML, PDF, sniff_media_type

OUTCOMES = {  # of the manifest → what may become of the file; "ok" stands for a document
    "ok": {"ok"},
    "ok-after-repair": {"ok"},
    "scanned-no-text": {"no_text"},
    "encrypted": {"pdf_encrypted"},
    "corrupt": {"pdf_malformed", "no_text", "type_mismatch", "ok"},
    "empty": {"no_text"},
}
MANUAL = "pdf/zh-java-manual-55p.pdf"
SCANS = ("pdf/zh-scanned-2p.pdf", "pdf/en-scanned-1p.pdf")
ROUNDS = 5
ALLOWANCE = 150e6  # bytes of a parse beside its text
MEMORY_OF_A_PARSE = """
import sys
from pathlib import Path
from ingest.loaders import LoadLimits, load_document
document = load_document(Path(sys.argv[1]), sys.argv[2], LoadLimits())
peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM"))
print(int(peak.split()[1]) * 1024, len(document.text.encode()))
"""

Extract = Callable[[str], str]
Work = tuple[Callable[[Any], object], Sequence[Any]]  # what to do, and with which things


def main() -> None:
    logging.disable(logging.CRITICAL)  # the libraries tell of every page they dislike
    if not (find_data() / "docs/manifest.jsonl").exists():
        print("skipped: there is no evaluation data at KB_EVAL_DATA")
        return
    print(f"{describe_machine()}\n{describe_load()} before")
    parts: dict[str, Callable[[], Sequence[Figure]]] = {
        "Main content of web pages": measure_content,
        "Documents of the evaluation data": measure_documents,
        "Speed of reading PDF": measure_pdf_speed,
        "Speed of reading web pages": measure_html_speed,
        "Memory of a parse": measure_memory,
        "OCR of scanned pages": measure_ocr,
    }
    for title, measure in parts.items():
        print_group(title, measure())
    print(f"\n{describe_load()} after")


# -- main content ---------------------------------------------------------------------------------------------------


def measure_content() -> list[Figure]:
    """F1 over runs of four words, of mean precision and recall over the pages."""
    pages = [(markup, page["body"]) for page, markup in iter_pages()]
    scores = {name: score_pages(extract, pages) for name, extract in list_extractors().items()}
    least = round(scores["trafilatura"][0], 4)
    figures = []
    for name, (score, precision, recall) in scores.items():
        note = f"precision {precision:.3f}, recall {recall:.3f}"
        target = least if name.startswith("ours") else None
        figures.append(Figure(name=f"F1, {name}", value=score, unit="", at_least=target, note=note))
    return figures


def list_extractors() -> dict[str, Extract]:
    return {
        "ours, main content": lambda markup: extract_content(markup).headed.text,
        "ours, the document with its headline": load_markup,
        "trafilatura": lambda markup: trafilatura.extract(markup, include_comments=False) or "",
        "trafilatura, precision": lambda markup: (
            trafilatura.extract(markup, include_comments=False, favor_precision=True) or ""
        ),
        "resiliparse": lambda markup: str(extract_plain_text(markup, main_content=True)),
    }


def load_markup(markup: str) -> str:
    with TemporaryDirectory() as folder:
        path = Path(folder) / "page.html"
        path.write_text(markup, encoding="utf-8")
        return load_document(path, HTML, LoadLimits()).text


def iter_pages() -> Iterator[tuple[dict[str, Any], str]]:
    folder = find_data() / "webextract"
    for line in (folder / "reference.jsonl").read_text(encoding="utf-8").splitlines():
        page = json.loads(line)
        yield page, decode_text(gzip.decompress((folder / page["path"]).read_bytes())).text


def score_pages(extract: Extract, pages: Iterable[tuple[str, str]]) -> tuple[float, float, float]:
    """F1, precision, recall."""
    precisions, recalls = [], []
    for markup, wanted in pages:
        found, expected = count_runs(extract(markup)), count_runs(wanted)
        right = (found & expected).total()
        precisions.append(right / found.total() if found else 1.0)
        recalls.append(right / expected.total())
    precision, recall = statistics.mean(precisions), statistics.mean(recalls)
    return 2 * precision * recall / (precision + recall), precision, recall


def count_runs(text: str) -> Counter[tuple[str, ...]]:
    """Each run of four words, or all the words of a text that has fewer."""
    words = re.findall(r"\w+", text)
    return Counter(tuple(words[start : start + 4]) for start in range(max(1, len(words) - 3))) if words else Counter()


# -- documents ------------------------------------------------------------------------------------------------------


def measure_documents() -> list[Figure]:
    met = strings = strings_found = 0
    entries = read_manifest()
    missed = []
    for entry in entries:
        outcome, text = read_document(find_data() / "docs" / entry["path"])
        if outcome in OUTCOMES[entry["expected"]]:
            met += 1
        else:
            missed.append(entry["path"])
        if outcome == "ok":
            wanted = entry["must_contain"] or ()
            strings += len(wanted)
            squeezed = squeeze(text)
            strings_found += sum(squeeze(string) in squeezed for string in wanted)
    return [
        Figure(name="expected verdict", value=met, unit="files", at_least=len(entries), note=", ".join(missed)),
        Figure(name="strings that must be there", value=strings_found, unit="strings", at_least=strings),
    ]


def read_manifest() -> list[dict[str, Any]]:
    lines = (find_data() / "docs/manifest.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def read_document(path: Path, limits: LoadLimits | None = None) -> tuple[str, str]:
    """ "ok" and the text, or the code of what went wrong and nothing."""
    try:
        with path.open("rb") as file:
            media_type = sniff_media_type(path.name, file.read(HEAD_BYTES))
        return "ok", load_document(path, media_type, limits or LoadLimits()).text
    except (InvalidInput, DocumentFailed) as error:
        return error.code, ""


def squeeze(text: str) -> str:
    return re.sub(r"[\s\u00ad]", "", unicodedata.normalize("NFKC", text))


# -- speed ----------------------------------------------------------------------------------------------------------


def measure_pdf_speed() -> list[Figure]:
    """The manual alone, then all sound PDFs; ours and the bare library turn about."""
    docs = find_data() / "docs"
    entries = (entry for entry in read_manifest() if entry["format"] == "pdf" and entry["expected"] == "ok")
    sound = [docs / entry["path"] for entry in entries]
    figures = []
    for name, paths in (("a manual of 55 pages", [docs / MANUAL]), (f"{len(sound)} files", sound)):
        pages = sum(len(pypdfium2.PdfDocument(path)) for path in paths)
        readers = {"ours": read_ours, "pypdfium2": read_bare, "pypdf": read_with_pypdf}
        seconds = take_turns({label: (reader, paths) for label, reader in readers.items()}, slow={"pypdf"})
        for label, taken in seconds.items():
            rates = [pages / one for one in taken]
            note = f"{pages} pages, {describe_spread(rates, 'pages/s')}"
            figures.append(Figure(name=f"{name}: {label}", value=statistics.median(rates), unit="pages/s", note=note))
        ratio = statistics.median(seconds["ours"]) / statistics.median(seconds["pypdfium2"])
        figures.append(Figure(name=f"{name}: time of ours ÷ bare pypdfium2", value=ratio, unit="×", at_most=2))
    return figures


def measure_html_speed() -> list[Figure]:
    pages = [markup for _, markup in iter_pages()]
    extractors = list_extractors()
    names = ("ours, the document with its headline", "trafilatura", "resiliparse")
    seconds = take_turns({name: (extractors[name], pages) for name in names}, slow=set(names))
    return [
        Figure(name=name, value=len(pages) / taken[0], unit="pages/s", note=f"{len(pages)} pages")
        for name, taken in seconds.items()
    ]


def take_turns(work: dict[str, Work], slow: set[str]) -> dict[str, list[float]]:
    """Seconds of processor time that each takes for all of its items, round about; `slow` ones go once."""
    seconds: dict[str, list[float]] = {name: [] for name in work}
    for turn in range(ROUNDS):
        for name, (read, items) in work.items():
            if turn and name in slow:
                continue
            start = time.process_time()
            for item in items:
                read(item)
            seconds[name].append(time.process_time() - start)
    return seconds


def read_ours(path: Path) -> None:
    load_document(path, PDF, LoadLimits())


def read_bare(path: Path) -> None:
    document = pypdfium2.PdfDocument(path)
    for page in document:
        page.get_textpage().get_text_range()
    document.close()


def read_with_pypdf(path: Path) -> None:
    for page in pypdf.PdfReader(path).pages:
        page.extract_text()


# -- memory and OCR -------------------------------------------------------------------------------------------------


def measure_memory() -> list[Figure]:
    """Each file in a process of its own, as a parse child reads it: peak beside three times the text and 150 MB."""
    docs = find_data() / "docs"
    files = [
        docs / MANUAL,
        docs / "pdf/2023 Q1 AAPL.pdf",
        docs / "html/zh-baike-singer.html",
        docs / "txt/zh-sanguo-long.txt",
    ]
    with TemporaryDirectory() as folder:
        line, prose = Path(folder) / "one line of 20 MB.txt", Path(folder) / "ten novels.txt"
        line.write_text("a" * 20_000_000, encoding="utf-8")
        prose.write_text((docs / "txt/zh-sanguo-long.txt").read_text(encoding="utf-8") * 10, encoding="utf-8")
        return [measure_peak(path) for path in [*files, line, prose]]


def measure_peak(path: Path) -> Figure:
    with path.open("rb") as file:
        media_type = sniff_media_type(path.name, file.read(HEAD_BYTES))
    command = [sys.executable, "-c", MEMORY_OF_A_PARSE, str(path), media_type]
    peak, text = map(int, subprocess.run(command, capture_output=True, check=True).stdout.split())
    note = f"text {text / 1e6:.2f} MB"
    return Figure(name=path.name, value=peak / 1e6, unit="MB", at_most=round((3 * text + ALLOWANCE) / 1e6), note=note)


def measure_ocr() -> list[Figure]:
    try:
        check_ocr()
    except StartRefused as refusal:
        print(f"\nOCR skipped: {refusal.detail}")
        return []
    figures = []
    for name in SCANS:
        path = find_data() / "docs" / name
        pages = len(pypdfium2.PdfDocument(path))
        start = time.process_time()
        outcome, text = read_document(path, LoadLimits(ocr_pages=pages))
        taken = (time.process_time() - start) / pages
        note = f"{pages} pages, {outcome}, {len(text):,} characters; one thread"
        figures.append(Figure(name=f"{path.name}: processor time", value=taken, unit="s/page", note=note))
    return figures


if __name__ == "__main__":
    main()
