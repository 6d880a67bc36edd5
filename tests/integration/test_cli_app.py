"""The commands against the real server, over a real socket: what a newcomer types first."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from fakes.archives import ZipEntry, write_raw_zip
from fakes.server import Server

from api.cli.main import kb

SAMPLES = Path(__file__).parents[2] / "data" / "samples"
SCAN = "记录/2025-11-02 值班日志（扫描）.pdf"

Run = Callable[..., Result]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    with Server(tmp_path_factory.mktemp("cli") / "store") as server:

        def run_command(*arguments: str) -> Result:
            return CliRunner(env={"KB_URL": server.url}).invoke(kb, list(arguments))

        assert run_command("list", "--json").stdout == ""
        first = run_command("push", str(SAMPLES), "--json")
        assert first.exit_code == 1, first.output
        report = json.loads(first.stdout)
        assert (report["added"], report["rejected"]) == (16, [])
        assert [(one["path"], one["code"]) for one in report["failed"]] == [(SCAN, "no_text")]
        yield run_command


def test_a_second_push_indexes_nothing(run: Run) -> None:
    report = json.loads(run("push", str(SAMPLES), "--json").stdout)
    assert (report["added"], report["unchanged"]) == (0, 16)
    assert [one["path"] for one in report["failed"]] == [SCAN]


def test_what_was_pushed_is_listed_and_found(run: Run) -> None:
    listed = [json.loads(line) for line in run("documents", "--json").stdout.splitlines()]
    assert [one["path"] for one in listed if one["status"] != "ready"] == [SCAN]
    assert len(listed) == 17
    found = json.loads(run("search", "圆顶天窗 D07", "--json").stdout)["passages"]
    assert "D07" in found[0]["text"]
    assert run("search", "x", "--top-k", "1000").stderr.startswith("bad_top_k: ")


def test_the_ledger_of_the_scanned_log(run: Run) -> None:
    shown = json.loads(run("documents", SCAN, "--json").stdout)
    assert (shown["status"], shown["error"]["code"], shown["coverage"]) == ("failed", "no_text", 0)
    assert [(one["page"], one["verdict"]) for one in shown["ledger"]] == [(1, "scanned")]
    assert run("documents", SCAN).stdout.splitlines()[-1].split() == ["1", "scanned"]
    assert "pages without text" not in run("documents").stderr  # it is failed, and says so


@pytest.mark.parametrize(
    "question", ["天窗走到一半停住，控制箱报什么？", "What does alarm D07 of the dome shutter mean?"]
)
def test_an_answer_is_cited(run: Run, question: str) -> None:
    streamed, whole = run("ask", question), run("ask", question, "--json")
    assert (streamed.exit_code, whole.exit_code) == (0, 0)
    answer = json.loads(whole.stdout)
    assert answer["citations"]
    assert answer["answer"] in streamed.stdout
    assert f"\n[1] {answer['citations'][0]['document']['path']}, p" in streamed.stdout


@pytest.mark.parametrize(
    ("question", "path", "verdict"),
    [
        ("圆顶天窗 D07", "manuals/dome-shutter.md", "found"),
        ("What does alarm D07 of the dome shutter mean?", "manuals/dome-shutter.md", "found"),
        ("值班日志", SCAN, "scanned"),
    ],
)
def test_a_search_is_explained(run: Run, question: str, path: str, verdict: str) -> None:
    told = json.loads(run("explain", question, path, "--json").stdout)
    assert (told["verdict"], told["document"]["path"]) == (verdict, path)
    assert run("explain", "samples", question, path).stdout.splitlines()[0] == f"{verdict}  {path}"
    assert run("explain", question, "nothing").stderr.startswith("document_not_found: ")


def test_jobs_are_listed_and_shown(run: Run) -> None:
    jobs = [json.loads(line) for line in run("jobs", "--kb", "samples", "--json").stdout.splitlines()]
    shown = json.loads(run("jobs", "show", jobs[-1]["id"], "--wait", "--json").stdout)
    assert (shown["state"], shown["total"], shown["failed"]) == ("succeeded", 17, 1)
    assert run("jobs", "show", "nothing").exit_code == 4


def test_an_archive_is_unpacked_and_waited_for(run: Run, tmp_path: Path) -> None:
    names = ["报告/年度报告.txt", "目录.txt", "../up.txt"]
    entries = [ZipEntry(name=name.encode("gbk"), data=f"这是{name}。".encode()) for name in names]
    (tmp_path / "归档.zip").write_bytes(write_raw_zip(entries))
    result = run("push", str(tmp_path / "归档.zip"), "--json")
    report = json.loads(result.stdout)
    assert (result.exit_code, report["knowledge_base"], report["added"]) == (1, "归档", 2)
    assert [(one["path"], one["code"]) for one in report["rejected"]] == [("../up.txt", "bad_path")]
    listed = [json.loads(line) for line in run("documents", "--kb", "归档", "--json").stdout.splitlines()]
    assert [(one["path"], one["status"]) for one in listed] == [("报告/年度报告.txt", "ready"), ("目录.txt", "ready")]
    assert run("delete", "归档", "--yes").exit_code == 0


def test_names_come_back_as_they_were(run: Run, tmp_path: Path) -> None:
    names = ['a"b.txt', "50%.txt", "%22.txt", "空 格，;.txt"]
    for name in names:
        (tmp_path / name).write_text(f"A note called {name}")
    (tmp_path / "back\\slash.txt").write_text("x")
    report = json.loads(run("push", str(tmp_path), "--kb", "names", "--prefix", "往来", "--json").stdout)
    assert [(one["path"], one["code"]) for one in report["rejected"]] == [("往来/back\\slash.txt", "bad_path")]
    listed = [json.loads(line)["path"] for line in run("documents", "--kb", "names", "--json").stdout.splitlines()]
    assert sorted(listed) == sorted(f"往来/{name}" for name in names)
    assert run("rm", "--kb", "names", '往来/a"b.txt', "往来/%22.txt").stdout == "deleted 2 documents\n"
    assert run("rm", "--kb", "names", "--prefix", "往来/", "--yes").stdout == "deleted 2 documents\n"
    assert run("delete", "names", "--yes").exit_code == 0
    assert run("documents", "--kb", "names").exit_code == 4


def test_a_revision_is_listed_shown_and_restored(run: Run, tmp_path: Path) -> None:
    note = tmp_path / "note.txt"
    for text in ("The first edition.", "The second edition."):
        note.write_text(text)
        assert run("push", str(tmp_path), "--kb", "editions").exit_code == 0
    listed = [json.loads(line) for line in run("revisions", "--kb", "editions", "--json").stdout.splitlines()]
    assert [(one["number"], one["changed"]) for one in listed] == [(2, 1), (1, 0)]
    table = run("revisions", "list", "--kb", "editions").stdout.splitlines()
    assert table[0].split() == ["number", "kind", "created", "at", "added", "changed", "removed", "gate", "restorable"]
    assert table[1].split()[-1] == "yes"
    shown = run("revisions", "show", "2", "--kb", "editions")
    assert shown.stdout.endswith("~ note.txt\n")
    assert json.loads(run("revisions", "show", "2", "--kb", "editions", "--json").stdout)["paths"]["added"] == []
    done = run("revisions", "restore", "1", "--kb", "editions")
    assert (done.exit_code, done.stdout) == (0, "succeeded: revision 1 answers again, as revision 3\n")
    assert "first edition" in run("search", "edition", "--kb", "editions").stdout
    job = json.loads(run("revisions", "restore", "2", "--kb", "editions", "--no-gate", "--json").stdout)
    assert job["result"]["revision"] == 4
    queued = run("revisions", "restore", "2", "--kb", "editions", "--no-wait")
    assert queued.stdout.startswith("queued as job ")
    missing = run("revisions", "restore", "99", "--kb", "editions")
    assert (missing.exit_code, missing.stderr.split(":")[0]) == (4, "revision_not_found")
    assert run("revisions", "restore", "0", "--kb", "editions").exit_code == 2
    assert run("revisions", "--kb", "editions", "show", "1").exit_code == 2
