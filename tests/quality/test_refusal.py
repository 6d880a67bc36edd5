"""Does relevance tell the questions of a corpus from those of another one? On real question sets, held out."""

from __future__ import annotations

import gzip
import json
import os
import random
from pathlib import Path

import pytest
from fakes.local_server import KB, LocalServer

from api.cli.calibration import choose_threshold, count_below, measure_auc

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "qa"
SAMPLE = 80

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not DATA.is_dir(), reason="evaluation data not found (KB_EVAL_DATA)"),
]


def read_lines(name: str) -> list[dict]:
    with gzip.open(DATA / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def draw_questions(name: str) -> list[str]:
    questions = [one["question"] for one in read_lines(f"{name}.queries") if one["answerable"]]
    return random.Random(7).sample(questions, min(SAMPLE, len(questions)))


def measure_all(server: LocalServer, name: str, questions: list[str]) -> list[float]:
    values = []
    for question in questions:
        body = {"query": question, "relevance": True}
        found = server.request("POST", f"{KB}/{name}/search", json=body).json()["relevance"]
        values.append(found["value"] if found else 0.0)
    return values


# Floors below what docs/answers.md tells of all questions.
@pytest.mark.parametrize(("name", "foreign", "floor"), [("rgb_en", "nq_en", 0.85), ("drcd_mini_zht", "cmrc_zh", 0.85)])
def test_foreign_questions_are_refused_and_own_ones_are_not(
    name: str, foreign: str, floor: float, tmp_path: Path
) -> None:
    server = LocalServer(tmp_path / "store")
    try:
        server.create(name)
        server.upload(name, {f"{one['doc_id']}.txt": one["text"].encode() for one in read_lines(f"{name}.corpus")})
        server.work()
        own = measure_all(server, name, draw_questions(name))
        others = measure_all(server, name, draw_questions(foreign)[: len(own)])
    finally:
        server.close()
    threshold = choose_threshold(own[::2], others[::2], 0.05)
    wrong, right = (count_below(values[1::2], threshold) / len(values[1::2]) for values in (own, others))
    area = measure_auc(own, others)
    print(f"{name}: AUC {area.share:.3f}, {threshold:.3f} refuses {wrong:.3f} of its own, {right:.3f} of {foreign}")
    assert area.low >= 0.85
    assert right >= floor
    assert wrong <= 0.2
