"""Does the extractive answerer quote a sentence that holds the answer? On real question sets."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from pathlib import Path

import pytest
from fakes.passages import make_passage

from retrieval.extractive import choose_quotes

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "qa"
SAMPLE = 200
SPACE = re.compile(r"\s+")

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not DATA.is_dir(), reason="evaluation data not found (KB_EVAL_DATA)"),
]


def read_lines(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def squeeze(text: str) -> str:
    return SPACE.sub("", text).lower()


def measure_share(name: str, others: int, kind: str = "queries") -> float:
    """Share of questions whose quotes hold an answer string; `others` other passages follow the gold one."""
    docs = {doc["doc_id"]: doc for doc in read_lines(f"{name}.corpus.jsonl.gz")}
    questions = [q for q in read_lines(f"{name}.{kind}.jsonl.gz") if q["answerable"] and q.get("scope") != "doc"]
    golds = {(q["doc_id"], q["gold_start"], q["gold_end"]) for q in questions}
    dice = random.Random(7)
    held = 0
    sample = dice.sample(questions, min(SAMPLE, len(questions)))
    for question in sample:
        gold = (question["doc_id"], question["gold_start"], question["gold_end"])
        spans = [gold, *dice.sample(sorted(golds - {gold}), others)]
        passages = [
            make_passage(docs[doc]["text"][start:end], document_id=doc, title=docs[doc]["title"], path=doc)
            for doc, start, end in spans
        ]
        quoted = squeeze(" ".join(quote.text for quote in choose_quotes(question["question"], passages)))
        held += any(squeeze(answer) in quoted for answer in question["answers"])
    return held / len(sample)


# Measured floors, a few hundredths below what the sample gives (docs/answers.md has the figures).
@pytest.mark.parametrize(
    ("name", "others", "floor"),
    [
        ("cmrc_zh", 0, 0.84),
        ("cmrc_zh", 4, 0.84),
        ("squad_en", 4, 0.94),
        ("xquad_en", 4, 0.89),
        ("xquad_zh", 4, 0.90),
        ("nq_en", 4, 0.77),
    ],
)
def test_quotes_hold_the_answer(name: str, others: int, floor: float) -> None:
    share = measure_share(name, others)
    print(f"{name} with {others} other passages: {share:.3f}")
    assert share >= floor


@pytest.mark.parametrize("kind", ["queries", "simplified-questions"])
def test_quotes_of_a_traditional_text_hold_the_answer_to_a_question_in_either_script(kind: str) -> None:
    share = measure_share("drcd_mini_zht", 4, kind)
    print(f"drcd_mini_zht, {kind}, with 4 other passages: {share:.3f}")
    assert share >= 0.86
