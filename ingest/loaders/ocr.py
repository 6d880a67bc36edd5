"""Pages without a text that can be read: rendered by pdfium, read by RapidOCR, whose models come inside its package.

Nothing of it is loaded before the first such page: a parse child that meets none pays nothing. One thread, so that the
processor time of a page is what its limit counts and a worker stays within the core it was given.
"""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from statistics import median
from typing import TYPE_CHECKING, Any

from kb.errors import StartRefused
from kb.text import clean_text

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument, PdfPage

_Corners = Sequence[Sequence[float]]  # of a line: top left, top right, bottom right, bottom left; x and y each
ENCODING = "ocr"  # `encoding` of a document of which a page was read here

_PACKAGE = "rapidocr_onnxruntime"
_DOTS_PER_INCH = 200
_POINTS_PER_INCH = 72
_LONGEST_SIDE = 2_340  # an A4 page at 200 dpi; a larger one is rendered coarser, since memory grows with the pixels
# Measured on six pages whose text is known, five of them rendered at 60 dpi (243 lines): of the pairs of characters in
# a line, 98 % were right above a score of .9, 84 % above .8, about 60 % from .5 to .8, 20 % below .5. Scans of the
# evaluation data have .8 to 1.0. A line that is half right can still be found.
_LEAST_SCORE = 0.5
_LONG = 8  # times as wide as high: a line of running text, or one whose slope can be measured
_FULL = 0.8
_LEAST_COLUMN_LINES = 3
_LEAST_COLUMN_SHARE = 0.5  # lines of running text fill their column; cells of a table do not
_HAN = re.compile("[\u4e00-\u9fff]")
_LATIN = re.compile("[A-Za-z]")
# The model writes many a Chinese full stop as an ASCII one.
_HALF_STOP = re.compile("(?<=[\u4e00-\u9fff）》”])\\.(?![A-Za-z.])|\\.$")


@dataclass(frozen=True, kw_only=True, slots=True)
class TextBox:
    """One line of print and where it stands, in pixels from the top left."""

    text: str
    left: float
    top: float
    right: float
    bottom: float

    @property
    def middle(self) -> float:
        return (self.top + self.bottom) / 2


def check_ocr(package: str = _PACKAGE) -> None:
    """Raises StartRefused (`ocr_missing`) when the package, or a system library it needs, is not there.

    Asked of another process, so that a server does not hold what only parse children use.
    """
    found = subprocess.run([sys.executable, "-c", f"import {package}"], capture_output=True, check=False)  # noqa: S603
    if found.returncode:
        fault = (found.stderr.decode(errors="replace").strip().splitlines() or [f"exit code {found.returncode}"])[-1]
        reason = f"KB_OCR is on, but {package} cannot be used ({fault}); install kb-server[ocr]"
        raise StartRefused("ocr_missing", reason)


def read_page_image(document: PdfDocument, number: int) -> list[str]:
    """The lines on page `number`, from 0, in reading order; none when nothing on it can be read."""
    from pypdfium2 import PdfiumError

    try:
        page = document.get_page(number)
    except PdfiumError:
        return []
    try:
        found, _ = _load_engine()(_render_page(page))
    finally:
        page.close()
    kept = [(corners, text) for corners, text, score in found or () if float(score) >= _LEAST_SCORE]
    slope = _measure_slope([corners for corners, _ in kept])
    boxes = [_make_box(corners, text, slope) for corners, text in kept]
    return [line for line in map(_mend_stops, join_rows(order_boxes(boxes))) if line]


@cache
def _load_engine() -> Any:  # noqa: ANN401 - the package has no type hints
    from rapidocr_onnxruntime import RapidOCR

    return RapidOCR(intra_op_num_threads=1, inter_op_num_threads=1, max_side_len=_LONGEST_SIDE)


def _render_page(page: PdfPage) -> Any:  # noqa: ANN401 - an array of pixels, height by width by three
    scale = min(_DOTS_PER_INCH / _POINTS_PER_INCH, _LONGEST_SIDE / max(1.0, *page.get_size()))
    return page.render(scale=scale).to_numpy()


def _measure_slope(boxes: Sequence[_Corners]) -> float:
    """By how much lines fall to the right, for paper never lies quite straight: the median of the longer ones."""
    longer = [box for box in boxes if box[1][0] - box[0][0] > _LONG * (box[3][1] - box[0][1]) > 0]
    return median((box[1][1] - box[0][1]) / (box[1][0] - box[0][0]) for box in longer) if longer else 0.0


def _make_box(corners: _Corners, text: str, slope: float) -> TextBox:
    across = [float(corner[0]) for corner in corners]
    down = [float(corner[1] - slope * corner[0]) for corner in corners]
    return TextBox(text=clean_text(text).strip(), left=min(across), top=min(down), right=max(across), bottom=max(down))


def order_boxes(boxes: Sequence[TextBox]) -> list[list[TextBox]]:
    """Rows in reading order, each from left to right; columns of running text one after the other.

    What reaches across the gutter between two columns, as a headline does, stands between what is above and below it.
    """
    gutter = _find_gutter(boxes)
    if gutter is None:
        return list(_iter_rows(boxes))
    rows: list[list[TextBox]] = []
    band: list[TextBox] = []
    for box in [*sorted(boxes, key=lambda one: one.middle), None]:
        if box is not None and not box.left < gutter < box.right:
            band.append(box)
            continue
        rows += order_boxes([one for one in band if one.right <= gutter])
        rows += order_boxes([one for one in band if one.left >= gutter])
        rows += [[box]] if box is not None else []
        band = []
    return rows


def _find_gutter(boxes: Sequence[TextBox]) -> float | None:
    """Where a first column ends, of lines that fill it, with running text beside it; None when there is none."""
    best, fewest = None, len(boxes) // 3 + 1
    for gutter in sorted({box.left - 1 for box in boxes}):
        left = [box for box in boxes if box.right <= gutter]
        right = [box for box in boxes if box.left >= gutter]
        across = len(boxes) - len(left) - len(right)
        if across < fewest and _is_column(left) and _is_running_text(right) and _stand_beside(left, right):
            best, fewest = gutter, across
    return best


def _is_column(boxes: Sequence[TextBox]) -> bool:
    if not _is_running_text(boxes):
        return False
    width = max(box.right for box in boxes) - min(box.left for box in boxes)
    full = sum(box.right - box.left >= _FULL * width for box in boxes)
    return full >= _LEAST_COLUMN_SHARE * len(boxes)


def _is_running_text(boxes: Sequence[TextBox]) -> bool:
    if len(boxes) < _LEAST_COLUMN_LINES:
        return False
    return median((box.right - box.left) / max(1.0, box.bottom - box.top) for box in boxes) > _LONG


def _stand_beside(left: Sequence[TextBox], right: Sequence[TextBox]) -> bool:
    top = max(min(box.top for box in left), min(box.top for box in right))
    return top < min(max(box.bottom for box in left), max(box.bottom for box in right))


def _iter_rows(boxes: Sequence[TextBox]) -> Iterator[list[TextBox]]:
    """Boxes whose middle lies within the first one of their row stand in it."""
    row: list[TextBox] = []
    for box in sorted(boxes, key=lambda one: one.middle):
        if row and not row[0].top < box.middle < row[0].bottom:
            yield sorted(row, key=lambda one: one.left)
            row = []
        row.append(box)
    if row:
        yield sorted(row, key=lambda one: one.left)


def join_rows(rows: Sequence[Sequence[TextBox]]) -> list[str]:
    return [" ".join(box.text for box in row if box.text) for row in rows]


def _mend_stops(line: str) -> str:
    """Full stops of a Chinese line as they are printed, for sentences end at them."""
    if len(_HAN.findall(line)) <= len(_LATIN.findall(line)):
        return line
    return _HALF_STOP.sub("。", line)
