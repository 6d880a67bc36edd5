"""What reading a PDF costs beside pdfium alone: processor time as a ratio in one run, and peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pypdfium2

from bench.figures import Figure, print_group
from ingest.loaders import LoadLimits, load_document
from kb.media_type import PDF

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[1] / "../shared/data"))
MANUAL = DATA / "docs/pdf/zh-java-manual-55p.pdf"
ROUNDS = 7
MEBIBYTE = 1 << 20
_MEASURE_PEAK = """\
import sys
from pathlib import Path
from ingest.loaders import LoadLimits, load_document
text = load_document(Path(sys.argv[1]), "application/pdf", LoadLimits()).text
peak = Path("/proc/self/status").read_text().partition("VmHWM:")[2].split()[0]
print(len(text.encode()), int(peak) * 1024)
"""


def measure_pdf() -> list[Figure]:
    """Figures of the 55-page manual; none without the evaluation data."""
    if not MANUAL.exists():
        return []
    ours = lambda: load_document(MANUAL, PDF, LoadLimits())  # noqa: E731
    pairs = [(_time(ours), _time(_extract_bare)) for _ in range(ROUNDS)]
    full, bare = min(pair[0] for pair in pairs), min(pair[1] for pair in pairs)
    text, peak = _measure_peak()
    return [
        Figure(name="55-page PDF, pdfium alone", value=bare * 1000, unit="ms"),
        Figure(name="55-page PDF, read by us", value=full / bare, unit="× pdfium alone", at_most=2.0),
        Figure(
            name="peak memory of that parse",
            value=peak / MEBIBYTE,
            unit="MiB",
            at_most=3 * text / MEBIBYTE + 150,
            note="3 × the text + 150 MiB",
        ),
    ]


def _extract_bare() -> int:
    document = pypdfium2.PdfDocument(MANUAL)
    characters = 0
    for number in range(len(document)):
        page = document.get_page(number)
        text_page = page.get_textpage()
        characters += len(text_page.get_text_range())
        text_page.close()
        page.close()
    document.close()
    return characters


def _time(run: Callable[[], object]) -> float:
    started = time.process_time()
    run()
    return time.process_time() - started


def _measure_peak() -> tuple[int, int]:
    """Bytes of the text, and of memory at its peak, of a process that reads the file and nothing else."""
    command = [sys.executable, "-c", _MEASURE_PEAK, str(MANUAL)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    text, peak = map(int, done.stdout.split())
    return text, peak


if __name__ == "__main__":
    print_group("Reading a PDF", measure_pdf())
