"""The commands over a real socket, against a small server that keeps to the contract (`fakes/kb_server.py`)."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import Fault, KbServer, serve_kb, write_event

from api.cli.main import kb

Run = Callable[..., Result]
KB = (sys.executable, "-c", "from api.cli.main import main; main()")

PASSAGE: dict[str, Any] = {
    "text": "霜冻时穹顶停在半途。\n" + "长" * 400,
    "score": 0.0325,
    "document": {"id": "d1", "path": "记录/值班.pdf", "title": None},
    "page_start": 2,
    "page_end": 3,
    "heading": "穹顶 > 故障",
}
CITATION = {
    "number": 1,
    "document": PASSAGE["document"],
    "page_start": 2,
    "page_end": 2,
    "quote": "霜冻时\n穹顶停在半途。",
}
ANSWER = {"answer": "The shutter froze [1].", "refused": False, "citations": [CITATION], "passages": []}


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        yield server


@pytest.fixture
def run(server: KbServer) -> Run:
    def run_command(*arguments: str, **options: Any) -> Result:
        env = {"KB_URL": server.url, "KB_API_KEY": server.key, "http_proxy": "http://127.0.0.1:9"}
        return CliRunner(env=env).invoke(kb, list(arguments), **options)

    return run_command


def run_process(server: KbServer, *arguments: str, **env: str) -> subprocess.CompletedProcess[bytes]:
    environ = {**os.environ, "KB_URL": server.url, **env}
    return subprocess.run([*KB, *arguments], env=environ, capture_output=True, check=False)


# -- exit codes ------------------------------------------------------------


def test_a_server_that_is_not_there_is_3() -> None:
    with socket.socket() as taken:  # bound but not listening: nobody answers on this port
        taken.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{taken.getsockname()[1]}"
        result = CliRunner().invoke(kb, ["list", "--url", url])
    assert (result.exit_code, result.stdout) == (3, "")
    assert result.stderr.startswith(f"unreachable: {url} does not answer:")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize(("status", "exit_code"), [(401, 4), (409, 4), (422, 4), (429, 4), (500, 5), (503, 5)])
def test_what_the_server_says_is_one_line(server: KbServer, run: Run, status: int, exit_code: int) -> None:
    server.faults = [Fault("/knowledge-bases", status, "some_code")]
    result = run("list", "--json")
    assert (result.exit_code, result.stdout) == (exit_code, "")
    assert result.stderr == "some_code: a fault on purpose\n"


def test_the_key_is_sent(server: KbServer, run: Run) -> None:
    server.key = "kb_secret"
    assert run("list").exit_code == 0
    assert run("list", env={"KB_API_KEY": "kb_other"}).exit_code == 4


# -- knowledge bases -------------------------------------------------------


def test_create_list_delete(server: KbServer, run: Run) -> None:
    assert run("create", "手册", "--language", "zh").stdout == "created 手册 (kb1)\n"
    assert json.loads(server.requests[-1].body) == {"name": "手册", "language": "zh"}
    assert run("create", "手册").exit_code == 4
    run("create", "b")
    table = run("list").stdout.splitlines()
    assert [line.split()[0] for line in table] == ["name", "手册", "b"]
    lines = run("list", "--json").stdout.splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["手册", "b"]
    assert run("delete", "手册", input="n\n").exit_code == 1
    assert run("delete", "手册", "--yes", "--json").stdout == '{"deleted": "手册"}\n'
    assert list(server.bases) == ["kb2"]


def test_edit_changes_what_is_named_and_tells_what_waits(server: KbServer, run: Run) -> None:
    server.add_base("b")
    assert run("edit", "b", "--name", "新 名", "--description", "x").stdout == "changed 新 名 (kb1)\n"
    assert json.loads(server.requests[-1].body) == {"name": "新 名", "description": "x"}
    result = run("edit", "新 名", "--chunk-tokens", "64")
    assert json.loads(server.requests[-1].body) == {"chunk_tokens": 64}
    told = "its chunks aim at 100 tokens until it is re-indexed for 64: kb reindex --full --kb '新 名'\n"
    assert result.stderr == told
    assert json.loads(run("edit", "新 名", "--chunk-tokens", "100", "--json").stdout)["wanted_chunk_tokens"] == 100
    assert run("edit", "新 名").exit_code == 2
    assert run("edit", "新 名", "--chunk-tokens", "257").exit_code == 2


def test_edit_sends_prompts_from_files(server: KbServer, run: Run, tmp_path: Path) -> None:
    server.add_base("b")
    zh, en = tmp_path / "zh.txt", tmp_path / "en.txt"
    zh.write_bytes("\ufeff没有答案时只说：{missing}\n".encode())
    en.write_text("Else say only: {missing}", encoding="utf-8")
    assert run("edit", "b", "--prompt-zh", str(zh), "--prompt-en", str(en)).exit_code == 0
    assert json.loads(server.requests[-1].body) == {
        "prompt": {"zh": "没有答案时只说：{missing}\n", "en": "Else say only: {missing}"}
    }
    assert run("edit", "b", "--default-prompt", "zh", "--prompt-en", str(en)).exit_code == 0
    assert json.loads(server.requests[-1].body) == {"prompt": {"zh": None, "en": "Else say only: {missing}"}}
    sent = len(server.requests)
    en.write_bytes("没有答案".encode("gb18030"))
    for wrong in (
        ("--prompt-en", str(en)),
        ("--prompt-en", str(tmp_path / "none")),
        ("--prompt-zh", str(zh), "--default-prompt", "zh"),
        ("--default-prompt", "fr"),
    ):
        assert run("edit", "b", *wrong).exit_code == 2
    assert len(server.requests) == sent


def test_a_chunk_size_can_be_named_at_creation(server: KbServer, run: Run) -> None:
    run("create", "b", "--chunk-tokens", "32")
    assert json.loads(server.requests[-1].body) == {"name": "b", "chunk_tokens": 32}


def test_without_kb_the_only_one_is_meant(server: KbServer, run: Run) -> None:
    assert "kb push FOLDER" in run("documents").stderr
    server.add_base("甲")
    assert run("documents").exit_code == 0
    server.add_base("b")
    result = run("search", "x")
    assert result.exit_code == 2
    assert "say --kb NAME: there are b, 甲" in result.stderr
    assert run("documents", "--kb", "甲").exit_code == 0


# -- documents -------------------------------------------------------------


@pytest.fixture
def documents(server: KbServer) -> dict[str, dict[str, Any]]:
    documents = server.documents[server.add_base("b")]
    for number, path in enumerate(("a.txt", "a.txt.bak", "穹顶/b.pdf", "穹顶/c.pdf")):
        live = None if path == "a.txt.bak" else 1
        status, error = ("ready", None) if live else ("failed", {"code": "no_text", "detail": "empty"})
        documents[path] = {"id": f"id{number}", "path": path, "status": status, "error": error, "live_version": live}
    return documents


def test_documents_of_every_page_are_listed(server: KbServer, run: Run, documents: dict[str, Any]) -> None:
    server.page = 1
    result = run("documents", "--json")
    assert [json.loads(line)["path"] for line in result.stdout.splitlines()] == list(documents)
    assert len(server.find("GET", "/documents")) == 4
    result = run("documents", "--status", "failed")
    assert result.stdout.splitlines()[1].split() == ["a.txt.bak", "failed", "0", "B", "no_text"]
    assert result.stderr == "1 documents\n"


@pytest.fixture
def scanned(documents: dict[str, Any]) -> dict[str, Any]:
    """`穹顶/b.pdf` has 14 pages, two of them scanned and one empty."""
    verdicts = ["indexed"] * 3 + ["scanned"] * 2 + ["indexed"] * 8 + ["empty"]
    ledger = [
        {"page": n, "verdict": verdict, "start": 10 * n, "end": 10 * n + 9 * (verdict == "indexed")}
        for n, verdict in enumerate(verdicts, start=1)
    ]
    counts = {verdict: verdicts.count(verdict) for verdict in ("indexed", "scanned", "empty")}
    documents["穹顶/b.pdf"] |= {"pages": 14, "coverage": 11 / 14, "verdicts": counts, "ledger": ledger}
    documents["a.txt"] |= {"pages": 1, "coverage": 1, "verdicts": {"indexed": 1}}
    documents["a.txt.bak"] |= {"pages": 2, "coverage": 0, "verdicts": {"scanned": 2}}
    return documents


def test_pages_without_text_are_seen_in_the_list(run: Run, scanned: dict[str, Any]) -> None:
    result = run("documents", "--kb", "b")
    cells = {line.split("  ")[0]: line for line in result.stdout.splitlines()}
    assert " 14, 2 scanned, 1 empty " in cells["穹顶/b.pdf"]
    assert " 2 scanned " in cells["a.txt.bak"]
    told = "1 document has pages without text (2 scanned, 1 empty): see kb documents --kb b --partial\n"
    assert result.stderr == f"4 documents\n{told}"


def test_only_those_that_are_partly_readable(server: KbServer, run: Run, scanned: dict[str, Any]) -> None:
    result = run("documents", "--partial")
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["path", "穹顶/b.pdf"]
    assert result.stderr == "1 documents\n"
    assert server.requests[-1].query["coverage"] == "partial"


@pytest.mark.parametrize("name", ["穹顶/b.pdf", "id2"])
def test_one_document_is_shown_with_its_ledger(server: KbServer, run: Run, scanned: dict[str, Any], name: str) -> None:
    server.page = 5
    lines = run("documents", name).stdout.splitlines()
    assert "path:         穹顶/b.pdf" in lines
    assert "coverage:     79 % of the pages" in lines
    assert [line.split() for line in lines[-5:]] == [
        ["pages", "verdict", "characters"],
        ["1–3", "indexed", "10–39"],
        ["4–5", "scanned"],
        ["6–13", "indexed", "60–139"],
        ["14", "empty"],
    ]
    shown = json.loads(run("documents", name, "--json").stdout)
    assert (shown["path"], len(shown["ledger"])) == ("穹顶/b.pdf", 14)


def test_one_document_that_failed_says_why(run: Run, scanned: dict[str, Any]) -> None:
    assert "error:        no_text: empty" in run("documents", "a.txt.bak").stdout.splitlines()


@pytest.mark.parametrize("option", [["--status", "ready"], ["--prefix", "a"], ["--partial"]])
def test_one_document_takes_no_filter(run: Run, scanned: dict[str, Any], option: list[str]) -> None:
    assert run("documents", "a.txt", *option).exit_code == 2


def test_no_such_document_is_4(run: Run, documents: dict[str, Any]) -> None:
    assert run("documents", "nope.pdf").exit_code == 4


def test_rm_takes_paths_and_ids(server: KbServer, run: Run, documents: dict[str, Any]) -> None:
    assert run("rm", "a.txt", "id2", "a.txt").stdout == "deleted 2 documents\n"
    assert list(documents) == ["a.txt.bak", "穹顶/c.pdf"]


def test_rm_deletes_nothing_when_one_is_not_there(server: KbServer, run: Run, documents: dict[str, Any]) -> None:
    result = run("rm", "a.txt", "穹顶/x.pdf")
    assert result.exit_code == 4
    assert result.stderr == "document_not_found: no document has the path or id 穹顶/x.pdf\n"
    assert len(documents) == 4


def test_rm_by_prefix_asks(server: KbServer, run: Run, documents: dict[str, Any]) -> None:
    assert run("rm", "--prefix", "穹顶/", input="").exit_code == 1
    assert len(documents) == 4
    assert run("rm", "--prefix", "穹顶/", "--yes", "--json").stdout == '{"deleted": 2}\n'
    assert list(documents) == ["a.txt", "a.txt.bak"]


@pytest.mark.parametrize("arguments", [["rm"], ["rm", "a", "--prefix", "b"], ["rm", "--prefix", ""]])
def test_rm_wants_to_know_what(run: Run, arguments: list[str]) -> None:
    assert run(*arguments).exit_code == 2


# -- search and ask --------------------------------------------------------


def test_search_sends_only_what_was_chosen(server: KbServer, run: Run) -> None:
    server.add_base("b")
    run("search", "穹顶为什么 停住？")
    run("search", "q", "--top-k", "3", "--mode", "lexical", "--max-tokens", "99", "--no-merge")
    run("search", "q", "--rerank")
    run("search", "q", "--no-rerank")
    sent = [json.loads(one.body) for one in server.find("POST", "/kb1/search")]
    assert sent[2:] == [{"query": "q", "rerank": True}, {"query": "q", "rerank": False}]
    assert sent[0] == {"query": "穹顶为什么 停住？"}
    assert sent[1] == {"query": "q", "top_k": 3, "mode": "lexical", "max_tokens": 99, "merge": False}


def test_search_prints_passages(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.search_answer = {"passages": [PASSAGE], "degraded": ["dense"]}
    result = run("search", "q")
    head, text = result.stdout.splitlines()[:2]
    assert head == "1. 0.0325  记录/值班.pdf  pp. 2–3  穹顶 > 故障"
    assert text == "    霜冻时穹顶停在半途。 " + "长" * 228 + "…"
    assert result.stderr == "degraded: dense did not answer\n"
    assert "    " + "长" * 400 + "\n" in run("search", "q", "--full").stdout
    assert json.loads(run("search", "q", "--json").stdout) == server.search_answer


def test_nothing_found_is_said_on_stderr(server: KbServer, run: Run) -> None:
    server.add_base("b")
    result = run("search", "q")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "nothing found\n")


def test_ask_streams_and_cites(server: KbServer, run: Run) -> None:
    server.add_base("b")
    tokens = [write_event("token", {"text": text}) for text in ("The shutter", " froze [1].")]
    server.ask_events = [write_event("passages", {"passages": []}), b": wait\n\n", *tokens, write_event("done", ANSWER)]
    result = run("ask", "Why?", "--language", "en")
    assert result.exit_code == 0
    assert result.stdout == "The shutter froze [1].\n\n[1] 记录/值班.pdf, p. 2: “霜冻时 穹顶停在半途。”\n"
    assert json.loads(server.requests[-1].body) == {"question": "Why?", "language": "en", "stream": True}


def test_tokens_are_printed_before_the_answer_is_whole(server: KbServer) -> None:
    server.add_base("b")
    seen = threading.Event()

    def write_events() -> Iterator[bytes]:
        yield write_event("token", {"text": "穹"})
        assert seen.wait(60)
        yield write_event("done", {**ANSWER, "answer": "穹"})

    server.ask_events = write_events()
    env = {**os.environ, "KB_URL": server.url, "PYTHONIOENCODING": "utf-8"}
    with subprocess.Popen([*KB, "ask", "Q"], env=env, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.read(3) == "穹".encode()
        seen.set()
        assert process.stdout.read().startswith(b"\n\n[1] ")


def test_an_answer_that_was_checked_meanwhile_is_printed_again(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.ask_events = [write_event("token", {"text": "The shutter froze [4]."}), write_event("done", ANSWER)]
    lines = run("ask", "Why?").stdout.splitlines()
    assert lines[:4] == ["The shutter froze [4].", "", "final answer:", "The shutter froze [1]."]


STEPS = [
    {"round": 1, "tool": "search", "query": "圆顶\n重量", "found": 2, "error": None, "took_ms": 3.1},
    {"round": 2, "tool": "search", "query": "", "found": 0, "error": "bad_arguments", "took_ms": 0.1},
]


def test_the_steps_of_an_agent_are_told_beside_the_answer(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.ask_answer = ANSWER | {"steps": STEPS}
    server.ask_events = [*(write_event("step", step) for step in STEPS), write_event("done", server.ask_answer)]
    for more in ([], ["--no-stream"]):
        result = run("ask", "Q", "--agent", "--max-rounds", "2", *more)
        assert result.exit_code == 0
        assert result.stderr == "1. search “圆顶 重量”: 2 new\n2. search “”: bad_arguments\n"
        assert result.stdout.startswith("The shutter froze [1].\n")
        sent = json.loads(server.find("POST", "/ask")[-1].body)
        assert (sent["agent"], sent["max_rounds"]) == (True, 2)
    assert run("ask", "Q", "--max-rounds", "2").exit_code == 2


def test_a_refusal_is_an_answer(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.ask_answer = {"answer": "资料中没有。", "refused": True, "citations": []}
    server.ask_events = [write_event("done", server.ask_answer)]
    for arguments in (["ask", "Q"], ["ask", "Q", "--no-stream"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (0, "资料中没有。\n")
        assert result.stderr == "refused: the documents do not answer this question\n"


def test_an_answer_that_was_cut_off_is_told(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.ask_answer = {"answer": "成人票一百", "refused": False, "citations": [], "cut_off": True}
    server.ask_events = [write_event("done", server.ask_answer)]
    for arguments in (["ask", "Q"], ["ask", "Q", "--no-stream"]):
        result = run(*arguments)
        assert (result.exit_code, result.stdout) == (0, "成人票一百\n")
        assert result.stderr.startswith("cut off: ")


def test_ask_as_json_is_one_document(server: KbServer, run: Run) -> None:
    server.add_base("b")
    server.ask_answer = ANSWER
    result = run("ask", "Q", "--json")
    assert json.loads(result.stdout) == ANSWER
    assert json.loads(server.requests[-1].body) == {"question": "Q"}


@pytest.mark.parametrize(
    ("last", "line"),
    [
        (write_event("error", {"code": "llm_unavailable", "detail": "no\nmodel"}), "llm_unavailable: no model\n"),
        (b"", "answer_cut_off: the stream ended before the answer was whole\n"),
    ],
)
def test_an_answer_that_breaks_off_is_5(server: KbServer, run: Run, last: bytes, line: str) -> None:
    server.add_base("b")
    server.ask_events = [write_event("token", {"text": "The"}), last]
    result = run("ask", "Q")
    assert (result.exit_code, result.stdout, result.stderr) == (5, "The\n", line)


# -- jobs ------------------------------------------------------------------


def test_jobs(server: KbServer, run: Run) -> None:
    assert run("jobs").stderr == "no jobs\n"
    server.jobs["j1"] = {"id": "j1", "kind": "upload", "state": "queued", "done": 0, "total": 3, "message": ""}
    assert run("jobs", "--state", "queued").stdout.splitlines()[1].split() == ["j1", "upload", "queued", "0", "3"]
    assert server.requests[-1].query == {"limit": "200", "state": "queued"}
    assert json.loads(run("jobs", "show", "j1", "--json").stdout)["state"] == "running"
    assert run("jobs", "show", "j1", "--wait").exit_code == 0
    assert "state:           cancelled\n" in run("jobs", "cancel", "j1").stdout
    assert run("jobs", "show", "j1", "--wait").exit_code == 1
    assert run("jobs", "retry", "j1").exit_code == 0
    assert run("jobs", "show", "j2").exit_code == 4


def test_an_option_before_the_subcommand_is_not_lost(run: Run) -> None:
    result = run("jobs", "--url", "http://127.0.0.1:9", "show", "j1")
    assert result.exit_code == 2
    assert "put options behind `show`" in result.stderr


# -- terminals of other encodings ------------------------------------------


@pytest.mark.parametrize("encoding", ["ascii", "latin-1", "gbk"])
def test_output_bears_every_encoding(server: KbServer, encoding: str) -> None:
    server.add_base("b")
    server.search_answer = {"passages": [PASSAGE]}
    plain = run_process(server, "search", "q", PYTHONIOENCODING=encoding)
    assert (plain.returncode, plain.stderr) == (0, b"")
    as_json = run_process(server, "search", "q", "--json", PYTHONIOENCODING=encoding)
    assert json.loads(as_json.stdout)["passages"][0]["text"] == PASSAGE["text"]


# -- re-indexing -----------------------------------------------------------


def test_reindex_waits_and_shows_the_job(server: KbServer, run: Run) -> None:
    server.add_base("one")
    result = run("reindex", "--full", "--no-gate", "--embedding-model", "org/model")
    assert result.exit_code == 0
    assert "state:           succeeded\n" in result.stdout
    (sent,) = server.find("POST", "/reindex")
    assert json.loads(sent.body) == {"mode": "full", "gate": False, "embedding_model": "org/model"}


def test_reindex_syncs_the_sources_unless_told_otherwise(server: KbServer, run: Run) -> None:
    server.add_base("one")
    assert json.loads(run("reindex", "--no-wait", "--json").stdout)["id"] == "r1"
    (sent,) = server.find("POST", "/reindex")
    assert json.loads(sent.body) == {"mode": "changed", "gate": True}
    assert run("reindex", "--embedding-model", "x").exit_code == 2


def test_reindex_that_failed_says_so(server: KbServer, run: Run) -> None:
    server.add_base("one")
    server.job_ending = "failed"
    assert run("reindex", "--full").exit_code == 1


def test_reindex_follows_the_syncs_it_started(server: KbServer, run: Run) -> None:
    server.add_base("one")
    server.reindex_result = {"sync_jobs": ["s1", "s2"]}
    for name in ("s1", "s2"):
        server.jobs[name] = {"id": name, "kind": "sync", "state": "queued", "done": 0, "total": 2}
    lines = run("reindex", "--json").stdout.splitlines()
    assert [json.loads(line)["id"] for line in lines] == ["r1", "s1", "s2"]
    assert {json.loads(line)["state"] for line in lines} == {"succeeded"}


def test_several_knowledge_bases_are_asked_at_once(server: KbServer, run: Run) -> None:
    server.add_base("天文")
    server.add_base("b")
    home = {"id": "kb2", "name": "b"}
    place = {"document": {"id": "d", "path": "库/a.md", "title": None}, "knowledge_base": home}
    copy = {"id": "e", "path": "c.md", "title": None, "knowledge_base": {"id": "kb1", "name": "天文"}}
    passage = {**place, "text": "八米", "score": 0.5, "page_start": 1, "page_end": 1, "duplicates": [copy]}
    server.search_answer = {**server.search_answer, "passages": [passage]}
    found = run("search", "q", "--kb", "b", "--kb", "kb1", "--top-k", "3")
    assert found.stdout == "1. 0.5000  b: 库/a.md  p. 1\n    八米\n    also in 天文: c.md\n\n"
    assert "also in c.md\n" in run("search", "q", "--kb", "b").stdout
    server.ask_answer = {
        **server.ask_answer,
        "answer": "八米 [1]",
        "citations": [{**place, "number": 1, "quote": "八米"}],
    }
    assert "[1] b: 库/a.md: “八米”" in run("ask", "q", "--kb", "b", "--kb", "kb1", "--no-stream").stdout
    sent = [json.loads(one.body) for one in server.requests if one.path in ("/api/v1/search", "/api/v1/ask")]
    assert sent == [
        {"query": "q", "top_k": 3, "knowledge_bases": ["b", "kb1"]},
        {"question": "q", "knowledge_bases": ["b", "kb1"]},
    ]
    missing = run("search", "q", "--kb", "b", "--kb", "nope")
    assert (missing.exit_code, missing.stderr) == (4, "knowledge_base_not_found: no knowledge base nope\n")
