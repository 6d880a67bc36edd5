"""`kb golden` against the real server, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.server import Server

from api.cli.main import kb

Run = Callable[..., Result]

NOTES = {
    "domes.md": "The dome opens at night and weighs 200 tons.",
    "leave.txt": "Everybody has fifteen days of annual leave.",
}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("notes")
    for name, text in NOTES.items():
        (folder / name).write_text(text)
    with Server(tmp_path_factory.mktemp("cli") / "store") as server:

        def run_command(*arguments: str, **options: str | bytes) -> Result:
            return CliRunner(env={"KB_URL": server.url}).invoke(kb, list(arguments), **options)

        assert run_command("push", str(folder), "--kb", "notes").exit_code == 0
        yield run_command


def test_questions_are_added_asked_moved_and_deleted(run: Run, tmp_path: Path) -> None:
    assert run("golden").stderr == "no golden questions\n"
    made = json.loads(run("golden", "add", "How heavy is the dome?", "--path", "domes.md", "--json").stdout)
    assert (made["paths"], made["answers"]) == (["domes.md"], [])
    added = run("golden", "add", "年假", "--answer", "fifteen days", "--answer", "十五天", "--kb", "notes")
    assert added.stdout.startswith("added ")
    listed = run("golden", "list")
    assert "fifteen days, 十五天" in listed.stdout
    assert listed.stdout == run("golden").stdout

    report = json.loads(run("golden", "run", "--json").stdout)
    assert [one["rank"] for one in report["items"]] in ([1, 1], [1, 2])
    told = run("golden", "run")
    assert "1  How heavy is the dome?" in told.stdout
    assert "of 2 questions" in told.stderr

    exported = run("golden", "export").stdout
    file = tmp_path / "golden.jsonl"
    file.write_bytes(b"\xef\xbb\xbf" + exported.encode())
    assert run("golden", "rm", made["id"]).stdout == f"deleted {made['id']}\n"
    assert run("golden", "import", str(file)).stdout == "added 1, unchanged 1, now 2\n"
    first = exported.splitlines()[0]
    again = run("golden", "import", "-", "--replace", "--json", input=first)
    assert json.loads(again.stdout) == {"added": 0, "unchanged": 1, "total": 1}
    assert run("golden", "export").stdout == f"{first}\n"


def test_what_goes_wrong_is_said(run: Run) -> None:
    assert run("golden", "add", "q").exit_code == 2
    assert "say what must be found" in run("golden", "add", "q").stderr
    assert run("golden", "--kb", "notes", "run").exit_code == 2
    assert run("golden", "rm", "0" * 32).stderr.startswith("golden_question_not_found: ")
    refused = run("golden", "import", "-", input='{"question": "a"}\n{\n')
    assert refused.exit_code == 4
    assert [line.partition(": ")[0] for line in refused.stderr.splitlines()] == ["bad_json", "missing_field"]
    assert "lines.1" in refused.stderr
    assert "lines.2" in refused.stderr
    assert run("golden", "run", "--kb", "nothing").exit_code == 4


def test_what_cannot_be_told_apart_sets_nothing(run: Run, tmp_path: Path) -> None:
    file = tmp_path / "questions.jsonl"
    questions = [f"Who looks after building {number}?" for number in range(10)]
    lines = [{"question": one, "answerable": label} for label in (True, False) for one in questions]
    file.write_text("\n".join(map(json.dumps, lines)), encoding="utf-8")
    done = run("golden", "calibrate", str(file))
    assert done.exit_code == 0
    assert "told apart (AUC)       0.500" in done.stdout
    assert [line.partition(":")[0] for line in done.stderr.splitlines()][-2:] == [
        "near chance",
        "nothing was set; --force sets it",
    ]
    told = json.loads(run("golden", "calibrate", str(file), "--force", "--json").stdout)
    assert (told["near_chance"], told["stored"]) == (True, True)


def test_a_calibration_that_cannot_be_done_says_why(run: Run, tmp_path: Path) -> None:
    few = run("golden", "calibrate", "-", input='{"question": "q", "answerable": true}')
    assert (few.exit_code, "1 answerable questions are too few" in few.stderr) == (2, True)
    assert run("create", "empty").exit_code == 0
    lines = [json.dumps({"question": "年假", "answerable": label}) for label in (True, False) for _ in range(10)]
    nothing = run("golden", "calibrate", "-", "--kb", "empty", input="\n".join(lines))
    assert (nothing.exit_code, "the searches found nothing" in nothing.stderr) == (1, True)
    assert run("delete", "empty", "--yes").exit_code == 0
