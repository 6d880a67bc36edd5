"""How `kb eval` reads questions, judges answers and compares runs."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest

from api.cli.evaluation import (
    Outcome,
    Run,
    ask_all,
    compare_runs,
    cut_texts,
    judge_answer,
    read_questions,
    read_run,
    write_run,
)
from api.cli.evaluation_page import write_page
from api.cli.question_lines import BadQuestions
from kb.types import NewGoldenQuestion


def passage(path: str, text: str) -> dict[str, Any]:
    return {"document": {"path": path}, "text": text}


def outcome(question: str, rank: int | None, milliseconds: float = 10) -> Outcome:
    return Outcome(
        question=question, rank=rank, within=[512] if rank == 1 else [], milliseconds=milliseconds, first="a"
    )


def build_run(*outcomes: Outcome) -> Run:
    return Run(knowledge_base="手册", asked={"top_k": 20}, revision=3, outcomes=outcomes)


def test_questions_are_read_line_by_line() -> None:
    data = '\ufeff{"question": "年假有几天？", "answers": ["十五天"]}\n\n{"question": "leave?", "paths": ["hr/"]}\r\n'
    assert read_questions(data.encode()) == [
        NewGoldenQuestion(question="年假有几天？", paths=[], answers=["十五天"]),
        NewGoldenQuestion(question="leave?", paths=["hr/"], answers=[]),
    ]


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "holds no question"),
        (b"\xff\xfe", "not UTF-8: byte 0"),
        (b"{}", "line 1 is no object with a question"),
        (b"nonsense", "line 1 is no JSON object: 'nonsense'"),
        (b'{"question": "a"}', "line 1 says neither paths nor answers"),
        (b'\n{"question": "a", "paths": "b"}', "line 2: paths is no list of strings"),
        (b'{"question": "a", "answers": [""]}', "line 1: answers is no list of strings"),
    ],
)
def test_what_cannot_be_meant_is_named(data: bytes, message: str) -> None:
    with pytest.raises(BadQuestions, match=message):
        read_questions(data)


def test_an_answer_is_judged_by_document_and_words() -> None:
    question = NewGoldenQuestion(question="how long?", paths=["hr/"], answers=["15 Days"])
    passages = [passage("it/a.md", "15 days"), passage("hr/a.md", "no"), passage("hr/b.md", "１５ｄａｙｓ of leave")]
    found = judge_answer(question, passages, 12.3456)
    assert found == Outcome(question="how long?", rank=3, within=found.within, milliseconds=12.346, first="it/a.md")
    assert found.within == [512, 1024, 2048]
    assert judge_answer(question, passages[:2], 1).rank is None
    assert judge_answer(question, [], 1).first is None


@pytest.mark.parametrize(("paths", "rank"), [(["copies/"], 1), (["other.md"], None)])
def test_a_copy_that_another_passage_stands_for_is_found(paths: list[str], rank: int | None) -> None:
    found = {**passage("hr/制度.md", "年假有十五天。"), "duplicates": [{"path": "copies/制度.md"}]}
    asked = NewGoldenQuestion(question="q", paths=paths, answers=[])
    assert judge_answer(asked, [found], 1.0).rank == rank


def test_a_budget_cuts_the_last_text() -> None:
    assert list(cut_texts(["a" * 400, "b" * 400, "c"], 150)) == ["a" * 400, "b" * 200]
    assert list(cut_texts(["a" * 400, "b" * 400], 100)) == ["a" * 400]
    question = NewGoldenQuestion(question="q", answers=["天数"])
    late = [passage("a", "文" * 1000), passage("b", "天数")]
    assert judge_answer(question, late, 1).within == [1024, 2048]


def test_figures_are_means_over_all_questions() -> None:
    answers: list[Mapping[str, Any]] = [{"passages": [passage("a", "x")]}, {"passages": []}]
    questions = [NewGoldenQuestion(question="one", paths=["a"]), NewGoldenQuestion(question="two", paths=["a"])]
    outcomes = [one for one, _ in ask_all(questions, lambda _: answers.pop(0))]
    run = build_run(*outcomes, outcome("three", 4), outcome("four", 1))
    assert (run.hit_rate, run.mrr) == (0.75, 0.5625)
    assert run.answered_within(512) == 0.5
    assert build_run().hit_rate == build_run().mrr == build_run().find_latency(95) == 0
    assert build_run(*(outcome(str(n), 1, n) for n in range(101))).find_latency(95) == 95


def test_a_run_is_read_as_it_was_written() -> None:
    run = build_run(outcome("年假？", 2), outcome("b", None))
    document = json.dumps(write_run(run), ensure_ascii=False).encode()
    again = read_run(document)
    assert (again.outcomes, again.asked, again.revision) == (list(run.outcomes), {"top_k": 20}, 3)
    for broken in (b"", b"[]", b"{}", document.replace(b"rank", b"rang")):
        with pytest.raises(ValueError, match="no run"):
            read_run(broken)


def test_runs_are_compared_by_question() -> None:
    before = build_run(outcome("a", 1), outcome("b", None), outcome("gone", 1))
    after = build_run(outcome("a", None), outcome("b", 3), outcome("new", None))
    found = compare_runs(before, after)
    assert (found.gained, found.lost, found.shared) == (["b"], ["a"], 2)


def test_the_page_shows_both_runs_and_escapes_what_it_shows() -> None:
    before = build_run(outcome("<b>年假</b>？", None), outcome("b", 1, 700))
    after = build_run(outcome("<b>年假</b>？", 1), outcome("b", None, 3000))
    page = write_page(after, before, compare_runs(before, after))
    assert "&lt;b&gt;年假&lt;/b&gt;？" in page
    assert "<b>年假" not in page
    assert page.count("<svg") == 3
    assert page.count('<rect class="before"') == page.count('<rect class="now"') > 0
    assert "src=" not in page
    assert "http" not in page
    assert "before" not in write_page(after, None, None).split("<body>")[1]
