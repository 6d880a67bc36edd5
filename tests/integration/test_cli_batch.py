"""`kb ask --batch` over a real socket: each question once, errors again, whatever happened to the run before."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import Fault, KbServer, serve_kb

from api.cli.batch import FIELDS, Batch, BatchReport, Question, ask_all, open_answers
from api.cli.client import Client
from api.cli.main import kb
from api.cli.progress import show_stage
from api.schemas.ask import AskBody

Run = Callable[..., Result]
ANSWER = {"answer": "八十元 [1]。", "refused": False, "citations": []}
LINES: list[dict[str, Any]] = [
    {"question": "学生票多少钱？", "id": "q1", "expected": "八十元", "response_schema": {"type": "integer"}},
    {"question": "Who?", "language": "en", "top_k": 3},
    {"question": "Who?", "language": "en", "top_k": 3},
    {"question": "它呢？", "history": [{"role": "user", "content": "票价？"}]},
]


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        server.add_base("demo")
        server.ask_answer = ANSWER
        yield server


@pytest.fixture
def run(server: KbServer, tmp_path: Path) -> Run:
    write(tmp_path / "in.jsonl", LINES)

    def run_batch(*arguments: str) -> Result:
        files = ["--batch", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, ["ask", *files, *arguments])

    return run_batch


def write(path: Path, lines: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(line, ensure_ascii=False) + "\n" for line in lines), "utf-8")


def read(path: Path) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    return sorted(lines, key=lambda told: told["line"])


def test_every_question_is_answered_in_a_line(server: KbServer, run: Run, tmp_path: Path) -> None:
    result = run("--json", "--language", "zh", "--concurrency", "3")
    assert (result.exit_code, json.loads(result.stdout)) == (
        0,
        {"answered": 4, "refused": 0, "failed": 0, "skipped": 0},
    )
    assert read(tmp_path / "out.jsonl") == [
        {"line": n, "request": line, "response": ANSWER} for n, line in enumerate(LINES, start=1)
    ]
    bodies = [json.loads(one.body) for one in server.find("POST", "/ask")]
    assert sorted(json.dumps(body, sort_keys=True) for body in bodies) == sorted(
        json.dumps(
            {"history": [], "language": "zh"} | {k: v for k, v in line.items() if k not in ("id", "expected")},
            sort_keys=True,
        )
        for line in LINES
    )


def test_a_line_may_have_every_field_of_a_question_but_those_of_one_that_is_kept_or_streamed() -> None:
    assert set(FIELDS) == set(AskBody.model_fields) - {"conversation_id", "stream"}


def test_a_second_run_asks_nothing_and_a_third_what_is_new(server: KbServer, run: Run, tmp_path: Path) -> None:
    run()
    again = run()
    assert (again.exit_code, len(server.find("POST", "/ask"))) == (0, 4)
    assert "4 answered before" in again.output
    write(tmp_path / "in.jsonl", [{"question": "new"}, LINES[1], *LINES, LINES[1]])  # the line is there four times now
    assert json.loads(run("--json").stdout) == {"answered": 3, "refused": 0, "failed": 0, "skipped": 4}


def test_errors_stand_in_their_line_and_are_asked_again(server: KbServer, run: Run, tmp_path: Path) -> None:
    server.faults = [Fault("/ask", 422, "question_too_long"), Fault("/ask", 500, "internal_error")]
    first = run("--concurrency", "1", "--json")
    assert (first.exit_code, json.loads(first.stdout)["failed"]) == (1, 2)
    told = read(tmp_path / "out.jsonl")
    assert [one.get("error", {}).get("code") for one in told] == ["question_too_long", "internal_error", None, None]
    server.ask_answer = {**ANSWER, "refused": True}
    second = run()
    assert second.exit_code == 0
    assert "2 answered, 2 of them refused, 2 answered before" in second.output
    told = read(tmp_path / "out.jsonl")
    assert [(one["line"], "response" in one) for one in told] == [(n, True) for n in range(1, 5)]


def test_what_passes_is_tried_again_at_once(server: KbServer, run: Run, tmp_path: Path) -> None:
    server.faults = [Fault("/ask", 429, "too_busy", headers={"retry-after": "0"})]
    assert run().exit_code == 0
    assert len(server.find("POST", "/ask")) == 5


def test_a_torn_line_is_taken_out_and_its_question_asked_again(server: KbServer, run: Run, tmp_path: Path) -> None:
    run()
    out = tmp_path / "out.jsonl"
    whole = out.read_bytes()
    last = whole.rindex(b"\n", 0, -1) + 1
    in_a_character = whole.index("八".encode(), last) + 1
    for cut in (whole[:-1], whole[:-9], whole[: last + 5], whole[:in_a_character]):
        out.write_bytes(cut)
        assert run().exit_code == 0
        assert len(read(out)) == 4


def test_a_server_or_knowledge_base_that_is_gone_ends_the_run(server: KbServer, run: Run, tmp_path: Path) -> None:
    gone = run("--kb", "other", "--concurrency", "1")
    assert (gone.exit_code, len(server.find("POST", "/ask"))) == (4, 1)
    assert "knowledge_base_not_found" in gone.output
    assert read(tmp_path / "out.jsonl") == []


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ('{"question": "a"}\n{"query": "b"}\n', "line 2"),
        ('\n"a"\n', "line 2"),
        ('{"question": " "}\n', "line 1"),
        ('{"question": 5}\n', "line 1"),
        ("{", "line 1"),
        ('{"question": "half of a pair: \\ud800"}\n', "line 1"),
        ('{"question": "a"}\n{"question": "b", "temperature": NaN}\n', "line 2"),
        ('{"question": "a", "id": ' + "[" * 100_000 + "]" * 100_000 + "}\n", "line 1"),
    ],
)
def test_a_line_without_a_question_is_told_before_anything_is_asked(
    server: KbServer, run: Run, tmp_path: Path, lines: str, said: str
) -> None:
    (tmp_path / "in.jsonl").write_text(lines, "utf-8")
    result = run()
    assert (result.exit_code, server.requests) == (2, [])
    assert said in result.output


def test_a_file_that_is_no_answers_is_left_alone(server: KbServer, run: Run, tmp_path: Path) -> None:
    for text in (b"my notes\nand more\n", b'{"a": 1}\n', b'{"request": {}, "error": "\xe5"}\n{"a"'):
        (tmp_path / "out.jsonl").write_bytes(text)
        assert run().exit_code == 2
        assert (tmp_path / "out.jsonl").read_bytes() == text


def test_a_folder_that_is_not_there_is_told_before_anything_is_asked(
    server: KbServer, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "out.jsonl").symlink_to(tmp_path / "none" / "out.jsonl")
    result = run()
    assert (result.exit_code, server.find("POST", "/ask")) == (1, [])
    assert "out_unwritable: " in result.output


def test_a_full_disk_ends_the_run(server: KbServer) -> None:
    questions = [Question(line=n, request={"question": "Who?"}, key=str(n)) for n in range(3)]
    with (
        closing(Client(server.url)) as client,
        open_answers(Path("/dev/full")) as out,
        show_stage("asking", 3) as stage,
    ):
        path, report = "/knowledge-bases/demo/ask", BatchReport()
        ask_all(Batch(client=client, path=path, fields={}, out=out, stage=stage, report=report), questions, 1)
    assert report.failure is not None
    assert (report.failure.code, report.answered, len(server.find("POST", "/ask"))) == ("out_unwritable", 0, 1)


def test_options_that_cannot_be_meant(server: KbServer, tmp_path: Path) -> None:
    file = tmp_path / "a.jsonl"
    write(file, LINES)
    for words in (
        [],
        ["q", "--batch", str(file), "--out", str(tmp_path / "b")],
        ["--batch", str(file)],
        ["q", "--out", str(file)],
        ["--batch", str(file), "--out", str(file)],
        ["--batch", str(tmp_path / "none"), "--out", str(tmp_path / "b")],
        ["--batch", str(file), "--out", str(tmp_path / "b"), "--concurrency", "0"],
    ):
        assert CliRunner(env={"KB_URL": server.url}).invoke(kb, ["ask", *words]).exit_code == 2, words
