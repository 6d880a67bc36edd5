"""`kb push` over a real socket, against a small server that keeps to the contract (`fakes/kb_server.py`)."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from fakes.kb_server import Fault, KbServer, read_form, serve_kb

from api.cli.folder import list_folder
from api.cli.main import kb

Push = Callable[..., Result]
MAIN = "from api.cli.main import main; main()"


@pytest.fixture
def server() -> Iterator[KbServer]:
    with serve_kb() as server:
        yield server


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "资料"
    for path in ("b.txt", "a/z.txt", "制度/暗夜.md", ".git/config", "a/.hidden"):
        place = folder / path
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(path, encoding="utf-8")
    (folder / "link.txt").symlink_to(folder / "b.txt")
    (folder / "loop").symlink_to(folder)
    return folder


@pytest.fixture
def push(server: KbServer, folder: Path) -> Push:
    def run(*arguments: str) -> Result:
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, ["push", str(folder), *arguments])

    return run


def list_sent(server: KbServer) -> list[list[str]]:
    return [[path for path, _ in read_form(one)] for one in server.find("POST", "/documents")]


def read_report(result: Result) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(result.stdout)
    return report


def make_files(folder: Path, count: int, text: str = "x") -> None:
    for number in range(count):
        (folder / f"{number:04}.txt").write_text(f"{text}{number}")


# -- the folder -------------------------------------------------------------------------------------------------


def test_a_folder_becomes_a_knowledge_base_of_its_name(server: KbServer, push: Push) -> None:
    result = push()
    assert result.exit_code == 0
    assert server.bases["kb1"]["name"] == "资料"
    assert list_sent(server) == [["a/z.txt", "b.txt", "制度/暗夜.md"]]
    assert [line.split() for line in result.stdout.splitlines()] == [
        ["documents", "codes"],
        ["added", "3"],
        ["unchanged", "0"],
        ["rejected", "0"],
        ["failed", "0"],
    ]
    assert "indexing: 3 of 3\n" in result.stderr


def test_the_second_push_changes_nothing(server: KbServer, push: Push, folder: Path) -> None:
    push()
    (folder / "b.txt").write_text("other")
    report = read_report(push("--json"))
    assert (report["added"], report["unchanged"]) == (1, 2)
    assert len(server.bases) == 1


def test_bytes_and_names_arrive_as_they_are(server: KbServer, push: Push, folder: Path) -> None:
    names = ['a"b.txt', "50%.txt", "%22.txt", "back\\slash.txt", "空 格，.txt", unicodedata.normalize("NFD", "é.txt")]
    data = bytes(range(256)) * 3000 + b"\r\n--"
    for name in names:
        (folder / name).write_bytes(data)
    push("--prefix", "/x/制度/")
    sent = dict(read_form(server.find("POST", "/documents")[0]))
    assert all(sent[f"x/制度/{unicodedata.normalize('NFC', name)}"] == data for name in names)
    assert b"filename*=UTF-8''x/" not in server.find("POST", "/documents")[0].body
    assert b"filename*=UTF-8''x%2F%E5%88%B6%E5%BA%A6%2F%2522.txt" in server.find("POST", "/documents")[0].body


def test_names_that_are_no_text_are_skipped(server: KbServer, push: Push, folder: Path) -> None:
    try:
        (Path(os.fsdecode(os.fsencode(folder) + b"/\xd6\xd0.txt"))).write_text("x")
    except OSError:
        pytest.skip("this file system takes no names that are not UTF-8")
    (folder / "a\nb").write_text("x")
    result = push("--json")
    assert result.exit_code == 1
    assert [(one["path"], one["code"]) for one in read_report(result)["rejected"]] == [
        ("\\xd6\\xd0.txt", "bad_path"),
        ("a\nb", "bad_path"),
    ]
    assert "skipped: \\xd6\\xd0.txt: the name is not UTF-8\n" in result.stderr
    assert list_sent(server) == [["a/z.txt", "b.txt", "制度/暗夜.md"]]


def test_names_that_differ_in_normalisation_only_are_one_path(tmp_path: Path) -> None:
    for form in ("NFC", "NFD"):
        (tmp_path / unicodedata.normalize(form, "é.txt")).write_text("x")
    if len(list(tmp_path.iterdir())) == 1:
        pytest.skip("this file system normalises names")
    listing = list_folder(tmp_path)
    assert [file.path for file in listing.files] == ["é.txt"]
    assert [fault.code for fault in listing.faults] == ["duplicate_path"]


def test_a_dry_run_asks_no_server(server: KbServer, push: Push) -> None:
    result = push("--dry-run")
    assert result.stdout.splitlines() == ["a/z.txt", "b.txt", "制度/暗夜.md"]
    assert result.stderr == "3 files, 28 B, 1 requests\n"
    assert read_report(push("--dry-run", "--json"))["bytes"] == 28
    assert server.requests == []


def test_an_empty_folder_is_done(server: KbServer, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = CliRunner(env={"KB_URL": server.url}).invoke(kb, ["push", str(tmp_path / "empty"), "--json"])
    assert (result.exit_code, read_report(result)["added"]) == (0, 0)


def test_without_create_the_knowledge_base_must_be_there(server: KbServer, push: Push) -> None:
    result = push("--no-create")
    assert (result.exit_code, result.stdout) == (4, "")
    assert result.stderr.startswith("knowledge_base_not_found: ")
    server.add_base("b")
    assert push("--no-create", "--kb", "b").exit_code == 0


# -- an archive ---------------------------------------------------------------------------------------------------


@pytest.fixture
def push_archive(server: KbServer, tmp_path: Path) -> Push:
    def run(name: str, *arguments: str) -> Result:
        (tmp_path / name).write_bytes(b"archive")
        return CliRunner(env={"KB_URL": server.url}).invoke(kb, ["push", str(tmp_path / name), *arguments])

    return run


@pytest.mark.parametrize("name", ["资料.zip", "资料.tar.gz", "资料.TGZ"])
def test_an_archive_is_sent_as_one_part_into_a_knowledge_base_of_its_name(
    server: KbServer, push_archive: Push, name: str
) -> None:
    assert push_archive(name).exit_code == 0
    assert server.bases["kb1"]["name"] == "资料"
    (sent,) = server.find("POST", "/documents")
    assert f'name="archive"; filename="{name}"'.encode() in sent.body
    assert read_form(sent) == [(name, b"archive")]


@pytest.mark.parametrize(("status", "code"), [(422, "archive_broken"), (413, "archive_too_large")])
def test_an_archive_that_is_refused_is_named(server: KbServer, push_archive: Push, status: int, code: str) -> None:
    server.add_base("a")
    server.faults = [Fault("/documents", status, code)]
    result = push_archive("a.zip", "--json")
    assert result.exit_code == 1
    assert [(one["path"], one["code"]) for one in read_report(result)["rejected"]] == [("a.zip", code)]
    assert len(server.find("POST", "/documents")) == 1


@pytest.mark.parametrize(
    ("name", "arguments"), [("a.rar", ()), ("zip", ()), ("a.zip", ("--prefix", "x")), ("missing/a.zip", ("--dry-run",))]
)
def test_what_is_no_folder_and_no_archive_is_wrong_usage(
    server: KbServer, folder: Path, push_archive: Push, name: str, arguments: tuple[str, ...]
) -> None:
    if "/" in name:
        result = CliRunner().invoke(kb, ["push", str(folder / name), *arguments])
    else:
        result = push_archive(name, *arguments)
    assert result.exit_code == 2
    assert server.requests == []


def test_a_dry_run_shows_the_archive(server: KbServer, push_archive: Push) -> None:
    assert push_archive("a.zip", "--dry-run").stdout == "a.zip\n"
    assert server.requests == []


# -- requests ------------------------------------------------------------------------------------------------------


def test_a_reset_after_the_server_took_it_adds_nothing_twice(server: KbServer, push: Push) -> None:
    server.add_base("资料")
    server.faults = [Fault("/documents", 0, done=True), Fault("/documents", 503, headers={"Retry-After": "0"})]
    report = read_report(push("--json"))
    sent = server.find("POST", "/documents")
    assert len(sent) == 3
    assert len({one.headers["idempotency-key"] for one in sent}) == 1
    assert len({one.body for one in sent}) == 1
    assert (report["added"], report["unchanged"], report["jobs"]) == (3, 0, ["job1"])


def test_a_request_too_large_is_halved(server: KbServer, push: Push, folder: Path) -> None:
    server.most_files = 2
    make_files(folder, 7)
    report = read_report(push("--json"))
    assert report["added"] == 10
    assert max(len(paths) for paths in list_sent(server)) == 10
    assert len({one.headers["idempotency-key"] for one in server.find("POST", "/documents")}) == len(list_sent(server))


def test_a_file_too_large_on_its_own_is_rejected(server: KbServer, push: Push) -> None:
    server.most_files = 0
    result = push("--json")
    assert result.exit_code == 1
    assert [one["code"] for one in read_report(result)["rejected"]] == ["too_large"] * 3


def test_a_file_that_changes_between_attempts_is_sent_anew(server: KbServer, push: Push) -> None:
    server.add_base("资料")
    server.faults = [Fault("/documents", 409, "idempotency_mismatch")]
    result = push("--json")
    assert (result.exit_code, read_report(result)["added"]) == (0, 3)
    assert len({one.headers["idempotency-key"] for one in server.find("POST", "/documents")}) == 2


def test_when_the_server_fails_the_rest_is_named(server: KbServer, push: Push, folder: Path) -> None:
    server.add_base("资料")
    make_files(folder, 600)
    server.faults = [Fault("/documents", 507, "disk_full")] * 2
    result = push("--json")
    report = read_report(result)
    codes = [one["code"] for one in report["rejected"]]
    assert result.exit_code == 5
    assert result.stderr.endswith("disk_full: a fault on purpose\n")
    assert report["added"] + len(codes) == 603
    assert 200 <= codes.count("disk_full") <= 400
    assert set(codes) <= {"disk_full", "not_sent"}


def test_1000_small_files_cost_seconds_of_cpu_at_most(server: KbServer, tmp_path: Path) -> None:
    make_files(tmp_path, 1000, "small " * 100)
    command = [sys.executable, "-c", MAIN, "push", str(tmp_path), "--kb", "b", "--json"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, env={**os.environ, "KB_URL": server.url}, capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert json.loads(run.stdout)["added"] == 1000
    assert sorted(len(paths) for paths in list_sent(server)) == [200] * 5
    # About 1 s; a cost that grows with the square of the folder would be far above the bound.
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 10.0


def test_a_large_file_is_never_held_whole(server: KbServer, tmp_path: Path) -> None:
    folder = tmp_path / "b"
    folder.mkdir()
    with (folder / "large.bin").open("wb") as file:
        file.truncate(150_000_000)
    limit = "import resource; resource.setrlimit(resource.RLIMIT_DATA, (140_000_000,) * 2); "
    server.faults = [Fault("/documents", 413, "too_large")]
    command = [sys.executable, "-c", limit + MAIN, "push", str(folder), "--json"]
    run = subprocess.run(command, env={**os.environ, "KB_URL": server.url}, capture_output=True, check=False)
    assert run.returncode == 1, run.stderr
    assert json.loads(run.stdout)["rejected"][0]["code"] == "too_large"


# -- the report -------------------------------------------------------------------------------------------------------


def test_every_document_that_did_not_make_it_is_named(server: KbServer, push: Push, folder: Path) -> None:
    (folder / "empty.txt").write_text("")
    (folder / "扫描.pdf").write_text("FAIL")
    result = push()
    assert result.exit_code == 1
    lines = [line.split() for line in result.stdout.splitlines()]
    assert ["added", "3"] in lines
    assert ["rejected", "1", "file_empty", "1"] in lines
    assert ["failed", "1", "no_text", "1"] in lines
    assert ["rejected", "empty.txt", "file_empty", "the", "file", "is", "empty"] in lines
    assert ["failed", "扫描.pdf", "no_text", "no", "page", "has", "text"] in lines
    again = push("--json")  # unchanged bytes that failed before have failed still
    assert again.exit_code == 1
    assert [one["path"] for one in read_report(again)["failed"]] == ["扫描.pdf"]


def test_pages_without_text_are_told_and_cost_no_exit_code(push: Push, folder: Path) -> None:
    (folder / "half.pdf").write_text("SCAN SCAN")
    (folder / "third.pdf").write_text("SCAN")
    result = push("--kb", "my kb")
    assert result.exit_code == 0
    assert result.stderr.endswith(
        "2 documents have pages without text (3 scanned): see kb documents --kb 'my kb' --partial\n"
    )
    verdicts = {one["path"]: one["verdicts"] for one in read_report(push("--kb", "my kb", "--json"))["partial"]}
    assert verdicts == {"half.pdf": {"indexed": 1, "scanned": 2}, "third.pdf": {"indexed": 1, "scanned": 1}}


def test_nothing_accepted_names_every_file(server: KbServer, push: Push, folder: Path) -> None:
    for path in ("a/z.txt", "b.txt", "制度/暗夜.md"):
        (folder / path).write_text("")
    result = push("--json")
    assert result.exit_code == 1
    assert [(one["path"], one["code"]) for one in read_report(result)["rejected"]] == [
        ("a/z.txt", "file_empty"),
        ("b.txt", "file_empty"),
        ("制度/暗夜.md", "file_empty"),
    ]


def test_no_wait_ends_when_the_bytes_are_taken(server: KbServer, push: Push) -> None:
    result = push("--no-wait", "--json")
    assert (result.exit_code, read_report(result)["jobs"]) == (0, ["job1"])
    assert server.find("GET", "/job1") == []


def test_a_job_that_was_cancelled_is_1(server: KbServer, push: Push) -> None:
    server.job_ending = "cancelled"
    server.new_status = "pending"
    result = push("--json")
    assert result.exit_code == 1
    assert [one["code"] for one in read_report(result)["failed"]] == ["job_cancelled"] * 3
    assert read_report(result)["added"] == 0


def test_a_server_that_stops_while_indexing_is_reported(server: KbServer, push: Push) -> None:
    server.faults = [Fault("/job1", 500, "broken")]
    result = push("--json")
    assert (result.exit_code, read_report(result)["added"]) == (5, 3)
    assert result.stderr.endswith("broken: a fault on purpose\n")


def test_stdout_holds_the_table_and_nothing_else(push: Push) -> None:
    result = push()
    assert "uploading: 28 B of 28 B\n" in result.stderr
    assert "uploading" not in result.stdout


def test_a_password_comes_from_a_file_and_goes_with_every_request(push: Push, server: KbServer, tmp_path: Path) -> None:
    source = tmp_path / "password"
    source.write_text("Kenn-wort 密码\nnot this line\n", encoding="utf-8")
    result = push("--password-file", str(source))
    assert result.exit_code == 0, result.output
    for sent in server.find("POST", "/documents"):
        assert 'name="password"\r\n\r\nKenn-wort 密码\r\n--'.encode() in sent.body
    assert "Kenn-wort" not in result.output
    source.write_text("\n")
    assert push("--password-file", str(source)).exit_code == 2
