"""`kb ask --schema` over a real socket: what is sent, what is printed, and which files are no schema."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import Fault, KbServer, serve_kb, write_event

from api.cli.main import kb
from api.cli.schema_file import LONGEST

SCHEMA = {"type": "object", "properties": {"票价": {"type": "integer", "maximum": 2**64}}}
CITATION = {
    "number": 1,
    "document": {"id": "d1", "path": "价目.md", "title": None},
    "page_start": 1,
    "page_end": 1,
    "quote": "成人票每张一百六十元。",
}
TEXT = '{"票价":18446744073709551616}'
ANSWER = {"answer": TEXT, "data": {"票价": 2**64}, "refused": False, "citations": [CITATION]}
STEP = {"round": 1, "tool": "search", "query": "票价", "found": 2, "error": None, "took_ms": 3.1}

Run = Callable[..., Result]


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        server.add_base("demo")
        server.ask_answer = ANSWER
        server.ask_events = [write_event("token", {"text": TEXT}), write_event("done", ANSWER)]
        yield server


@pytest.fixture
def run(server: KbServer) -> Run:
    def run_command(*arguments: str, **options: Any) -> Result:
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, ["ask", *arguments], **options)

    return run_command


@pytest.fixture
def schema(tmp_path: Path) -> str:
    path = tmp_path / "票价.json"
    path.write_text(json.dumps(SCHEMA, ensure_ascii=False, indent=2), "utf-8-sig")
    return str(path)


def read_sent(server: KbServer) -> list[dict[str, Any]]:
    return [json.loads(one.body) for one in server.find("POST", "/ask")]


def test_the_json_is_printed_with_its_sources(server: KbServer, run: Run, schema: str) -> None:
    for more in ([], ["--no-stream"]):
        result = run("成人票多少钱？", "--schema", schema, *more)
        assert (result.exit_code, result.stderr) == (0, "")
        assert result.stdout == f"{TEXT}\n\n[1] 价目.md, p. 1: “成人票每张一百六十元。”\n"
    told = run("成人票多少钱？", "--schema", schema, "--json")
    assert (told.exit_code, json.loads(told.stdout)) == (0, ANSWER)
    assert f'"data": {{"票价": {2**64}}}' in told.stdout
    body = {"question": "成人票多少钱？", "response_schema": SCHEMA}
    assert read_sent(server) == [body | {"stream": True}, body, body]


def test_with_agent_and_within_a_conversation(server: KbServer, run: Run, schema: str) -> None:
    server.ask_answer = ANSWER | {"steps": [STEP], "conversation_id": "c1"}
    server.ask_events = [
        write_event("step", STEP),
        write_event("token", {"text": TEXT}),
        write_event("done", server.ask_answer),
    ]
    more = ["--schema", schema, "--agent", "--max-rounds", "2", "--conversation", "c1"]
    result = run("多少钱？", *more)
    assert (result.exit_code, result.stdout.splitlines()[0]) == (0, TEXT)
    assert result.stderr == "1. search “票价”: 2 new\nconversation: c1\n"
    asked = {"response_schema": SCHEMA, "agent": True, "max_rounds": 2, "conversation_id": "c1"}
    assert read_sent(server) == [{"question": "多少钱？", **asked, "stream": True}]
    run("--interactive", "--schema", schema, "--no-stream", input="一？\n二？\n")
    assert [body["response_schema"] for body in read_sent(server)[1:]] == [SCHEMA] * 2


def test_a_batch_is_asked_for_it_where_a_line_has_none_of_its_own(
    server: KbServer, run: Run, schema: str, tmp_path: Path
) -> None:
    lines = [{"question": "一？"}, {"question": "二？", "response_schema": {"type": "string"}}]
    (tmp_path / "in.jsonl").write_text("\n".join(map(json.dumps, lines)), "utf-8")
    files = ["--batch", str(tmp_path / "in.jsonl"), "--out", str(tmp_path / "out.jsonl")]
    assert run(*files, "--schema", schema, "--concurrency", "1").exit_code == 0
    assert [body["response_schema"] for body in read_sent(server)] == [SCHEMA, {"type": "string"}]
    assert f'"data": {{"票价": {2**64}}}' in (tmp_path / "out.jsonl").read_text("utf-8")


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "is no JSON: "),
        (
            b'{"type": "object",\n  "properties": x}',
            "is no JSON: unexpected character, expected a JSON value (line 2, column 17)",
        ),
        (b'{"const": NaN}', "is no JSON: "),
        (b'{"const": 1e999}', "is no JSON: number is infinity"),
        (rb'{"const": "\ud800"}', "is no JSON: "),
        (b"[" * 100_000, "is no JSON: "),
        (b'["type"]', 'holds no JSON object, as a schema is one: {"type": "object"'),
        (b"true", "holds no JSON object"),
        ('{"title": "价格"}'.encode("gbk"), "cannot be read: it is not UTF-8"),
        (b'{"title": "' + b"x" * LONGEST + b'"}', "has more than 1,000,000 bytes"),
        (None, "cannot be read: No such file or directory"),
    ],
)
def test_a_file_that_holds_no_schema_is_told_before_anything_is_asked(
    server: KbServer, run: Run, tmp_path: Path, content: bytes | None, reason: str
) -> None:
    path = tmp_path / "s.json"
    if content is not None:
        path.write_bytes(content)
    result = run("Q", "--schema", str(path))
    assert (result.exit_code, result.stdout) == (2, "")
    assert f"Error: {path} {reason}" in result.stderr
    assert server.requests == []


def test_what_the_server_says_against_it_is_told(server: KbServer, run: Run, schema: str) -> None:
    server.faults = [Fault("/ask", 422, "bad_response_schema"), Fault("/ask", 503, "llm_bad_json")]
    for code, name in ((4, "bad_response_schema: "), (5, "llm_bad_json: ")):
        result = run("Q", "--schema", schema)
        assert (result.exit_code, result.stdout) == (code, "")
        assert result.stderr.startswith(name)
