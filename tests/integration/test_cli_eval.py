"""`kb eval` against the real server, over a real socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.server import Server

from api.cli.main import kb

Run = Callable[..., Result]

NOTES = {"domes.md": "The dome opens at night and weighs 200 tons.", "年假.txt": "员工每年享有十五天年假。"}
QUESTIONS = [
    {"question": "How heavy is the dome?", "paths": ["domes.md"], "answers": ["200 tons"]},
    {"question": "年假有几天？", "answers": ["十五天"]},
    {"question": "谁批准出差？ Who approves travel?", "answers": ["director"]},
]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    folder = tmp_path_factory.mktemp("notes")
    for name, text in NOTES.items():
        (folder / name).write_text(text, encoding="utf-8")
    with Server(tmp_path_factory.mktemp("cli") / "store") as server:

        def run_command(*arguments: str, **options: str | bytes) -> Result:
            return CliRunner(env={"KB_URL": server.url}).invoke(kb, list(arguments), **options)

        assert run_command("push", str(folder), "--kb", "notes").exit_code == 0
        yield run_command


def write(folder: Path, questions: list[dict[str, object]]) -> str:
    file = folder / "questions.jsonl"
    file.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in questions), encoding="utf-8")
    return str(file)


def test_a_run_is_told_kept_and_compared(run: Run, tmp_path: Path) -> None:
    out, page = tmp_path / "run.json", tmp_path / "run.html"
    told = run("eval", write(tmp_path, QUESTIONS), "--out", str(out), "--html", str(page))
    assert told.exit_code == 0, told.output
    assert "hit rate" in told.stdout
    assert "0.667" in told.stdout
    kept = json.loads(out.read_text(encoding="utf-8"))
    assert [one["rank"] for one in kept["items"]] == [1, 1, None]
    assert kept["answered_within"] == {"512": 0.6667, "1024": 0.6667, "2048": 0.6667}
    assert kept["knowledge_base"] == "notes"
    assert "谁批准出差？" in page.read_text(encoding="utf-8")

    lexical = run("eval", "-", "--mode", "lexical", "--no-merge", "--against", str(out), "--json",
                  input=json.dumps({**QUESTIONS[0], "answers": ["300 tons"]}))  # fmt: skip
    document = json.loads(lexical.stdout)
    assert document["asked"] == {"top_k": 20, "mode": "lexical", "max_tokens": 2048, "merge": False}
    assert (document["lost"], document["gained"]) == (["How heavy is the dome?"], [])
    again = run("eval", write(tmp_path, QUESTIONS), "--against", str(out))
    assert "before" in again.stdout
    assert "lost" not in again.stdout


def test_what_cannot_be_meant_is_a_wrong_call(run: Run, tmp_path: Path) -> None:
    assert run("eval", "-", input="{}").exit_code == 2
    broken = tmp_path / "broken.json"
    broken.write_text("{}")
    told = run("eval", write(tmp_path, QUESTIONS), "--against", str(broken))
    assert told.exit_code == 2
    assert "no run" in told.stderr
    refused = run("eval", write(tmp_path, QUESTIONS), "--top-k", "0")
    assert refused.exit_code == 4
    assert "bad_top_k" in refused.stderr
