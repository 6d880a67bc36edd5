"""Are planted false quotes flagged, and true sentences left alone? On sentences of real passages, five at a time."""

from __future__ import annotations

import gzip
import json
import os
import random
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from fakes.passages import make_passage

from retrieval.claims import find_unsupported
from retrieval.numbers import list_claimed_numbers
from retrieval.passages import Passage
from retrieval.polarity import NO
from retrieval.sentences import cut_sentences, holds_statement

DATA = Path(os.environ.get("KB_EVAL_DATA", Path(__file__).parents[2] / ".." / "shared" / "data")) / "qa"
SAMPLE = 100
CITED = 5
DIGITS = re.compile(r"\d+")
VERB = re.compile(r"\b(?:is|was|are|were|has|had|can|could|will|would)\b|[是有在为]")

pytestmark = [
    pytest.mark.evaluation,
    pytest.mark.skipif(not DATA.is_dir(), reason="evaluation data not found (KB_EVAL_DATA)"),
]


def read_lines(name: str) -> list[dict]:
    with gzip.open(DATA / name, "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


class Case:
    """A question's passage as `[1]`, four others, a sentence of it and one of a document that is not there."""

    def __init__(self, passages: list[Passage], stranger: str, question: dict, dice: random.Random) -> None:
        self.passages = passages
        self.stranger = stranger
        self.question = question
        self.dice = dice
        self.sentence = pick_sentence(passages[0].text, dice)
        self.other = pick_sentence(passages[1].text, dice)

    def flags(self, sentence: str, marker: str = "[1]") -> bool:
        """The sentence in an answer that cites every passage."""
        mark = "。" if re.search("[\u4e00-\u9fff]", sentence) else "."
        rest = "".join(f" x{mark} [{number}]" for number in range(2, CITED + 1))
        answer = f"{sentence.rstrip('。.!?！？ ')} {marker}{mark}{rest}"
        return any(span.start == 0 for span in find_unsupported(answer, self.passages))


def pick_sentence(text: str, dice: random.Random) -> str:
    found = [text[span.start : span.end] for span in cut_sentences(text)]
    found = [
        sentence
        for sentence in found
        if holds_statement(sentence) and 15 < len(sentence) < 300 and sentence[-1] in ".。"
    ]
    return re.sub(r"\s+", " ", dice.choice(found)) if found else ""


def read_cases(name: str) -> Iterator[Case]:
    docs = {doc["doc_id"]: doc for doc in read_lines(f"{name}.corpus.jsonl.gz")}
    questions = [q for q in read_lines(f"{name}.queries.jsonl.gz") if q["answerable"] and q.get("scope") != "doc"]
    golds = sorted({(q["doc_id"], q["gold_start"], q["gold_end"]) for q in questions})
    dice = random.Random(7)
    for question in dice.sample(questions, min(SAMPLE, len(questions))):
        gold = (question["doc_id"], question["gold_start"], question["gold_end"])
        foreign = [span for span in golds if span[0] != question["doc_id"]]
        *others, stranger = dice.sample(foreign, CITED)
        passages = [
            make_passage(docs[doc]["text"][start:end], document_id=doc, title=docs[doc]["title"], path=doc)
            for doc, start, end in (gold, *others)
        ]
        case = Case(passages, pick_sentence(docs[stranger[0]]["text"][stranger[1] : stranger[2]], dice), question, dice)
        if case.sentence and case.other and case.stranger:
            yield case


def change_number(case: Case) -> str:
    """One figure of the sentence, to one that stands nowhere in the passage."""
    figures = [
        match for match in DIGITS.finditer(case.sentence) if float(match.group()) in list_claimed_numbers(case.sentence)
    ]
    if not figures:
        return ""
    match = case.dice.choice(figures)
    changed = str(int(match.group()) + 1)
    if changed in case.passages[0].text:
        return ""
    return case.sentence[: match.start()] + changed + case.sentence[match.end() :]


def deny(case: Case) -> str:
    """A negation dropped where there is one, else one added to the first verb."""
    text = case.sentence
    if NO.search(text):
        return NO.sub("", text, count=1)
    match = VERB.search(text)
    if not match:
        return ""
    denied = (
        f"{match.group()} not" if match.group().isascii() else {"有": "没有"}.get(match.group(), f"不{match.group()}")
    )
    return text[: match.start()] + denied + text[match.end() :]


def splice(case: Case) -> str:
    if case.sentence.isascii():
        first, second = case.sentence.split(), case.other.split()
        return " ".join([*first[: len(first) // 2], *second[len(second) // 2 :]])
    return case.sentence[: len(case.sentence) // 2] + case.other[len(case.other) // 2 :]


def sum_up(case: Case) -> str:
    """Two true sentences as one."""
    if case.sentence.isascii():
        return f"{case.sentence.rstrip('. ')}, and {case.other}"
    return f"{case.sentence.rstrip('。')}，{case.other}"


def tell_answer(case: Case) -> str:
    """Question and answer as one sentence: other words, another order than the document's."""
    return f"{case.question['question'].rstrip('?？ ')} {case.question['answers'][0]}"


def measure_flagged(cases: list[Case], make: Callable[[Case], str], marker: str = "[1]") -> float:
    made = [(case, make(case)) for case in cases]
    flags = [case.flags(sentence, marker) for case, sentence in made if sentence]
    return sum(flags) / len(flags)


def measure_all(name: str) -> dict[str, float]:
    cases = list(read_cases(name))
    return {
        "verbatim": measure_flagged(cases, lambda case: case.sentence),
        "question and answer": measure_flagged(cases, tell_answer),
        "two as one": measure_flagged(cases, sum_up, "[1][2]"),
        "number changed": measure_flagged(cases, change_number),
        "negation": measure_flagged(cases, deny),
        "spliced": measure_flagged(cases, splice),
        "spliced, both cited": measure_flagged(cases, splice, "[1][2]"),
        "another number": measure_flagged(cases, lambda case: case.sentence, "[2]"),
        "invented": measure_flagged(cases, lambda case: case.stranger),
    }


# Measured limits, a few hundredths beyond what the sample gives (docs/answers.md has the figures).
MOST = {"verbatim": 0.02, "question and answer": 0.28, "two as one": 0.15}
LEAST = {"number changed": 0.93, "negation": 0.82, "spliced": 0.92, "spliced, both cited": 0.5,
         "another number": 0.97, "invented": 0.97}  # fmt: skip


@pytest.mark.parametrize("name", ["xquad_zh", "xquad_en", "nq_en"])
def test_planted_false_quotes_are_flagged_and_true_sentences_are_not(name: str) -> None:
    shares = measure_all(name)
    assert {kind: share for kind, share in shares.items() if share > MOST.get(kind, 1.0)} == {}
    assert {kind: share for kind, share in shares.items() if share < LEAST.get(kind, 0.0)} == {}
