"""`kb ask` within a conversation, and `kb conversations`, against the real server with a scripted chat model."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.chat_server import DONE, FINISH, Reply, send_status, send_stream, write_event
from fakes.live_server import LiveServer
from fakes.local_server import LocalServer

from api.cli.main import kb

FILES = {"塔.md": "# 望江塔\n\n望江塔位于北门外。塔高四十六米。\n".encode()}
TRUE, FALSE = "塔高四十六米[1]。", "塔高九十九米[1]。"

Run = Callable[..., Result]


def say(*texts: str) -> Reply:
    return send_stream(*map(write_event, texts), FINISH, DONE)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveServer]:
    root = tmp_path_factory.mktemp("talk") / "store"
    local = LocalServer(root)
    local.create("塔")
    local.upload("塔", FILES)
    local.work()
    local.close()
    with LiveServer(root, llm_retries=0) as live:
        yield live


@pytest.fixture
def run(server: LiveServer) -> Iterator[Run]:
    def run_command(*arguments: str, typed: str | None = None) -> Result:
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, list(arguments), input=typed)

    yield run_command
    for one in list_talks(run_command):
        assert run_command("conversations", "delete", one["id"], "--yes").exit_code == 0


def list_talks(run: Run, *options: str) -> list[dict]:
    return [json.loads(line) for line in run("conversations", "--json", *options).stdout.splitlines()]


def test_a_conversation_is_gone_on_with_by_its_id(server: LiveServer, run: Run) -> None:
    chat = server.script(say(TRUE))
    first = run("ask", "望江塔在哪里？")
    (line,) = first.stderr.splitlines()
    name, _, talk = line.partition(": ")
    assert (first.exit_code, name) == (0, "conversation")
    chat = server.script(say("望江塔有多高？"), say(TRUE))
    second = run("ask", "它有多高？", "--conversation", talk, "--no-stream")
    assert (second.exit_code, second.stderr) == (0, f"conversation: {talk}\n")
    assert [one["content"] for one in chat.bodies[1]["messages"][1:3]] == ["望江塔在哪里？", "塔高四十六米。"]
    [listed] = list_talks(run)
    assert (listed["id"], listed["turns"], listed["title"]) == (talk, 2, "望江塔在哪里？")
    assert json.loads(run("ask", "再说一遍？", "--conversation", talk, "--json").stdout)["conversation_id"] == talk
    refused = run("ask", "q", "--conversation", "0" * 32)
    assert (refused.exit_code, refused.stderr.split(":")[0]) == (4, "conversation_not_found")


@pytest.mark.parametrize("options", [[], ["--no-stream"]], ids=["streamed", "whole"])
def test_what_no_passage_bears_out_is_marked(server: LiveServer, run: Run, options: list[str]) -> None:
    server.script(say(FALSE + "位于北门外[1]。"))
    told = run("ask", "望江塔有多高？", *options)
    lines = told.stdout.splitlines()
    assert lines[0] == FALSE + "位于北门外[1]。"
    assert lines[-2].startswith("[1] 塔.md, p. 1: “")
    assert lines[-1] == f"[?] “{FALSE}”"
    assert told.stderr.splitlines()[0] == "1 sentence is borne out by none of the passages: see [?]"
    server.script(say(TRUE))
    assert "[?]" not in run("ask", "望江塔有多高？", *options).output


def test_questions_are_read_one_a_line_and_are_one_conversation(server: LiveServer, run: Run) -> None:
    server.script(say(TRUE), say("望江塔有多高？"), say(TRUE))
    told = run("ask", "望江塔在哪里？", "--interactive", typed="\n它有多高？\n  \n")
    assert told.exit_code == 0
    assert told.stdout.count("\n[1] 塔.md") == 2
    [talk] = list_talks(run)
    assert (talk["turns"], told.stderr) == (2, f"conversation: {talk['id']}\n")
    server.script(say(TRUE))
    again = run("ask", "-i", "--json", "--conversation", talk["id"], typed="还有呢\n")
    assert json.loads(again.stdout)["conversation_id"] == talk["id"]


def test_a_question_that_fails_does_not_end_them(server: LiveServer, run: Run) -> None:
    server.script(send_status(401), say(TRUE))
    told = run("ask", "-i", "--no-stream", typed="望江塔在哪里？\n望江塔有多高？\n")
    assert told.exit_code == 5
    assert told.stderr.splitlines()[0].startswith("llm_key_refused: ")
    assert told.stdout.startswith(TRUE)
    assert run("ask", "-i", typed="").exit_code == 0


def test_what_does_not_go_together(run: Run, tmp_path: Path) -> None:
    files = ["--batch", str(tmp_path / "in"), "--out", str(tmp_path / "out")]
    assert [run("ask", *more).exit_code for more in ([*files, "-i"], [*files, "--conversation", "x"], [])] == [2, 2, 2]


def test_conversations_are_listed_shown_and_deleted(server: LiveServer, run: Run) -> None:
    server.script(say(FALSE), say("望江塔在哪里？"), say("北门外[1]。"))
    assert run("conversations").stderr == "no conversations\n"
    run("ask", "望江塔有多高？", "-i", typed="它在哪里？\n")
    server.script(say(TRUE))
    run("ask", "Where is the tower?")
    other, talk = list_talks(run)
    assert list_talks(run, "--kb", "塔") == [other, talk]
    header, first, second = run("conversations", "list").stdout.splitlines()
    assert header.split() == ["id", "title", "turns", "knowledge", "bases", "updated", "at"]
    assert first.split()[:6] == [other["id"], "Where", "is", "the", "tower?", "1"]
    assert second.split()[:4] == [talk["id"], "望江塔有多高？", "2", "塔"]

    shown = run("conversations", "show", talk["id"])
    assert shown.stdout.splitlines() == [
        "> 望江塔有多高？",
        FALSE,
        "[1] 塔.md, version 1: “塔高四十六米。”",
        f"[?] “{FALSE}”",
        "",
        "> 它在哪里？",
        "北门外[1]。",
        "[1] 塔.md, version 1: “望江塔位于北门外。”",
    ]
    whole = json.loads(run("conversations", "show", talk["id"], "--json").stdout)
    assert [turn["question"] for turn in whole["turns"]] == ["望江塔有多高？", "它在哪里？"]

    assert run("conversations", "delete", talk["id"], typed="n\n").exit_code == 1
    asked = run("conversations", "delete", talk["id"], typed="y\n")
    assert (asked.stdout, "'望江塔有多高？' with 2 turns" in asked.stderr) == (f"deleted {talk['id']}\n", True)
    assert run("conversations", "show", talk["id"]).stderr.startswith("conversation_not_found: ")
    gone = run("conversations", "delete", talk["id"], "--yes")
    assert (gone.exit_code, gone.stderr.split(":")[0]) == (4, "conversation_not_found")
    assert json.loads(run("conversations", "delete", other["id"], "--yes", "--json").stdout) == {"deleted": other["id"]}
    assert run("conversations", "--kb", "塔", "show", other["id"]).exit_code == 2
