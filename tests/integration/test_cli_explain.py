"""`kb explain` over a real socket, against a small server that keeps to the contract (`fakes/kb_server.py`)."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import KbServer, serve_kb
from rich.cells import cell_len

from api.cli.main import kb

Run = Callable[..., Result]

DOCUMENT = {"id": "d1", "path": "制度/年假.md", "title": None}
STAGES = [
    ("parsed", True, None, None, "version 1 answers at revision 3"),
    ("lexical", True, 2, 7.25, "place 2 of 9 candidates; 50 were asked for"),
    ("fused", False, None, None, "the filter excludes it by path_prefix '报告/': its path is '制度/年假.md'"),
    ("budget", False, None, None, "not reached: lost\nbefore \x1b[31m"),
]
NAMES = ("name", "present", "rank", "score", "reason")
ANSWER: dict[str, Any] = {
    "document": DOCUMENT,
    "stages": [dict(zip(NAMES, stage, strict=True)) for stage in STAGES],
    "verdict": "filtered",
    "revision": 3,
    "degraded": ["dense"],
}


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        server.add_base("b")
        server.explain_answer = ANSWER
        yield server


@pytest.fixture
def run(server: KbServer) -> Run:
    def run_command(*arguments: str) -> Result:
        return CliRunner(env={"KB_URL": server.url, "KB_API_KEY": server.key}).invoke(kb, ["explain", *arguments])

    return run_command


def test_the_verdict_and_a_line_for_each_stage(run: Run) -> None:
    result = run("年假有几天？", "制度/年假.md")
    first, empty, headers, *rows = result.stdout.splitlines()
    assert (result.exit_code, first, empty) == (0, "filtered  制度/年假.md", "")
    assert headers.split() == ["stage", "present", "rank", "score", "reason"]
    at = headers.index("reason")
    reasons = [row[at:] for row in rows]
    assert reasons == [*(reason for *_, reason in STAGES[:3]), "not reached: lost before \\x1b[31m"]
    assert rows[1][:at].split() == ["lexical", "yes", "2", "7.25"]
    assert rows[2][:at].split() == ["fused", "no"]
    assert {cell_len(row[:at]) for row in rows} == {at}
    assert result.stderr == "degraded: dense did not answer\n"


def test_with_json_the_answer_is_the_servers(run: Run) -> None:
    result = run("annual leave", "policy/leave.md", "--json")
    assert (json.loads(result.stdout), result.stderr) == (ANSWER, "")


def test_only_what_was_chosen_is_sent(server: KbServer, run: Run) -> None:
    run("年假", "a.md")
    run("q", "a b.md", "--kb", "b", "--top-k", "3", "--mode", "lexical", "--max-tokens", "99", "--no-merge")
    run("b", "q", "a.md")
    sent = [json.loads(one.body) for one in server.find("POST", "/explain")]
    assert sent[0] == {"query": "年假", "document": "a.md"}
    chosen = {"top_k": 3, "mode": "lexical", "max_tokens": 99, "merge": False}
    assert sent[1] == {"query": "q", "document": "a b.md", **chosen}
    assert sent[2] == {"query": "q", "document": "a.md"}


@pytest.mark.parametrize(
    "words", [(), ("q",), ("b", "q", "a", "x"), ("b", "q", "a", "--kb", "b"), ("..", "q", "a"), ("q", " ")]
)
def test_wrong_usage(run: Run, words: tuple[str, ...]) -> None:
    assert run(*words).exit_code == 2
