"""Columns and headings of real PDFs: sentences that run over a column's end, read off the pages, stand whole."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from ingest.loaders import LoadLimits, load_document
from kb.media_type import PDF
from kb.types import ParsedDocument

DOCS = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / "../shared/data")) / "docs/pdf"
REGISTER, JOURNAL = "en-federal-register-3col-15p.pdf", "en-journal-2col-13p.pdf"
HANDBOOK, LATEX = "en-handbook-page-2col-1p.pdf", "en-two-column-latex-3p.pdf"

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not (DOCS / REGISTER).exists(), reason="no evaluation data at KB_EVAL_DATA"),
]

CROSSING = [
    (REGISTER, "The most helpful comments reference a specific portion of the proposal, explain the reason for any"),
    (REGISTER, "activation, airspeed disagree alert, and altitude disagree alert,5 and may affect"),
    (REGISTER, "(EASA), the manufacturer, the operator, and the Ethiopian Civil Aviation Authority"),
    (REGISTER, "limit 12 the magnitude of any MCAS command to move the horizontal stabilizer"),
    (REGISTER, "checklist provides additional information for the flightcrew to use if"),
    (REGISTER, "control wiring. The FAA proposes this action to bring the airplanes into"),
    (REGISTER, "verification, and removing INOP markers if applicable, by accomplishing"),
    (REGISTER, "operational readiness flight must be resolved following the operator’s FAA-approved"),
    (JOURNAL, "responses are to a certain extent integrated may not apply on a seasonal or shorter scale."),
    (JOURNAL, "intercept and transpire at increasing rates until canopy closure, a time term is required"),
    (JOURNAL, "approximately equals a. Y gives the magnitude of change in zero flow days due to"),
    (JOURNAL, "Low flows at Lambrechtsbos B appear to be over-estimated by our"),
    (HANDBOOK, "The wing type that is the most common ranges in size for No. 6 up to 1"),
    (LATEX, "Donec nonummy pellentesque ante. Phasellus adipiscing semper elit."),
    (LATEX, "Vestibulum ante ipsum primis in faucibus orci luctus et ultrices posuere cubilia Curae;"),
]
HEADINGS = {
    REGISTER: ["Background", "Proposed Design Changes", "Costs of Compliance", "The Proposed Amendment"],
    "2022 Q3 AAPL.pdf": ["PART I — FINANCIAL INFORMATION", "Note 2 – Revenue", "Term Debt"],
    LATEX: ["Two-Column Document with Lorem Ipsum", "Abstract"],
}


@cache
def load(name: str) -> ParsedDocument:
    return load_document(DOCS / name, PDF, LoadLimits())


@pytest.mark.parametrize(("name", "sentence"), CROSSING)
def test_a_sentence_over_a_columns_end_is_whole(name: str, sentence: str) -> None:
    assert sentence in load(name).text  # on one line: nothing cuts it


@pytest.mark.parametrize("name", list(HEADINGS))
def test_headings_without_an_outline(name: str) -> None:
    document = load(name)
    titles = [heading.title for heading in document.headings]
    assert [wanted for wanted in HEADINGS[name] if wanted not in titles] == []
    for heading in document.headings:
        line = document.text[document.text.rfind("\n", 0, heading.start) + 1 : heading.end]
        assert " ".join(line.split()) == heading.title
        assert len(line) <= 90
        assert not line.endswith((".", "。", ",", "，", ";"))


@pytest.mark.parametrize(
    "name", ["zh-health-records-6p.pdf", "zh-bond-prospectus-tables-1p.pdf", "en-lorem-1p.pdf", HANDBOOK]
)
def test_no_body_line_is_a_heading(name: str) -> None:
    assert load(name).headings == ()
